"""Bounds the rate of events that a packet can cause: the first is logged at once, then at most one every ten seconds,
with their number.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Mapping
from typing import Any

from otus_core.errors import ParseError
from otus_core.log import Logger, is_wanted
from otus_core.model.packet import DecodedPacket
from otus_core.model.text import printable, tell

log = Logger("otus.component")

QUIET_S = 10.0
"""Of one component and kind of error. A fault that each packet meets would otherwise write thousands of lines a second.
"""
KINDS_MAX = 256
"""Different (component, error type) pairs that are told apart; beyond, they share one line."""
DEBUG = "OTUS_DEBUG"
TRACEBACK_MAX = 4000
"""Characters of a traceback that are logged: its end, which says where the fault is."""
EXCERPT_BYTES = 64
"""Of a payload that could not be read."""
REASON_MAX = 200
"""Characters of a parser's reason, and of a place in a traceback."""
FRAMES_MAX = 1000
"""Of a traceback: Python's own limit of recursion."""
CORE = os.path.dirname(os.path.dirname(__file__)) + os.sep
COMPILED = os.path.join("src", "otus_core", "")
"""How the paths of the core's compiled modules begin in a traceback: as they were named when they were built."""


def traceback_of(error: BaseException) -> dict[str, str]:
    """Give where an error was raised, as a field of an event: at debug level, or with ``OTUS_DEBUG`` set; else nothing.

    Never raises: the error may be a plugin's own.
    """
    if not is_wanted("debug") and not os.environ.get(DEBUG):
        return {}
    try:
        lines = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - of an error whose own methods raise
        lines = "".join(traceback.format_tb(error.__traceback__))
    return {"traceback": lines[-TRACEBACK_MAX:]}


def _place(error: BaseException) -> dict[str, str]:
    """Give file and line of the last frame outside the core, as a field of an event: where a plugin raised, or where it
    called what did. Empty where no such frame is there, as for compiled modules without names of lines.
    """
    place = ""
    step = error.__traceback__
    for _ in range(FRAMES_MAX):
        if step is None:
            break
        path = step.tb_frame.f_code.co_filename
        if not path.startswith((CORE, COMPILED, "<")):
            place = f"{os.path.basename(path)}:{step.tb_lineno}"
        step = step.tb_next
    return {"at": printable(place, REASON_MAX)} if place else {}


class Repeats:
    """Logs what components raise, with their distribution and version. ``about`` gives these by ``kind:name``."""

    def __init__(self, about: Mapping[str, tuple[str, str]]) -> None:
        self._about = about
        self._seen: dict[tuple[str, str, str], tuple[float, int]] = {}

    def note_error(self, kind: str, name: str, error: BaseException) -> None:
        """Log one error of a component, or count it towards the next line."""
        suppressed = self._due(kind, name, tell(error).partition(":")[0])
        if suppressed is not None:
            log.warning("component_error", **self._event(kind, name, error, suppressed))

    def note_refusal(self, parser: str, error: ParseError, packet: DecodedPacket) -> None:
        """Log at debug level that a parser could not read a packet, and how the packet begins."""
        if not is_wanted("debug"):
            return
        reason = printable(str(error.args[0]) if error.args else "", REASON_MAX)
        suppressed = self._due("refused", parser, reason)
        if suppressed is None:
            return
        payload = packet.payload
        log.debug(
            "packet_not_read",
            parser=parser,
            reason=reason,
            size=len(payload),
            begins=payload[:EXCERPT_BYTES].hex(" "),
            **({"repeated": suppressed} if suppressed else {}),
        )

    def _due(self, kind: str, name: str, what: str) -> int | None:
        """Give how many like this one were not logged since the last, or ``None`` if it is too early for another."""
        key = (kind, name, what)
        if key not in self._seen and len(self._seen) >= KINDS_MAX:
            # A component's messages may hold what a packet says; the map must not grow with them.
            key = (kind, name, "other")
        last, suppressed = self._seen.get(key, (0.0, -1))
        now = time.monotonic()
        if suppressed >= 0 and now - last < QUIET_S:
            self._seen[key] = (last, suppressed + 1)
            return None
        self._seen[key] = (now, 0)
        return max(suppressed, 0)

    def _event(self, kind: str, name: str, error: BaseException, suppressed: int) -> dict[str, Any]:
        distribution, version = self._about.get(f"{kind}:{name}", ("", ""))
        event: dict[str, Any] = {
            "kind": kind,
            "component": name,
            "plugin": distribution,
            "version": version,
            "error": tell(error),
        }
        if suppressed:
            event["repeated"] = suppressed
        return event | _place(error) | traceback_of(error)
