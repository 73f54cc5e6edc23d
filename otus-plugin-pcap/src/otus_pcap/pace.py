"""Replays frames at the pace at which they were recorded, or a multiple of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

GAP_MAX_NS = 3600 * 10**9
"""What stands still for longer, or has a wrong clock, is not waited for: the frame after the gap is due at once."""
BACK_MAX_NS = 10**9
"""Frames out of order are due at once; what lies further back is another recording, with which the pace begins anew."""


class Pace:
    """Says when frames are due. Times are ns since 1970 as recorded; the clock counts seconds."""

    def __init__(self, speed: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._speed = speed
        self._clock = clock
        self._origin: tuple[int, float] | None = None
        self._last = 0

    def due(self, times: Sequence[int], begin: int, end: int) -> int:
        """Say how many of the frames ``begin`` to ``end`` are due by now."""
        now = self._clock()
        for i in range(begin, end):
            if self._wait(times[i], now) > 0:
                return i - begin
            self._last = times[i]
        return end - begin

    def wait(self, frame_time: int) -> float:
        """Seconds until a frame is due."""
        return max(0.0, self._wait(frame_time, self._clock()))

    def _wait(self, frame_time: int, now: float) -> float:
        gap = frame_time - self._last
        if self._origin is None or gap > GAP_MAX_NS or gap < -BACK_MAX_NS:
            self._origin = (frame_time, now)
            self._last = frame_time
        recorded, began = self._origin
        return began + (frame_time - recorded) / 1e9 / self._speed - now
