"""Streams that somebody makes to do harm: what they cost in time and memory is bounded, and the others stay."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator

import pytest

from otus_core.testing import packets
from tests.stream.wire import ACK, BEGIN, FIN, MS, PSH, SYN, Boxes, Frame, Side, Wire, box, fast_tcp, texts

ONE, TWO, THREE = box(b"one"), box(b"two, longer"), box(b"three")


def rss() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def flood(many: int, flags: int, data: bytes = b"", step: int = 100) -> Iterator[list[Frame]]:
    """Batches of segments, each of another stream."""
    template = packets.tcp(b"", flags=flags)
    for start in range(0, many, 10_000):
        yield [
            (BEGIN + n // step * 1000, fast_tcp(template, n * 7919, data, source=n))
            for n in range(start, start + 10_000)
        ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "data"),
    [(SYN, b""), (PSH | ACK, b"!9"), (PSH | ACK, ONE + b"!900")],
    ids=["SYN", "begun", "one and begun"],
)
def test_half_open_streams_stay_within_the_limits_however_many(flags: int, data: bytes) -> None:
    wire, side = Wire(max_streams=4096, max_bytes=2**20), Side(port=9)
    wire.feed([side.syn(), side.send(ONE)])
    before = 0
    for n, batch in enumerate(flood(300_000, flags, data)):
        wire.feed(batch)
        assert len(wire.streams) <= 4096
        assert wire.streams.bytes_held <= 2**20
        wire.parser.kept.clear()
        if n == 10:
            before = rss()
    assert rss() - before < 8 << 20
    assert texts(wire.feed([side.send(TWO)])) == [TWO]
    wire.end()


def test_streams_of_messages_give_way_last() -> None:
    wire, side = Wire(max_streams=256), Side(port=9)
    wire.feed([side.syn(), side.send(ONE + TWO[:5])])
    for batch in flood(10_000, SYN):
        wire.feed(batch)
    for batch in flood(10_000, PSH | ACK, b"!90"):
        wire.feed(batch)
    assert texts(wire.feed([side.send(TWO[5:])])) == [TWO]
    counted = wire.counted()
    assert counted["dropped{reassembly:stream_limit}"] + counted["segments_held"] == 10_000
    wire.end()


class Endless(Boxes):
    """Messages that end with a full stop, of which nobody knows before how long they are."""

    def frame(self, data: bytes, at: int) -> int:
        self.shown += len(data) - at
        return data.find(b".", at) + 1 if data[at : at + 1] != b"-" else -1


def test_a_message_of_one_byte_segments_is_shown_in_linear_time() -> None:
    wire, side = Wire(Endless(), max_message=2**20), Side()
    sent = 30_000
    frames = [side.syn(), *[side.send(b"x") for _ in range(sent)], side.send(b".", flags=FIN | ACK)]
    assert texts(wire.feed(frames)) == [b"x" * sent + b"."]
    assert wire.parser.shown < 2 * (1 << 22)  # not sent²/2, which is 450 million
    assert wire.counted() == {"segments_merged": sent, "dropped{unmatched}": 1}


def test_a_message_that_never_ends_is_given_up() -> None:
    wire, side = Wire(Endless(), max_message=2**16), Side()
    frames = [side.syn(), *[side.send(b"x" * 1400) for _ in range(100)]]
    assert wire.feed(frames) == []
    counted = wire.counted()
    assert counted["dropped{reassembly:message_too_large}"] + counted["segments_held"] == 100
    assert wire.streams.bytes_held < 2**18
    wire.end()


def test_a_message_that_says_it_is_too_large_is_given_up_at_once() -> None:
    class Large(Boxes):
        def frame(self, data: bytes, at: int) -> int:
            return 10**12 if data[at : at + 2] == b"!x" else super().frame(data, at)

    wire, side = Wire(Large()), Side()
    assert texts(wire.feed([side.syn(), side.send(b"!x" + b"z" * 50), side.send(ONE)])) == [ONE]
    assert wire.counted()["dropped{reassembly:message_too_large}"] == 1


@pytest.mark.parametrize("size", [1, 300])
def test_what_waits_for_a_hole_is_bounded(size: int) -> None:
    """Also in the worst order, and however small the pieces are."""
    wire, side = Wire(max_out_of_order=2**14), Side()
    stream = box(size=size + 4) * 3000
    pieces = [(n, stream[n : n + size]) for n in range(1, len(stream), size)]
    frames = [side.syn(), side.send(ONE)]
    frames += [side.raw(side.seq + n, piece) for n, piece in reversed(pieces[:2000])]
    wire.feed(frames)
    assert wire.streams.bytes_held < 2**20
    counted = wire.counted()
    assert counted.get("segments_held", 0) <= 300
    assert counted["dropped{reassembly:retransmission}"] > 1000
    wire.end()


def test_the_numbers_may_wrap() -> None:
    stream = b"".join(box(b"%d" % n, 30) for n in range(100))
    for isn in range(2**32 - 40, 2**32, 7):
        wire, side = Wire(), Side(isn)
        frames = [side.syn(), *[side.send(stream[at : at + 11]) for at in range(0, len(stream), 11)]]
        swapped = [frames[i ^ 1] if 1 < i < len(frames) - 2 else frames[i] for i in range(len(frames))]
        assert len(texts(wire.feed(swapped))) == 100


def test_numbers_far_away_are_another_connection() -> None:
    wire, side = Wire(), Side()
    frames = [side.syn(), side.send(ONE), side.raw(side.seq + 2**30, TWO), side.raw(side.seq + 2**30 + len(TWO), THREE)]
    assert texts(wire.feed(frames)) == [ONE, TWO, THREE]
    # What begins no message moves nobody elsewhere.
    frames = [side.raw(5, b"garbage"), side.raw(side.seq + 2**30 + len(TWO + THREE), ONE)]
    assert texts(wire.feed(frames)) == [ONE]


def test_streams_that_nobody_uses_are_forgotten() -> None:
    wire, side = Wire(timeout=10), Side()
    wire.feed([side.syn(), side.send(TWO[:5]), (BEGIN + 11_000 * MS, packets.udp(b"x", dst_port=9))])
    assert (len(wire.streams), wire.counted()["dropped{reassembly:stream_end}"]) == (0, 1)


def test_anything_at_once() -> None:
    """Random segments of few streams, with every flag: the identity closes, and all is given back."""
    chance = random.Random(3)
    wire = Wire(max_bytes=2**20, max_streams=16, max_message=1024, max_out_of_order=1024, gap_timeout=0.1, timeout=1)
    stream = b"".join(box(b"%d" % n, chance.choice((4, 9, 40, 300, 999))) for n in range(200))
    for round_ in range(60):
        frames = []
        for n in range(500):
            at = chance.randrange(3000)
            data = stream[at : at + chance.choice((0, 1, 5, 200))]
            if chance.random() < 0.1:
                data = chance.randbytes(20)
            flags = chance.choice((PSH, ACK, PSH, PSH | ACK, ACK, PSH, SYN, FIN | ACK, chance.randrange(64)))
            side = Side(port=chance.randrange(1, 25), turned=chance.random() < 0.3)
            seq = chance.choice((at, at, at, at, at + 10, at + 2**25, chance.randrange(2**32)))
            frames.append(side.raw(seq, data, flags, round_ * 500 + n, ack=chance.randrange(3000)))
        wire.feed(frames)
        assert len(wire.streams) <= 16
    assert len(wire.parser.kept) > 300
    wire.end()
