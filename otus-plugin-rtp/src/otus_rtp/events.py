"""Digits and other events that telephones send beside the sound (RFC 4733)."""

from __future__ import annotations

from typing import Any

DIGITS = "0123456789*#ABCD"
"""Events 0 to 15 (RFC 4733 §3.2)."""
EVENTS_MAX = 256
"""Of a stream; later ones are not told."""
# RFC 4733 §2.3: event, end bit and volume, and the duration in two bytes.
HEAD = 4


def note_event(events: list[dict[str, Any]], payload: bytes, *, begins: bool, at: str, clock: int, mask: bool) -> None:
    """Note what an event packet says (RFC 4733 §2.3): a new event where one ``begins``, else how long it has become."""
    if len(payload) < HEAD:
        return
    milliseconds = round(int.from_bytes(payload[2:4]) * 1000 / clock) if clock else None
    if not begins:
        if events and milliseconds is not None:
            last = events[-1]
            last["duration_ms"] = max(last["duration_ms"] or 0, milliseconds)
        return
    if len(events) >= EVENTS_MAX:
        return
    number = payload[0]
    told: dict[str, Any] = {"event": number, "digit": DIGITS[number] if number < len(DIGITS) else None}
    if mask and number < len(DIGITS):
        told = {"event": None, "digit": "x"}
    events.append({"time": at, **told, "duration_ms": milliseconds})
