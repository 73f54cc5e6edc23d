"""Which TCP segments carry the messages of chosen calls.

In: for each message the segment that holds its first byte, and its length. Out: all segments that hold some of its
bytes, those that were sent again or came early too, what acknowledges them, and how the connection began and ended.
Segments that hold nothing of these calls stay out: a trunk carries thousands of calls over one connection.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from otus_calls.extract.files import SECOND_NS

NEAR_NS = 60 * SECOND_NS
"""How far in time a segment may be from the one that holds a message's first byte."""
# RFC 9293 §3.1: the bits of a segment's flags; numbers count modulo 2^32 (§3.4).
FIN, SYN, RST, ACK = 1, 2, 4, 16
MASK = 0xFFFFFFFF
PAGE = 16
"""Bits of a sequence number that lie in one page of the index."""
HEAD = 48
"""Bytes of a message that are looked for in its segment."""
FRAMING = 64
"""What WebSocket may add to a message's length: a header of 14 bytes for each of a few frames (RFC 6455 §5.2)."""

Flow = tuple[str, int, str, int]


class Segment(NamedTuple):
    """A segment of a connection over which messages of chosen calls went."""

    number: int
    flow: Flow
    timestamp: int
    seq: int
    ack: int
    flags: int
    size: int


class _Range(NamedTuple):
    timestamp: int
    start: int
    size: int

    def holds(self, at: int, size: int, when: int) -> bool:
        """Whether ``size`` bytes from ``at`` on are partly in it."""
        if abs(when - self.timestamp) > NEAR_NS:
            return False
        return (at - self.start) & MASK < self.size or (self.start - at) & MASK < size


class Segments:
    """Collects segments and messages, then tells the frames that are wanted."""

    def __init__(self) -> None:
        self._all: list[Segment] = []
        self._ranges: dict[tuple[Flow, int], list[_Range]] = defaultdict(list)

    def add(self, segment: Segment, payload: bytes, messages: Sequence[bytes]) -> None:
        """Note a segment; ``messages`` are those that begin in it."""
        self._all.append(segment)
        for message in messages:
            self._mark(segment, payload, message)

    def _mark(self, segment: Segment, payload: bytes, message: bytes) -> None:
        place = _place(payload, message)
        start = (segment.seq + max(place, 0)) & MASK
        size = len(message) if place >= 0 else max(len(payload), len(message) + FRAMING)
        found = _Range(segment.timestamp, start, size)
        for page in range(start >> PAGE, (start + size >> PAGE) + 1):
            self._ranges[segment.flow, page & MASK >> PAGE].append(found)

    def wanted(self) -> Iterator[int]:
        """Give the numbers of the frames."""
        connections = {frozenset((flow[:2], flow[2:])) for flow, _ in self._ranges}
        for one in self._all:
            there = frozenset((one.flow[:2], one.flow[2:])) in connections
            if there and (self._carries(one) or self._acknowledges(one) or self._frames(one)):
                yield one.number

    def _carries(self, one: Segment) -> bool:
        return one.size > 0 and self._within(one.flow, one.seq, one.size, one.timestamp)

    def _acknowledges(self, one: Segment) -> bool:
        if one.size or not one.flags & ACK:
            return False
        return self._within((*one.flow[2:], *one.flow[:2]), one.ack - 1 & MASK, 1, one.timestamp)

    def _frames(self, one: Segment) -> bool:
        """Whether it begins or ends a connection.

        A SYN counts only where a chosen message follows: behind it whoever reads the result would wait for the bytes
        of other calls.
        """
        if one.flags & SYN:
            after = one.seq + 1 & MASK
            back = (*one.flow[2:], *one.flow[:2])
            return self._within(one.flow, after, 1, one.timestamp) or (
                one.flags & ACK > 0 and self._within(back, one.ack, 1, one.timestamp)
            )
        return one.flags & (FIN | RST) > 0

    def _within(self, flow: Flow, at: int, size: int, when: int) -> bool:
        pages = range(at >> PAGE, (at + size >> PAGE) + 1)
        return any(
            one.holds(at, size, when) for page in pages for one in self._ranges.get((flow, page & MASK >> PAGE), ())
        )


def _place(payload: bytes, message: bytes) -> int:
    """Give where in a segment a message begins, -1 where it is not there as it is, being masked or compressed."""
    at = payload.find(message[:HEAD])
    if at >= 0:
        return at
    for at in range(max(0, len(payload) - HEAD), len(payload)):
        if message.startswith(payload[at:]):
            return at
    return -1
