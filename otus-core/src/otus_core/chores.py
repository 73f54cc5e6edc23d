"""Long-lived asyncio tasks that have an owner, who notices when one of them fails.

A bare ``asyncio.create_task`` that raises is silent until it is collected, and what it did is no longer done. That holds for a ``CancelledError`` too: a
library that awaits a task of its own which it has cancelled hands that error to its caller, although nobody wanted the caller to end.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from otus_core.log import Logger
from otus_core.model.text import printable

PAUSES_S = (0.5, 30.0)
"""First and longest pause before a chore is begun again."""
STABLE_AFTER_S = 60.0
"""A chore that went well for so long begins with the first pause again."""
STOP_TRIES, STOP_TRY_S = 10, 0.5
_failures: Counter[str] = Counter()

log = Logger("otus.chores")


def failures() -> Mapping[str, int]:
    """How often each chore of this process has failed, by the chore's name."""
    return dict(_failures)


class Chores:
    """The long-lived asyncio tasks of one owner. Each is begun again when it fails, logged as ``chore_failed``, and counted by its name.

    A chore's name becomes the value of a metric's label: it comes from a small, fixed set.
    """

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(
        self, name: str, work: Callable[[], Awaitable[None]], on_failure: Callable[[str], None] | None = None
    ) -> None:
        """Run ``work()`` until it returns, again and again while it raises; ``on_failure`` is told each reason."""
        _failures[name] += 0
        self._tasks.append(asyncio.create_task(_keep(name, work, on_failure), name=name))

    async def stop(self) -> None:
        """Cancel all and wait for them. One that swallows its cancellation is cancelled again, a bounded number of times."""
        tasks, self._tasks = self._tasks, []
        left = {task for task in tasks if not task.done()}
        for _ in range(STOP_TRIES):
            if not left:
                return
            for task in left:
                task.cancel()
            left = (await asyncio.wait(left, timeout=STOP_TRY_S))[1]
        log.error("chores_do_not_stop", chores=sorted(task.get_name() for task in left))


async def _keep(name: str, work: Callable[[], Awaitable[None]], on_failure: Callable[[str], None] | None) -> None:
    first, longest = PAUSES_S
    pause = first
    while True:
        begun = time.monotonic()
        try:
            await work()
            return
        except asyncio.CancelledError:
            if was_asked_to_end():
                raise
            reason = "CancelledError, which nobody asked for"
        except Exception as error:
            reason = f"{type(error).__name__}: {_text(error)}"
        _failures[name] += 1
        if time.monotonic() - begun > STABLE_AFTER_S:
            pause = first
        log.error("chore_failed", chore=name, reason=reason, again_in_s=pause)
        if on_failure is not None:
            on_failure(reason)
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest)


def was_asked_to_end() -> bool:
    """Whether somebody has called ``cancel()`` of the current task: else a ``CancelledError`` seen here belongs to another one."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _text(error: Exception) -> str:
    try:
        return printable(str(error), 200)
    except Exception:  # an exception of somebody else's whose text raises too
        return "?"
