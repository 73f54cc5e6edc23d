"""The record of commands: who wanted what over which channel, and what became of it.

One line a command, whatever way it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otus_core.log import Logger

log = Logger("otus.control")

# What changes which packets are read and where messages go is found in a log at its usual level.
CHANGING = frozenset(
    {"task_create", "task_apply", "task_prune", "task_start", "task_delete", "config_reload", "daemon_shutdown"}
)


def record(
    channel: str,
    who: Mapping[str, str | int],
    command: str,
    params: Mapping[str, Any],
    error: str = "",
    *,
    quietly: bool = False,
) -> None:
    """Log one command that has been executed or refused.

    ``quietly`` is for questions that come often: at debug, unless the command changes something.
    """
    tell = log.debug if quietly and command not in CHANGING else log.info
    tell(
        "command_executed",
        **{
            # ``event`` is structlog's own key, and what a channel says of a caller must not replace it.
            **{name: value for name, value in who.items() if name != "event"},
            "channel": channel,
            "command": command,
            "task": _task_of(params),
            "result": "error" if error else "done",
            **({"error": error} if error else {}),
        },
    )


def _task_of(params: Mapping[str, Any]) -> str:
    """Give the id of the task that is meant, wherever in the params it stands; empty where there is none."""
    inner = [params.get(key) for key in ("config", "task")]
    inner += [one.get("task") for one in inner if isinstance(one, Mapping)]
    found = [params.get("task_id"), params.get("id"), *(one.get("id") for one in inner if isinstance(one, Mapping))]
    return next((one for one in found if isinstance(one, str)), "")
