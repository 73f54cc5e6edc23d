"""Losses that streams have in common although their ways have nothing in common: then the capture lost the packets."""

from __future__ import annotations

from typing import Any

from otus_core import FlowKey

WITHIN = 100_000_000
"""ns, in which losses count as simultaneous."""
UNRELATED = 3
"""Streams between hosts none of which are the same."""
HELD_MAX = 16


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
