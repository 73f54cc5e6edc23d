"""How often the screen is drawn: drawing 20,000 calls takes a while, and what reads them needs the same processor; and
over ssh, what is drawn waits in buffers that hold minutes of it, while keys seem to do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

SHARE = 0.2
"""Of the time, that drawing what has come may take; what somebody asked for with a key is drawn at once."""
LINE_RATE = 8_000
"""Characters a second that drawing what has come may send: a whole screen is some 15,000."""
PAUSE_MAX_S = 2.0
"""A large terminal is drawn as often as this all the same."""


class Pace:
    """Says when there is something to draw, and that the time for it has come."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._asked = True
        self._new = False
        self._not_before = 0.0
        self._sent = 0

    def note_sent(self, total: int) -> None:
        """So many characters have been sent to the terminal, all in all."""
        new, self._sent = total - self._sent, total
        now = self._clock()
        self._not_before = min(max(self._not_before, now) + new / LINE_RATE, max(self._not_before, now + PAUSE_MAX_S))

    def ask(self) -> None:
        """Somebody pressed a key, or the terminal has another width."""
        self._asked = True

    def note(self) -> None:
        """Something has come."""
        self._new = True

    @property
    def due(self) -> bool:
        """Whether to draw now."""
        return self._asked or (self._new and self._clock() >= self._not_before)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Draw within this; the longer it takes, the later is the next time."""
        self._asked = self._new = False
        begun = self._clock()
        yield
        now = self._clock()
        self._not_before = max(self._not_before, now + (now - begun) * (1 - SHARE) / SHARE)
