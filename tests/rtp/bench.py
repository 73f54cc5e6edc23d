"""A parser ``rtp`` with a flow registry of its own, and packets for it."""

from __future__ import annotations

import struct
from typing import Any

from otus_core import CONSUMED, Context, DecodedPacket, FlowKey, FlowRegistry, Record
from otus_core.config.converter import structure
from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.testing import packets
from otus_rtp.config import RtpConfig
from otus_rtp.parser import RtpParser

MS = 1_000_000
SECOND = 1000 * MS
BEGUN = 1_771_669_800 * SECOND
CALLER, CALLED = ("192.0.2.10", 20000), ("192.0.2.20", 30000)
"""Where the parties of ``Bench.call`` listen."""


def rtp(
    sequence: int,
    timestamp: int,
    *,
    ssrc: int = 0x1234,
    payload_type: int = 0,
    marker: bool = False,
    payload: bytes = b"\xff" * 160,
) -> bytes:
    """Give an RTP packet."""
    return (
        struct.pack("!BBHII", 0x80, marker << 7 | payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
        + payload
    )


class Bench:
    """The parser as the pipeline treats it."""

    def __init__(self, **options: Any) -> None:
        self.dropped = 0
        self.mark = 0
        self.flows = FlowRegistry()
        self.flows._take_ends()
        self.flows._take_news()
        self.records: list[Record] = []
        self.parser = RtpParser(structure(RtpConfig, options, "config"))
        self.parser.wire(
            Context(task_id="t", agent_id="a", flows=self.flows, emit=self.records.append, capture_drops=self._drops)
        )
        self.parser.start()
        self._heads: dict[Any, bytes] = {}  # making one takes longer than all else
        self._decoder = Decoder(Accounts(COUNTERS), DecoderConfig())

    def call(
        self,
        call_id: str = "c1",
        *,
        caller: tuple[str, int] = CALLER,
        called: tuple[str, int] = CALLED,
        **context: Any,
    ) -> None:
        """Have a call announce where its two parties listen, with RTCP at the next port."""
        codecs = {0: "PCMU/8000", 101: "telephone-event/8000"}
        for tag, end in (("a", caller), ("b", called)):
            self.announce(call_id, tag, end, **{"codecs": codecs, **context})

    def announce(self, call_id: str, tag: str, end: tuple[str, int], **context: Any) -> None:
        """Have a party of a call announce where it listens."""
        about = {"call_id": call_id, "tag": tag, "media": "audio", "profile": "RTP/AVP"}
        ends = [FlowKey.endpoint(end[0], number, 17) for number in (end[1], end[1] + 1)]
        self.flows.announce(ends, {**about, **context}, owner=call_id)

    def packet(
        self, payload: bytes, at: int, src: tuple[str, int] = CALLER, dst: tuple[str, int] = CALLED
    ) -> DecodedPacket:
        """Give a packet, ``at`` ns after the begin of everything."""
        about = (src, dst, len(payload), self.mark)
        if about not in self._heads:
            frame = packets.udp(payload, src=src[0], dst=dst[0], src_port=src[1], dst_port=dst[1])
            frame = frame[:15] + bytes((self.mark,)) + frame[16:]
            self._heads[about] = frame[: len(frame) - len(payload)]
        packet = self._decoder.decode_one(self._heads[about] + payload, timestamp=BEGUN + at)
        assert packet is not None
        return packet

    def forget_frames(self) -> None:
        """Let go of what makes packets of known ends faster: there may be very many."""
        self._heads.clear()

    def feed(self, payload: bytes, at: int, src: tuple[str, int] = CALLER, dst: tuple[str, int] = CALLED) -> Any:
        """Hand over a packet; gives what the parser says of it."""
        self.flows._move_clock(BEGUN + at)
        self._hear()
        return self.parser.take(self.packet(payload, at, src, dst))

    def _drops(self) -> int:
        return self.dropped

    def _hear(self) -> None:
        """Tell it what was announced, and what has ended."""
        for news in self.flows._take_news():
            self.parser.on_announce(*news)
        for key, context in self.flows._take_ends():
            self.parser.on_flow_end(key, context)

    def take(self, *given: Any, **named: Any) -> None:
        """Hand over a packet that goes into a stream."""
        assert self.feed(*given, **named) is CONSUMED

    def tick(self, at: int) -> list[dict[str, Any]]:
        """Have it tick; gives the facts of the records."""
        self.flows._move_clock(BEGUN + at)
        self._hear()
        return [record.payload.facts for record in self.parser.tick(BEGUN + at) or ()]

    def end(self, at: int = 0) -> list[dict[str, Any]]:
        """Have it finish; gives the facts of all records that were not ticks'."""
        self.records += list(self.parser.finish(BEGUN + at) or ())
        return [record.payload.facts for record in self.records]

    def one(self) -> dict[str, Any]:
        """The same where there is only one stream."""
        (facts,) = self.end()
        return facts
