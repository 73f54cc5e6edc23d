"""A pipeline that reads TCP segments, and what it found: for tests of streams."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from otus_core import DecodedPacket, FlowRegistry, FrameBatch, OutputPacket, Parsed
from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.counters import Roster, counter_names, unaccounted
from otus_core.pipeline.loop import Pipeline
from otus_core.pipeline.slots import ParserSlot
from otus_core.stream.framer import Framer
from otus_core.stream.options import StreamsConfig
from otus_core.stream.streams import COUNTERS as STREAM_COUNTERS
from otus_core.stream.streams import Streams
from otus_core.testing import packets

MS = 1_000_000
BEGIN = 10**18
SYN, FIN, RST, PSH, ACK = 2, 1, 4, 8, 16
Frame = tuple[int, bytes]
"""A time (ns) and its bytes."""


class Boxes:
    """A parser whose messages begin with ``!`` and their length in three digits; it takes no other packet."""

    def __init__(self) -> None:
        self.kept: list[DecodedPacket] = []
        self.asked = 0
        self.shown = 0

    def frame(self, data: bytes, at: int) -> int:
        self.asked += 1
        self.shown += len(data) - at
        if data[at : at + 1] != b"!":
            return -1
        if len(data) - at < 4:
            return 0
        return int(data[at + 1 : at + 4]) if data[at + 1 : at + 4].isdigit() else -1

    def resync(self, data: bytes, at: int) -> int:
        return data.find(b"!", at)

    def take(self, packet: DecodedPacket) -> Any:
        if not packet.reassembled:
            return None
        self.kept.append(packet)
        return Parsed(None, {"box.text": packet.payload.decode("latin-1") or "-"})


class Others:
    """A parser of segments."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def take(self, packet: DecodedPacket) -> Any:
        if not packet.payload:
            return None
        self.seen.append(packet.payload)
        return Parsed(None, {})


def box(text: bytes = b"", size: int | None = None) -> bytes:
    """A message of ``Boxes``."""
    whole = size or 4 + len(text)
    return b"!%03d" % whole + text.ljust(whole - 4, b".")


class Wire:
    """A pipeline with a parser that has streams, and perhaps another of segments."""

    def __init__(self, parser: Any = None, others: Any = None, **limits: Any) -> None:
        self.parser = parser or Boxes()
        names = ("p",) if others is None else ("p", "o")
        self.roster = Roster(names, (), {"r": ()})
        accounts = Accounts(counter_names(self.roster, (*COUNTERS, *STREAM_COUNTERS)))
        self.accounts = accounts
        self.buffer = SendBuffer(accounts, "r", 10**7, 1 << 40, True)
        self.errors: list[tuple[str, str, BaseException]] = []
        framer = Framer("p", self.parser, ("tcp", "websocket:sip"), (5060,), 1)
        self.streams = Streams(accounts, StreamsConfig(**limits), [framer])
        slots = [ParserSlot(accounts, "p", self.parser, ("message",), ("udp", "tcp"), 1, None, (), framer)]
        if others is not None:
            slots.append(ParserSlot(accounts, "o", others, ("segment",), ("tcp",), 2))
        self.pipeline = Pipeline(
            accounts=accounts,
            decoder=Decoder(accounts, DecoderConfig()),
            flows=FlowRegistry(),
            parsers=slots,
            processors=[],
            buffers=[self.buffer],
            task_id="t",
            agent_id="a",
            pipeline_id=0,
            on_error=lambda kind, name, error: self.errors.append((kind, name, error)),
            streams=self.streams,
        )

    def feed(self, frames: Iterable[Any]) -> list[OutputPacket]:
        """Read frames, each with its time."""
        batch = FrameBatch.from_frames(list(frames))
        at = 0
        while at < len(batch):
            at = self.pipeline.process(batch, at, 512, 10**9)
        self.counted()
        return self.taken()

    def taken(self) -> list[OutputPacket]:
        """What is there to be reported."""
        return self.buffer.take(10**7)

    def end(self) -> list[OutputPacket]:
        """The capture has ended."""
        self.pipeline.finish()
        self.counted()
        assert (len(self.streams), self.streams.bytes_held, self.accounts["segments_held"]) == (0, 0, 0)
        return self.taken()

    def counted(self) -> dict[str, int]:
        """The counters that are not zero; the identity must close."""
        counters = self.accounts.snapshot()
        taken = counters["r.offered"] - counters["r.queued"] - counters["r.dropped{buffer_overflow}"]
        assert unaccounted({**counters, "r.in_flight": taken}, self.roster) == 0
        return {
            name: n
            for name, n in counters.items()
            if n and not name.startswith(("latency", "r.", "frames_read", "units", "matched", "kept", "running"))
        }


class Side:
    """One direction of a connection: gives segments, with the numbers that they have."""

    def __init__(self, isn: int = 1000, *, port: int = 40000, turned: bool = False, **about: Any) -> None:
        self.seq = isn
        self.about = {"src_port": port, "dst_port": 5060, **about}
        if turned:
            src, dst = self.about.pop("src", packets.SRC), self.about.pop("dst", packets.DST)
            self.about = {"src": dst, "dst": src, "src_port": 5060, "dst_port": port}

    def syn(self, at: int = 0) -> Frame:
        """The first segment."""
        self.seq += 1
        return self.raw(self.seq - 1, b"", SYN, at)

    def send(self, data: bytes, at: int = 0, flags: int = PSH | ACK, ack: int = 1) -> Frame:
        """The next segment, ``at`` ms."""
        self.seq += len(data) + bool(flags & FIN)
        return self.raw(self.seq - len(data) - bool(flags & FIN), data, flags, at, ack)

    def raw(self, seq: int, data: bytes, flags: int = PSH | ACK, at: int = 0, ack: int = 1) -> Frame:
        """Any segment."""
        frame = packets.tcp(data, seq=seq & 0xFFFFFFFF, ack=ack & 0xFFFFFFFF, flags=flags, **self.about)
        return BEGIN + at * MS, frame


def texts(outputs: Sequence[OutputPacket]) -> list[bytes]:
    """The bytes of each message."""
    return [output.raw_payload for output in outputs]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The pieces of data that is cut at these places."""
    edges = [0, *sorted(set(places)), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


def fast_tcp(template: bytes, seq: int, data: bytes, source: int | None = None) -> bytes:
    """A segment made by hand, for many of them: headers of ``template``, an IPv4 frame without payload."""
    head = bytearray(template[:54])
    struct.pack_into("!H", head, 16, 40 + len(data))
    struct.pack_into("!I", head, 38, seq & 0xFFFFFFFF)
    if source is not None:
        struct.pack_into("!IH", head, 26, 0x0A000000 | source & 0xFFFFFF, 1024 + (source >> 24))
        struct.pack_into("!H", head, 34, 1024 + source % 60000)
    return bytes(head) + data
