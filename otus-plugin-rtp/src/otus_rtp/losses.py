"""What the capture lost, and not the network: known from the capturer's drops, and from losses that streams have in
common although their ways have nothing in common.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from otus_core import FlowKey

WITHIN = 100_000_000
"""ns, in which losses count as simultaneous."""
UNRELATED = 3
"""Streams between hosts none of which are the same."""
HELD_MAX = 16
"""Losses of other streams that are compared: more at the same time say nothing new."""
LOOKED_BEFORE = 1_000_000_000
"""ns, by which what the core knows of drops may be older than the look at it, and somewhat more."""
BACKLOG_MAX = 10_000_000_000
"""ns, by which the packet that is parsed may be older than those that are dropped meanwhile."""
SPANS_MAX = 256


class Losses:
    """The losses of the last moment."""

    def __init__(self) -> None:
        self._recent: list[tuple[int, frozenset[bytes], Any]] = []

    def note(self, at: int, key: FlowKey, stream: Any) -> None:
        """Note that a stream lost packets; if it was one of three, mark all of them with ``capture_loss``."""
        src_ip, _, dst_ip, _, _ = key.parts()
        hosts = frozenset((src_ip, dst_ip))
        recent = [one for one in self._recent if 0 <= at - one[0] <= WITHIN and one[2] is not stream]
        self._recent = recent = [*recent[-HELD_MAX:], (at, hosts, stream)]
        apart: list[Any] = []
        seen: set[bytes] = set()
        for _, ends, one in reversed(recent):
            if seen.isdisjoint(ends):
                seen |= ends
                apart.append(one)
        if len(apart) >= UNRELATED:
            for one in apart:
                one.capture_loss = True


class Drops:
    """When the capturer dropped frames, in packet time; ``count`` gives how many it has dropped so far."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._dropped = 0
        self._looked_at = 0
        self._spans: list[tuple[int, int]] = []

    def look(self, now: int) -> None:
        """Note whether frames were dropped since the last look; ``now`` is the packet clock."""
        dropped = self._count()
        if dropped > self._dropped:
            # What is parsed now came in before what is dropped now, which has the time of day
            until = min(max(now, time.time_ns()), now + BACKLOG_MAX)
            self._add(max(0, (self._looked_at or now) - LOOKED_BEFORE), until)
        self._dropped, self._looked_at = dropped, now

    def _add(self, since: int, until: int) -> None:
        spans = self._spans
        if spans and (since <= spans[-1][1] or len(spans) >= SPANS_MAX):
            since, until = min(since, spans[-1][0]), max(until, spans[-1][1])
            spans.pop()
        spans.append((since, until))

    def during(self, first: int, last: int) -> bool:
        """Whether frames were dropped between two packet times."""
        return any(since <= last and first <= until for since, until in reversed(self._spans))
