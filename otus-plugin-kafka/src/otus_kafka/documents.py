"""What a node's answers, heartbeats and events hold, for whoever reads them: ``otus schema heartbeat`` and the others
are made of this.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

Moment = Annotated[str, ("format", "date-time")]
TaskState = Annotated[str, ("enum", ("created", "starting", "running", "stopping", "stopped", "failed"))]


class Said(TypedDict):
    """What all of them have."""

    version: Literal["v1"]
    source: Annotated[str, "the node's name, which is the key too"]
    instance: Annotated[str, "the process that says so"]
    timestamp: Moment


class Error(TypedDict):
    """What went wrong."""

    code: int
    message: str
    data: NotRequired[Any]


class Answer(Said):
    """The answer to a command: ``result`` or ``error``."""

    command: str
    request_id: str
    result: NotRequired[dict[str, Any]]
    error: NotRequired[Error]


class Heartbeat(Said):
    """What a node says of itself every so often."""

    node_ip: str
    otus_version: str
    versions: NotRequired[Annotated[dict[str, str], "the version of each distribution"]]
    uptime_sec: float
    tasks: Annotated[dict[str, TaskState], "the state of each task"]
    drops: Annotated[dict[str, dict[str, int]], "what each task lost, by reason: kernel, reporter:NAME"]


class Event(Said):
    """A task went from one state to another."""

    event: Literal["task_state"]
    task_id: str
    old: Annotated[str, "empty for a task that was there when the node began to tell"]
    new: Annotated[str, "a state, or gone"]
    reason: Annotated[str, "why it failed"]
