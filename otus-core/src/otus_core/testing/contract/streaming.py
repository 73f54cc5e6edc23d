"""The contract of parsers that declare ``streams``: they say where messages end, whatever the bytes, and the core gives
them each message whole. A parser without streams passes without a word.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import pytest

from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.model.flows import FlowRegistry
from otus_core.model.frames import FrameBatch
from otus_core.model.packet import DecodedPacket
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.counters import Roster, counter_names
from otus_core.pipeline.loop import Pipeline
from otus_core.pipeline.slots import ParserSlot
from otus_core.stream.framer import Framer
from otus_core.stream.options import StreamsConfig
from otus_core.stream.streams import COUNTERS as STREAM_COUNTERS
from otus_core.stream.streams import Streams
from otus_core.testing import packets
from otus_core.testing.contract.messages import BEGUN_NS
from otus_core.testing.contract.timely import TimelyContract

SOURCE_PORT = 40000
SYN = 2
CUTS_MAX = 200
MUTATIONS = 1000
LONG = 1 << 18
FRAMING_MAX_S = 0.5
"""For a quarter of a megabyte: time in proportion to the bytes is some milliseconds, its square takes minutes."""
STEP_NS = 1_000_000


class _Catcher:
    """Stands where the parser stands, asks it where messages end, and keeps what it would be given."""

    def __init__(self, parser: Any) -> None:
        self.frame = parser.frame
        self.resync = parser.resync
        self.kept: list[DecodedPacket] = []

    def take(self, packet: DecodedPacket) -> Any:
        """Keep one packet."""
        if packet.reassembled:
            self.kept.append(packet)
            return []
        return None


def messages_of(
    parser: Any, declaration: Any, port: int, segments: Sequence[bytes], at: int = 0
) -> list[DecodedPacket]:
    """Give the packets that the core makes of one connection to this port for a parser with streams.

    What ``frame`` and ``resync`` raise, or answer against the rules, fails the test.
    """
    roster = Roster(("p",), (), {"r": ()})
    accounts = Accounts(counter_names(roster, (*COUNTERS, *STREAM_COUNTERS)))
    catcher = _Catcher(parser)
    framer = Framer("p", catcher, declaration.streams, (port,), 1)
    errors: list[BaseException] = []
    pipeline = Pipeline(
        accounts=accounts,
        decoder=Decoder(accounts, DecoderConfig()),
        flows=FlowRegistry(),
        parsers=[ParserSlot(accounts, "p", catcher, ("message",), (), 1, None, (), framer)],
        processors=[],
        buffers=[SendBuffer(accounts, "r", 1 << 20, 1 << 40, True)],
        task_id="test",
        agent_id="test",
        pipeline_id=0,
        on_error=lambda _kind, _name, error: errors.append(error),
        streams=Streams(accounts, StreamsConfig(), [framer]),
    )
    batch = FrameBatch.from_frames(_frames(segments, port, at or BEGUN_NS))
    done = 0
    while done < len(batch):
        done = pipeline.process(batch, done, 512, 10**9)
    pipeline.finish()
    assert not errors, f"frame() or resync(): {errors[0]!r}"
    return catcher.kept


def _frames(segments: Sequence[bytes], port: int, at: int) -> list[tuple[int, bytes]]:
    seq = 1000
    frames = [(at, packets.tcp(b"", src_port=SOURCE_PORT, dst_port=port, seq=seq - 1, flags=SYN))]
    for n, segment in enumerate(segments):
        frames.append((at + n * STEP_NS, packets.tcp(segment, src_port=SOURCE_PORT, dst_port=port, seq=seq)))
        seq += len(segment)
    return frames


class StreamContract(TimelyContract):
    """What a parser with streams must do; a suite says which samples it has."""

    def payloads(self) -> list[bytes]:
        """What the samples hold."""
        raise NotImplementedError

    def port_of(self) -> int:
        """Give the port that the samples come to."""
        raise NotImplementedError

    def streaming(self) -> tuple[Any, list[bytes]]:
        """Give a parser with streams, and those of the samples that are whole messages of one."""
        if not self.declaration.streams:
            pytest.skip("it has no streams")
        parser, _ = self.begin()
        found = [data for data in self.payloads() if self.cut_apart(parser, [data]) == [data]]
        assert found, "it declares streams, and no sample is a whole message of one"
        return parser, found

    def cut_apart(self, parser: Any, segments: Sequence[bytes]) -> list[bytes]:
        """Give the messages of one connection."""
        made = messages_of(parser, self.declaration, self.port_of(), segments)
        return [packet.payload for packet in made]

    def test_messages_are_the_same_however_they_are_cut(self) -> None:
        """A segment ends anywhere; one may hold many messages, and a message may take many."""
        parser, messages = self.streaming()
        messages = [*messages, *messages]
        stream = b"".join(messages)
        for place in range(0, len(stream), max(1, len(stream) // CUTS_MAX)):
            segments = [piece for piece in (stream[:place], stream[place:]) if piece]
            assert self.cut_apart(parser, segments) == messages, f"cut at {place}"
        pieces = [stream[n : n + 1] for n in range(min(len(stream), 2000))]
        assert self.cut_apart(parser, [*pieces, *([stream[2000:]] if stream[2000:] else [])]) == messages, (
            "byte by byte"
        )

    def test_a_message_behind_others_bytes_is_found(self) -> None:
        """What is no message costs only itself: the next one is found. What may be a message is not tried."""
        parser, messages = self.streaming()
        for rubbish in (b"\0" * 40 + b"\r\n", b"?" * 300 + b"\r\n", b"\xff\r\n" * 20):
            if parser.frame(rubbish, 0) != -1:
                continue
            found = self.cut_apart(parser, [messages[0] + rubbish + messages[-1], messages[0]])
            is_found = found[:1] == messages[:1] and found[1:][-2:] == [messages[-1], messages[0]]
            assert is_found, f"behind {rubbish[:8]!r}… no message is found again"

    def test_framing_is_pure_and_takes_any_bytes(self) -> None:
        """The same bytes have the same answer, which is within the rules; nothing is raised."""
        parser, messages = self.streaming()
        chance = random.Random(1)
        for _ in range(MUTATIONS):
            data = bytearray(b"".join(chance.choices(messages, k=2)))
            for _ in range(chance.randrange(6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            cut = bytes(data[: chance.randrange(1, len(data) + 1)])
            at = chance.randrange(len(cut))
            size, place = parser.frame(cut, at), parser.resync(cut, at)
            assert type(size) is int and size >= -1, f"frame() gave {size!r}"
            assert type(place) is int and (place == -1 or at <= place < len(cut)), f"resync() gave {place!r}"
            again = parser.frame(cut, at), parser.resync(cut, at)
            assert again == (size, place), "frame() and resync() depend on more than the bytes"

    def test_framing_takes_time_in_proportion(self) -> None:
        """A peer may send the beginning of a message for ever."""
        parser, messages = self.streaming()
        for piece in (messages[0][:1], messages[0][: len(messages[0]) // 2], messages[0], b"\r\n", b" "):
            data = piece * (LONG // len(piece))
            begun = time.process_time()
            parser.frame(data, 0)
            parser.resync(data, 1)
            spent = time.process_time() - begun
            assert spent < FRAMING_MAX_S, f"{len(data):,} bytes of {piece[:16]!r} take {spent:.1f} s"
