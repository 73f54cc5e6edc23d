"""Long-lived asyncio tasks that have an owner, who notices when one of them fails.

A bare ``asyncio.create_task`` that raises is silent until it is collected, and what it did is no longer done. That
holds for a ``CancelledError`` too: a library that awaits a task of its own which it has cancelled hands that error to
its caller, although nobody wanted the caller to end.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from otus_core.log import Logger
from otus_core.model.text import printable

PAUSES_S = (0.5, 30.0)
"""First and longest pause before a chore is begun again."""
STABLE_AFTER_S = 60.0
"""A chore that went well for so long begins with the first pause again."""
# Five seconds in all: a task that swallows its cancellation must not keep the process from ending.
STOP_TRIES, STOP_TRY_S = 10, 0.5
_failures: Counter[str] = Counter()
_listeners: list[Callable[[str, int], object]] = []
NAMES_MAX = 200
"""Names come from plugins too, and each becomes a time series: those beyond are counted together."""
OTHERS = "other"

log = Logger("otus.chores")


def failures() -> Mapping[str, int]:
    """How often each chore of this process, and of its workers, has failed, by the chore's name."""
    return dict(_failures)


def count_failures(name: str, n: int = 1) -> None:
    """Count failures of a chore, 0 to have it known; the parent of a worker counts what the worker tells it."""
    if name not in _failures and len(_failures) >= NAMES_MAX:
        name = OTHERS
    _failures[name] += n
    for listener in _listeners:
        listener(name, n)


def listen(listener: Callable[[str, int], object]) -> None:
    """Have what is counted in this process told: a worker passes it on to its parent."""
    _listeners.append(listener)
    for name, n in failures().items():
        listener(name, n)


def report_failure(name: str, error: BaseException, **about: Any) -> None:
    """Log and count a failure of something that is not begun again, or that begins again by itself."""
    log.error("chore_failed", chore=name, reason=reason_of(error), **about)
    count_failures(name)


def raise_cancellation(error: BaseException) -> None:
    """Raise again what somebody else's code did not raise by itself: it is we who cancel."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


def watch_loop(name: str) -> None:
    """Log and count what nobody else sees on the running event loop: a callback that raises, a task whose error nobody
    has asked for.
    """

    def heed(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(context["message"])
        report_failure(name, error, where=printable(context["message"], 200))

    asyncio.get_running_loop().set_exception_handler(heed)


class Chores:
    """The long-lived asyncio tasks of one owner.

    Each is begun again when it fails, logged as ``chore_failed``, and counted by its name.

    A chore's name becomes the value of a metric's label: it comes from a small, fixed set. What tells one of several
    apart (a task's id, a reporter's name) is given as ``about``, and is only logged.
    """

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        on_failure: Callable[[str], None] | None = None,
        **about: Any,
    ) -> asyncio.Task[None]:
        """Run ``work()`` until it returns, again and again while it raises; ``on_failure`` is told each reason.

        Gives the asyncio task, which stays this object's.
        """
        count_failures(name, 0)
        task = asyncio.create_task(_keep(name, work, on_failure, about), name=name)
        self._tasks.append(task)
        task.add_done_callback(self._forget)
        return task

    async def stop(self, *, patiently: bool = False) -> None:
        """Cancel all and wait for them.

        One that swallows its cancellation is cancelled again, a bounded number of times.

        ``patiently``: each is cancelled once, and may take its time to leave things in order.
        """
        left = {task for task in self._tasks if not task.done()}
        if patiently:
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            return
        for _ in range(STOP_TRIES):
            if not left:
                return
            for task in left:
                task.cancel()
            left = (await asyncio.wait(left, timeout=STOP_TRY_S))[1]
        log.error("chores_do_not_stop", chores=sorted(task.get_name() for task in left))

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.remove(task)


async def _keep(
    name: str,
    work: Callable[[], Awaitable[None]],
    on_failure: Callable[[str], None] | None,
    about: Mapping[str, Any],
) -> None:
    first, longest = PAUSES_S
    pause = first
    while True:
        begun = time.monotonic()
        try:
            await work()
            return
        except asyncio.CancelledError as error:
            if was_asked_to_end():
                raise
            reason = reason_of(error)
        except Exception as error:
            reason = reason_of(error)
        if time.monotonic() - begun > STABLE_AFTER_S:
            pause = first
        log.error("chore_failed", chore=name, reason=reason, again_in_s=pause, **about)
        count_failures(name)
        try:
            if on_failure is not None:
                on_failure(reason)
        except Exception as error:
            report_failure(name, error, **about)
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest)


def keep_thread(name: str, work: Callable[[], None]) -> None:
    """Run ``work()`` until it returns, again and again while it raises: what a thread does that lives as long as its
    process.
    """
    count_failures(name, 0)
    first, longest = PAUSES_S
    pause = first
    while True:
        begun = time.monotonic()
        try:
            work()
            return
        except Exception as error:
            if time.monotonic() - begun > STABLE_AFTER_S:
                pause = first
            report_failure(name, error, again_in_s=pause)
        time.sleep(pause)
        pause = min(2 * pause, longest)


def reason_of(error: BaseException) -> str:
    """Say what failed, in a line."""
    if isinstance(error, asyncio.CancelledError):
        return "CancelledError, which nobody asked for"
    return f"{type(error).__name__}: {_text(error)}"


def was_asked_to_end() -> bool:
    """Whether somebody has called ``cancel()`` of the current task: else a ``CancelledError`` seen here belongs to
    another one.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _text(error: BaseException) -> str:
    try:
        return printable(str(error), 200)
    except Exception:  # an exception of somebody else's whose text raises too
        return "?"
