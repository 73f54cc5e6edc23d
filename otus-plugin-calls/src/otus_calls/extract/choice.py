"""Which frames of a capture belong to chosen calls.

In: what the first pass reported of these calls, messages and streams; then every frame. Out: the numbers of frames.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from otus_calls.extract.files import SECOND_NS, Frame
from otus_calls.extract.fragments import AFTER_NS, Fragments, Group
from otus_calls.extract.segments import Flow, Segment, Segments
from otus_calls.times import nanoseconds
from otus_core import DecodedPacket, FrameDecoder

TCP, UDP = 6, 17
BESIDE_NS = 2 * SECOND_NS
"""How long before its first and after its last packet a stream's addresses are its own: for DTLS, STUN and RTCP."""


class _Stream(NamedTuple):
    first: int
    last: int
    ssrc: bytes


class Choice:
    """Collects what belongs to the calls."""

    def __init__(self) -> None:
        self._moments: set[tuple[int, Flow]] = set()
        self._times: set[int] = set()
        self._messages: dict[tuple[int, Flow], list[bytes]] = defaultdict(list)
        self._connections: set[Flow] = set()
        self._streams: dict[Flow, list[_Stream]] = defaultdict(list)
        self._ports: set[tuple[int, int]] = set()

    def add_message(self, one: Mapping[str, Any]) -> None:
        """Take what was reported of a message: SIP, RTCP, or an ICMP error that quotes SIP."""
        flow = _flow(one)
        moment = (nanoseconds(one["timestamp"]), flow)
        if one["protocol"] == TCP:
            self._messages[moment].append(base64.b64decode(one["raw_payload"] or ""))
            self._connections |= {flow, _back(flow)}
        else:
            self._moments.add(moment)
            self._times.add(moment[0])

    def add_stream(self, one: Mapping[str, Any]) -> None:
        """Take what was reported of a stream: its packets, and what else goes between its ends meanwhile."""
        facts, flow = one["payload"], _flow(one)
        if not facts["first"]:
            return
        first, last = (nanoseconds(facts[name]) for name in ("first", "last"))
        found = _Stream(first - BESIDE_NS, last + BESIDE_NS, bytes.fromhex(facts["ssrc"]))
        src, sport, dst, dport = flow
        control = (src, sport + 1, dst, dport + 1)  # RFC 3550 §11
        for each in (flow, control, _back(control)):
            self._streams[each].append(found)
            self._ports.add((each[1], each[3]))

    def wants(self, packet: DecodedPacket) -> bool:
        """Whether a packet is one of these messages or of these streams; segments of TCP apart."""
        if packet.timestamp in self._times and (packet.timestamp, _flow_of(packet)) in self._moments:
            return True
        if (packet.src_port, packet.dst_port) not in self._ports:
            return False
        payload = packet.payload
        return any(
            stream.first <= packet.timestamp <= stream.last and _may_be_of(payload, stream.ssrc)
            for stream in self._streams.get(_flow_of(packet), ())
        )

    def connects(self, flow: Flow) -> bool:
        """Whether messages of these calls went over a connection."""
        return flow in self._connections

    def beginning_at(self, timestamp: int, flow: Flow) -> list[bytes]:
        """Give the messages whose first byte is in the segment of this time."""
        return self._messages.get((timestamp, flow), [])


class Search:
    """Looks at every frame of a file. ``tunnels`` are those that are looked into."""

    def __init__(self, choice: Choice, tunnels: Iterable[str]) -> None:
        tunnels = tuple(tunnels)
        self._choice = choice
        self._decoder = FrameDecoder(tunnels=tunnels)
        self._fragments = Fragments(tunnels)
        self._segments = Segments()
        self._numbers: set[int] = set()

    def look(self, number: int, frame: Frame) -> None:
        """Look at one frame."""
        packet = self._decoder.decode(frame.data, frame.timestamp, frame.link_type, frame.orig_len)
        if packet is None or packet.reassembled or packet.truncated:
            self._look_at_piece(number, frame, packet)
        elif self._belongs([number], packet):
            self._numbers.add(number)

    def _look_at_piece(self, number: int, frame: Frame, packet: DecodedPacket | None) -> None:
        """Look at what may be a piece of a datagram, which is wanted with all its pieces."""
        groups = self._fragments.groups_of(number, frame)
        numbers = [n for group in groups for n in group.numbers] or [number]
        wanted = packet is not None and self._belongs(numbers, packet)
        for group in groups:
            self._join(group, wanted, frame.timestamp)
            if packet is not None:
                group.until = min(group.until, frame.timestamp + AFTER_NS)
        if wanted or any(group.wanted for group in groups):
            self._numbers.update(numbers)

    @staticmethod
    def _join(group: Group, wanted: bool, now: int) -> None:
        group.wanted = group.wanted or wanted

    def _belongs(self, numbers: list[int], packet: DecodedPacket) -> bool:
        if packet.protocol != TCP:
            return self._choice.wants(packet)
        flow, transport = _flow_of(packet), packet.transport
        if transport is None or not self._choice.connects(flow):
            return False
        payload, timestamp = packet.payload, packet.timestamp
        for number in numbers:
            segment = Segment(
                number, flow, timestamp, transport.seq, transport.ack, transport.tcp_flags, packet.payload_len
            )
            self._segments.add(segment, payload, self._choice.beginning_at(timestamp, flow))
        return False  # the segments tell when they are all there

    def numbers(self) -> set[int]:
        """Give the numbers of all frames that belong to the calls."""
        return self._numbers.union(self._segments.wanted())


def _flow(one: Mapping[str, Any]) -> Flow:
    return one["src_ip"], one["src_port"], one["dst_ip"], one["dst_port"]


def _flow_of(packet: DecodedPacket) -> Flow:
    return str(packet.src_ip), packet.src_port, str(packet.dst_ip), packet.dst_port


def _back(flow: Flow) -> Flow:
    return (*flow[2:], *flow[:2])


def _may_be_of(payload: bytes, ssrc: bytes) -> bool:
    """Whether a datagram between the ends of a stream may belong to it: RTP of another source does not.

    RTCP's types are told from RTP's as RFC 5761 §4 says.
    """
    if len(payload) < 12 or payload[0] >> 6 != 2 or 192 <= payload[1] <= 223:
        return True
    return payload[8:12] == ssrc
