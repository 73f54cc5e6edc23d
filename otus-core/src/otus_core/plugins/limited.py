"""A time limit for a plugin's hook, which is called on an event loop where everything else waits for it.

The limit is a signal in the main thread (setitimer(2)), so that it ends a loop in Python as well as a call that waits
in the kernel. A call into foreign code that never comes back to Python is beyond it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

LIMITS_S = {"otus_task_state_changed": 1.0, "otus_startup": 10.0, "otus_shutdown": 10.0}
"""By hook; others are called where nobody else waits."""
AGAIN_S = 0.5
"""A plugin may catch the first one."""
CHANCES = 3
"""So often a hook of one plugin may take too long before it is called no more."""


class TookTooLong(BaseException):
    """A hook has reached its limit. No Exception, so that a plugin's own ``except Exception`` does not hold it up."""


@contextmanager
def limit_time(seconds: float | None) -> Iterator[None]:
    """Raise TookTooLong in what is done within, once it has taken so long. Only the main thread can be interrupted."""
    # Python runs signal handlers in the main thread only (signal, "Signals and threads").
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    is_over = False

    def end(_number: int, _frame: FrameType | None) -> None:
        if not is_over:
            raise TookTooLong(f"it took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        is_over = True  # first: the signal may come between any two of these steps
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
