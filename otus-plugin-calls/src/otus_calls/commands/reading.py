"""Reads chosen calls a second time: their messages themselves, which records do not hold."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Any

from otus_calls.commands.finding import INTERRUPTED
from otus_calls.commands.source import Source
from otus_calls.times import nanoseconds
from otus_core import RunFailed

VALUES_MAX = 1000
"""Values of one rule of the processor ``filter``."""
CALLS_MAX = 20_000
"""Beyond so many Call-IDs the filter has no room for them, and all messages are looked at here."""
CALL_LABELS = ("sip.call_id", "icmp.call_id", "rtp.call_id")

ID_MAX = 256
"""Bytes of a Call-ID that records have: of the processor ``calls``, and of the parsers."""

Key = tuple[int, str, int, str, int]
"""Time in ns, source address and port, destination address and port."""


def read_raw(source: Source, wanted: Set[str]) -> dict[Key, bytes]:
    """Give the SIP messages with these Call-IDs."""
    found: dict[Key, bytes] = {}
    with ending_as_before():
        for one in source.run(["sip"], filters_for(wanted), quiet=True):
            if show_id(one["labels"].get("sip.call_id", "")) in wanted:
                # A record has 1 for a time of 0, which would be none.
                key = (
                    max(nanoseconds(one["timestamp"]), 1),
                    one["src_ip"],
                    one["src_port"],
                    one["dst_ip"],
                    one["dst_port"],
                )
                found[key] = base64.b64decode(one["raw_payload"] or "")
    return found


@contextmanager
def ending_as_before() -> Iterator[None]:
    """Take the end of a second run for that of the first, which has told why; but for Ctrl-C. Raises RunFailed."""
    try:
        yield
    except RunFailed as failure:
        if failure.exit_status == INTERRUPTED:
            raise


def show_id(call_id: str) -> str:
    """Give a message's Call-ID as the records of its call have it."""
    return call_id if len(call_id) < ID_MAX // 4 else call_id.encode()[:ID_MAX].decode("utf-8", "replace")


def filters_for(wanted: Set[str]) -> list[dict[str, Any]]:
    """Have the run report as little else as a filter can say."""
    if len(wanted) > CALLS_MAX or any(len(one.encode()) >= ID_MAX for one in wanted):
        return []
    values = sorted(wanted)
    rules = [
        {"label": label, "values": values[n : n + VALUES_MAX], "action": "keep"}
        for label in CALL_LABELS
        for n in range(0, len(values), VALUES_MAX)
    ]
    return [{"type": "filter", "config": {"rules": rules, "keep_if": "payload_type == 'stream'"}}]
