"""Processor ``dedup``: drops a message that was captured twice, as a mirror port of both directions gives it.

The same bytes between the same addresses and ports, less than ``window`` after the first of them. A retransmission is
sent later: after 500 ms over UDP (RFC 3261 §17.1.1.1, T1), and over TCP it never becomes a message again.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from hashlib import blake2b

from otus_core import BaseProcessor, Context, OutputPacket
from otus_filter.thinning import DedupConfig


class Dedup(BaseProcessor):
    """Remembers a digest of each message for the time of the window."""

    def __init__(self, config: DedupConfig) -> None:
        self._window = round(config.window * 1e9)
        self._most = config.max_entries
        self._key = os.urandom(16)  # nobody outside can make two messages look the same
        self._seen: OrderedDict[bytes, int] = OrderedDict()  # when each was captured first

    def wire(self, context: Context) -> None:
        """Take the counters."""
        self._duplicates, self._evicted = context.counter("duplicates"), context.counter("evicted")

    def process(self, output: OutputPacket) -> bool:
        """Say whether the message is new. Records always are."""
        flow = output.flow
        if output.is_record or flow is None or not output.raw_payload:
            return True
        now, seen = output.timestamp, self._seen
        digest = blake2b(flow.packed() + output.raw_payload, digest_size=16, key=self._key).digest()
        first = seen.get(digest)
        # From the first one on, not from the last: a message that is sent every 0.4 s is no copy for ever.
        if first is not None and 0 <= now - first < self._window:
            self._duplicates()
            return False
        self._forget(now)
        seen[digest] = now
        seen.move_to_end(digest)
        return True

    def _forget(self, now: int) -> None:
        """Forget what is older than the window; and the oldest, if there is no room for one more."""
        seen = self._seen
        while seen:
            first = next(iter(seen))
            if len(seen) >= self._most and now - seen[first] < self._window:
                self._evicted()
            elif now - seen[first] < self._window:
                return
            del seen[first]
