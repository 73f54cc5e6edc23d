"""How often the screen is drawn: drawing 20,000 calls takes a while, and what reads them needs the same processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

SHARE = 0.2
"""Of the time, that drawing what has come may take; what somebody asked for with a key is drawn at once."""


class Pace:
    """Says when there is something to draw, and that the time for it has come."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._asked = True
        self._new = False
        self._not_before = 0.0

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
        self._not_before = now + (now - begun) * (1 - SHARE) / SHARE
