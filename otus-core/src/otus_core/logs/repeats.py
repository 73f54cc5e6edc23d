"""Bounds the rate of events that a packet can cause: the first is logged at once, then at most one every ten seconds,
with their number.
"""

from __future__ import annotations

import time
from typing import Any

from otus_core.log import Logger
from otus_core.model.text import told

log = Logger("otus.component")

QUIET_S = 10.0
KINDS_MAX = 256
"""Different (component, error type) pairs that are told apart; beyond, they share one line."""


class Repeats:
    """Logs what components raise, with their distribution and version. ``about`` gives these by ``kind:name``."""

    def __init__(self, about: dict[str, tuple[str, str]]) -> None:
        self._about = about
        self._seen: dict[tuple[str, str, str], tuple[float, int]] = {}

    def component_error(self, kind: str, name: str, error: BaseException) -> None:
        """Log one error of a component, or count it towards the next line."""
        key = (kind, name, told(error).partition(":")[0])
        if key not in self._seen and len(self._seen) >= KINDS_MAX:
            key = (kind, name, "other")
        last, suppressed = self._seen.get(key, (0.0, -1))
        now = time.monotonic()
        if suppressed >= 0 and now - last < QUIET_S:
            self._seen[key] = (last, suppressed + 1)
            return
        self._seen[key] = (now, 0)
        log.warning("component_error", **self._event(kind, name, error, max(suppressed, 0)))

    def _event(self, kind: str, name: str, error: BaseException, suppressed: int) -> dict[str, Any]:
        distribution, version = self._about.get(f"{kind}:{name}", ("", ""))
        event: dict[str, Any] = {
            "kind": kind,
            "component": name,
            "plugin": distribution,
            "version": version,
            "error": told(error),
        }
        if suppressed:
            event["repeated"] = suppressed
        return event
