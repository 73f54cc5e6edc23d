"""Bounds how often something may happen."""

from __future__ import annotations

import time


class Bucket:
    """So many things a second, of which ``burst`` may come at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._tokens = burst
        self._filled_at = time.monotonic()

    def take(self) -> bool:
        """Say whether one more may happen now."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
