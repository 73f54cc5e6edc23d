"""The circuit of one reporter: it opens after failures in a row, stays open for a growing while, and lets one batch
through to see whether it may close.
"""

from __future__ import annotations

import time

from otus_core.pipeline.fates import Fates

BREAK_AFTER = 5
"""Whole batches that fail in a row before the circuit opens."""
OPEN_S = (0.5, 4.0)
"""How long it stays open at first and at most: a destination that is back is used again within five seconds."""
PAUSE_S = (0.1, 2.0)
"""First and longest pause between two tries of one batch."""


def state_after(failures: int, limit: int, open_until: float) -> str:
    """Give the state of a circuit after so many failures in a row: ``closed`` below the limit, else ``open`` until that
    time of the monotonic clock (s), and ``half_open`` from then on, while it is being tried again.
    """
    if failures < limit:
        return "closed"
    return "open" if time.monotonic() < open_until else "half_open"


def pause_before(attempt: int, bounds: tuple[float, float] = PAUSE_S) -> float:
    """Give the seconds to wait before try ``attempt`` + 1: twice as long each time, and up to half as much off, so that
    many nodes do not come at once.
    """
    import random  # which takes hashlib along, and is needed when something fails

    first, longest = bounds
    # 2 to the 16th is beyond every longest pause; unbounded, the power would be too large for a float after a thousand
    # tries.
    return float(min(first * 2 ** min(attempt, 16), longest) * random.uniform(0.5, 1.0))


class Circuit:
    """Counts failures in a row."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = 0.0
        self._probing = False

    @property
    def state(self) -> str:
        """``closed``, ``open``, or ``half_open`` while it is being tried again."""
        return state_after(self._failures, BREAK_AFTER, self._open_until)

    @property
    def lets_through(self) -> bool:
        """Whether a batch may be sent now; half open one at a time may."""
        state = self.state
        return state == "closed" or (state == "half_open" and not self._probing)

    def begin(self) -> None:
        """A batch is sent."""
        self._probing = self._failures >= BREAK_AFTER

    def judge(self, fates: Fates) -> None:
        """A batch has ended; one in which all messages are ``final`` says nothing about the destination."""
        self._probing = False
        if fates.is_success:
            self._failures = 0
        elif fates.is_failure:
            self._failures += 1
            if self._failures >= BREAK_AFTER:
                self._open_until = time.monotonic() + pause_before(self._failures - BREAK_AFTER, OPEN_S)
