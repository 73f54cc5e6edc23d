"""What a worker logs of its slices at debug level: once a second, never per packet."""

from __future__ import annotations

import time
from collections.abc import Mapping

from otus_core.log import Logger, is_wanted
from otus_core.model.counter_names import label_of, term_of

log = Logger("otus.worker")

EVERY_S = 1.0
"""Often enough to see a burst, and 86,400 lines a day at the most."""


class SliceFigures:
    """Adds up slices, and tells them with what the worker's counters have grown by since the last time."""

    def __init__(self, counters: Mapping[str, int]) -> None:
        self._told_at = time.monotonic()
        self._before = counters
        self._slices = 0
        self._longest_s = 0.0

    def took(self, seconds: float) -> None:
        """A slice has been worked off."""
        self._slices += 1
        self._longest_s = max(self._longest_s, seconds)

    def tell(self, now: float, counters: Mapping[str, int]) -> None:
        """Log the figures of about a second."""
        if now - self._told_at < EVERY_S or not is_wanted("debug"):
            return
        grown = {name: n - self._before[name] for name, n in counters.items()}
        log.debug(
            "slices",
            seconds=round(now - self._told_at, 3),
            slices=self._slices,
            longest_ms=round(1000 * self._longest_s, 3),
            frames=grown["frames_read"],
            matched=grown["matched"],
            kept=grown["kept"],
            kernel_drop=grown["kernel_drop"],
            dropped=sum(n for name, n in grown.items() if label_of(term_of(name), "dropped") is not None),
            queued=sum(n for name, n in counters.items() if term_of(name) == "queued"),
            flows=counters["flows"],
        )
        self._told_at, self._before, self._slices, self._longest_s = now, counters, 0, 0.0
