"""Processor ``limit``: lets so many messages a second through, of each source, method or whatever is named.

A bucket of tokens each: ``burst`` at most, ``rate`` of them a second on the packets' clock. A flood of one source costs
that source its messages, and nobody else's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from otus_core import BaseProcessor, Context, OutputPacket
from otus_filter.thinning import LimitConfig

Ask = Callable[[OutputPacket], object]


class Limit(BaseProcessor):
    """Keeps a bucket for each source and so on, those that came last."""

    def __init__(self, config: LimitConfig) -> None:
        self._per_ns = config.rate / 1e9
        self._burst = float(config.burst if config.burst is not None else max(1.0, config.rate))
        self._asks = [_ask(one) for one in config.per]
        self._most = config.max_entries
        self._buckets: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()  # tokens, and when

    def wire(self, context: Context) -> None:
        """Take the counters."""
        self._limited, self._evicted = context.counter("limited"), context.counter("evicted")

    def process(self, output: OutputPacket) -> bool:
        """Say whether there is a token for the message."""
        key = tuple(ask(output) for ask in self._asks)
        now = output.timestamp
        tokens, then = self._buckets.get(key) or (self._burst, now)
        # A packet from the past gives no tokens: captures of several interfaces are not in the order of time.
        tokens = min(self._burst, tokens + max(0, now - then) * self._per_ns)
        if key not in self._buckets and len(self._buckets) >= self._most:
            self._buckets.popitem(last=False)
            self._evicted()
        kept = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if kept else tokens, max(now, then))
        self._buckets.move_to_end(key)
        if not kept:
            self._limited()
        return kept


def _ask(what: str) -> Ask:
    if what == "source":
        return lambda output: output.src_ip
    if what == "destination":
        return lambda output: output.dst_ip
    if what == "payload_type":
        return lambda output: output.payload_type
    return lambda output: _shorten(output.label(what))


def _shorten(text: str | None) -> object:
    """Give what tells a label's text from another, however long it is: a long one keeps no memory."""
    # Packets choose the text. Python's hashes of texts are keyed, so that nobody can make two of them meet.
    return text if text is None or len(text) <= 64 else hash(text)
