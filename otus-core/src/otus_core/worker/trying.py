"""Takes one step of a component's start, which is somebody else's code, as the component's ``on_failure`` says."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from otus_core.chores import raise_cancellation
from otus_core.errors import TaskStartFailed
from otus_core.log import Logger
from otus_core.logs.repeats import traceback_of
from otus_core.model.text import tell
from otus_core.pipeline.circuit import pause_before
from otus_core.task.spec import ComponentSpec

log = Logger("otus.task")

RETRY_S = (0.5, 30.0)
"""First and longest pause between two tries."""
SKIPPED: Any = object()
"""In the place of what a step gives: it failed, and the task goes on without the component."""


async def attempt(
    spec: ComponentSpec, what: str, step: Callable[[], Any], waits: Callable[[str], None], *, skips: bool = True
) -> Any:
    """Take a step, and await it where it is a coroutine: once, or until it succeeds.

    ``what`` says what it is, after "could not". ``waits`` is told why it is to be tried again. ``skips``: the
    task can do without the component. Raises TaskStartFailed.
    """
    kind, tries = spec.declaration.kind, 0
    while True:
        try:
            given = step()
            return await given if inspect.iscoroutine(given) else given
        except BaseException as error:
            raise_cancellation(error)
            if spec.on_failure == "skip" and skips:
                log.warning("component_skipped", kind=kind, component=spec.id, step=what, **_why(error))
                return SKIPPED
            if spec.on_failure != "retry":
                raise start_failure(spec, what, error) from error
            log.warning("component_start_failed", kind=kind, component=spec.id, step=what, **_why(error))
            waits(str(start_failure(spec, what, error)))
        await asyncio.sleep(pause_before(tries, RETRY_S))
        tries += 1


def _why(error: BaseException) -> dict[str, str]:
    return {"error": tell(error)} | traceback_of(error)


def start_failure(spec: ComponentSpec, what: str, error: BaseException) -> TaskStartFailed:
    """Make the error that names the component, what it could not do, and why."""
    return TaskStartFailed(f"{spec.declaration.kind} {spec.id} could not {what}: {tell(error)}")
