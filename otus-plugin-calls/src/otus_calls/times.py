"""Times of records and messages: text as RFC 3339 has it, in UTC, and ns since 1970."""

from __future__ import annotations

from datetime import datetime

SECOND_NS = 1_000_000_000


def nanoseconds(moment: str) -> int:
    """Read a time with up to nine digits of a second, as ns since 1970."""
    whole, _, fraction = moment.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * SECOND_NS + int(fraction.ljust(9, "0")[:9] or 0)
