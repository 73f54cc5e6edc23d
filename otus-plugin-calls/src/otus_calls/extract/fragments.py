"""Which captured frames carry pieces of the same IP datagram.

The decoder says that a frame holds a piece, not of which datagram: it knows, and has no need to tell. So the header is
looked up in the frame by its addresses, which stand together in IPv4 (RFC 791 §3.1) and in IPv6 (RFC 8200 §3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from otus_calls.extract.files import SECOND_NS, Frame
from otus_core import DecodedPacket, FrameDecoder

HELD_NS = 30 * SECOND_NS
"""How long the pieces of a datagram may take: as long as the decoder waits for them."""
AFTER_NS = SECOND_NS
"""How long after a datagram was whole a further piece is a copy of one of its own, as a mirror port gives them; later
it may be another datagram's with the same number.
"""
GROUPS_MAX = 65_536
"""Datagrams that are put together at the same time: forged first fragments must not take memory without end."""
HEADERS_MAX = 8
"""IPv6 extension headers before the fragment header: RFC 8200 §4.1 has use for three, hostile packets for any number.
"""
# IANA protocol numbers: the fragment header; hop-by-hop, routing and destination options, which may stand before it
# (RFC 8200 §4.5).
FRAGMENT = 44
SKIPPED = (0, 43, 60)

Key = tuple[int, bytes, bytes]


class Group:
    """Frames of one datagram, by number."""

    __slots__ = ("numbers", "since", "until", "wanted")

    def __init__(self, now: int) -> None:
        self.numbers: list[int] = []
        self.since = now
        self.until = now + HELD_NS
        self.wanted = False


class Fragments:
    """Groups the frames that hold pieces. ``tunnels`` are those that are looked into."""

    def __init__(self, tunnels: Iterable[str]) -> None:
        layers = ((), tuple(tunnels)) if tunnels else ((),)
        # A tunnel's own packets may be in pieces, and those inside it: both are looked for.
        self._decoders = [FrameDecoder(tunnels=names, reassemble=False) for names in layers]
        self._groups: dict[Key, Group] = {}

    def groups_of(self, number: int, frame: Frame) -> list[Group]:
        """Give the groups that a frame belongs to, with it; none for a frame that is whole."""
        return [self._put(key, number, frame.timestamp) for key in dict.fromkeys(self._keys(frame))]

    def _keys(self, frame: Frame) -> Iterator[Key]:
        for decoder in self._decoders:
            packet = decoder.decode(frame.data, frame.timestamp, frame.link_type, frame.orig_len)
            key = packet and _key(frame.data, packet)
            if key:
                yield key

    def _put(self, key: Key, number: int, now: int) -> Group:
        group = self._groups.pop(key, None)
        if group is None or not group.since <= now <= group.until:
            group = Group(now)
            if len(self._groups) >= GROUPS_MAX:
                del self._groups[next(iter(self._groups))]
        group.numbers.append(number)
        self._groups[key] = group  # as the newest
        return group


def _key(frame: bytes, packet: DecodedPacket) -> Key | None:
    addresses = packet.src_ip.packed + packet.dst_ip.packed
    find = _number_4 if len(addresses) == 8 else _number_6
    at = frame.find(addresses)
    while at >= 0:
        number = find(frame, at)
        if number is not None:
            return len(addresses), addresses, number
        at = frame.find(addresses, at + 1)
    return None


def _number_4(frame: bytes, at: int) -> bytes | None:
    """Give protocol and identification of a fragment of IPv4 whose addresses stand at ``at``."""
    start = at - 12
    if start < 0 or frame[start] >> 4 != 4:
        return None
    placed = int.from_bytes(frame[start + 6 : start + 8]) & 0x3FFF  # more fragments, and the offset
    return frame[start + 9 : start + 10] + frame[start + 4 : start + 6] if placed else None


def _number_6(frame: bytes, at: int) -> bytes | None:
    """Give the identification of a fragment of IPv6 whose addresses stand at ``at``."""
    start = at - 8
    if start < 0 or frame[start] >> 4 != 6:
        return None
    kind, here = frame[start + 6], start + 40
    for _ in range(HEADERS_MAX):
        if here + 8 > len(frame):
            return None
        if kind == FRAGMENT:
            return frame[here + 4 : here + 8]
        if kind not in SKIPPED:
            return None
        kind, here = frame[here], here + 8 * (frame[here + 1] + 1)
    return None
