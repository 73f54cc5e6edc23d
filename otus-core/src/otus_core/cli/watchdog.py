"""Ends what a component does not end by itself, in a run of one process, where nobody else watches its thread.

The limit is a signal in the main thread (setitimer(2)), put off whenever the event loop turns; so it costs packets
nothing. It ends a loop in Python, a regular expression, and a call that waits in the kernel. A call into foreign code
that never comes back to Python is beyond it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from types import FrameType

from otus_core.logs.repeats import CORE
from otus_core.worker.assembly import Assembly, marks_of
from otus_core.worker.course import Parent
from otus_core.worker.worker import Worker

TURN_S = 0.2
"""A small part of the limits, and one system call each time."""
START_WITHIN_S = 60.0
"""As long as a worker process may take: what starts may have to load much."""
HUNG_AFTER_S = 10.0
"""Longer than a worker process gets, because this run cannot be begun again where it was."""
AGAIN_S = 1.0
"""The timer goes on at this pace: who catches the error once gets it again."""
CHANCES = 3
"""So often components may hang before the run ends, as with the workers of a task."""
LAST_CHANCES = 6
"""So often before the process ends without its summary: a component may catch everything, or hang at the end too."""
OWN_WAITS = tuple(CORE + part for part in ("log.py", "logs" + os.sep, "process" + os.sep + "output.py"))
"""Where the core itself may wait for whoever reads what is written: a slow reader is no fault."""


class Hung(BaseException):
    """A component has reached the limit. No Exception, so that a plugin's own ``except Exception`` does not keep it."""


class Watchdog(Parent):
    """Watches from ``with`` on. ``error`` says which component hung last, and where."""

    def __init__(self) -> None:
        self.error = ""
        self._limit = START_WITHIN_S
        self._assembly: Assembly | None = None
        self._worker: Worker | None = None
        self._is_due = False
        self._hangs = 0
        self._next: asyncio.TimerHandle | None = None

    def __enter__(self) -> Watchdog:
        self._before = signal.signal(signal.SIGALRM, self._bark)
        self._turn()
        return self

    def __exit__(self, *_: object) -> None:
        if self._next is not None:
            self._next.cancel()
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, self._before)

    def guard(self, worker: Worker) -> None:
        """Have this worker end after hangs."""
        self._worker = worker

    def tell_started(self, assembly: Assembly) -> None:
        """See ``Parent``."""
        self._assembly = assembly
        self._limit = HUNG_AFTER_S
        self._put_off(HUNG_AFTER_S)

    def _turn(self) -> None:
        """The event loop turns: nothing hangs."""
        self._put_off(self._limit)
        self._next = asyncio.get_running_loop().call_later(TURN_S, self._turn)

    def _put_off(self, seconds: float) -> None:
        self._is_due = False
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)

    def _bark(self, _number: int, frame: FrameType | None) -> None:
        if not self._is_due:  # the whole process may have been stopped meanwhile: the loop gets another second to turn
            self._is_due = True
            return
        if sys.gettrace() is not None:  # an author uses a debugger
            return
        name, place = self._running(), _place(frame)
        if place is None or not (name or place):
            return
        self._hangs += 1
        who = name.replace(":", " ", 1) or "a component"
        self.error = f"{who} did not come back for {self._limit + AGAIN_S:g} s{place and f' ({place})'}"
        if self._hangs > LAST_CHANCES:
            # Past Python's buffers and locks, which the code that hangs may hold.
            os.write(2, f"otus: {self.error}; it cannot be interrupted, so the process ends\n".encode())
            os._exit(1)
        if self._hangs >= CHANCES and self._worker is not None:
            self.error += f"; this has happened {CHANCES} times, so the run has ended early"
            self._worker.give_up(name)
        self._put_off(self._limit)
        raise Hung(self.error)

    def _running(self) -> str:
        if self._assembly is None:
            return ""
        mark = self._assembly.accounts["running"]
        return next((name for name, its_own in marks_of(self._assembly.config).items() if its_own == mark), "")


def _place(frame: FrameType | None) -> str | None:
    """Give file and line where the component is: where it called what hangs, if that is a library's. Empty where the
    core itself runs, and ``None`` where it waits for a reader.
    """
    outside: list[tuple[str, str, int]] = []
    while frame is not None and not frame.f_code.co_filename.startswith(CORE):
        outside.append((*os.path.split(frame.f_code.co_filename), frame.f_lineno))
        frame = frame.f_back
    if frame is not None and frame.f_code.co_filename.startswith(OWN_WAITS):
        return None
    return next((f"{name}:{line}" for folder, name, line in outside if folder == outside[-1][0]), "")
