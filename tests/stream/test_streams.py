"""What becomes of segments: each message whole and once, each segment in one counter."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otus_core import RawPacket
from otus_core.testing import packets
from tests.stream.wire import ACK, BEGIN, FIN, MS, PSH, RST, SYN, Boxes, Others, Side, Wire, box, cut, texts

ONE, TWO, THREE = box(b"one"), box(b"two, longer"), box(b"three")
ALL = ONE + TWO + THREE


def test_a_segment_that_is_one_message_is_a_packet_as_it_is() -> None:
    wire, side = Wire(), Side()
    assert texts(wire.feed([side.send(ONE), side.send(TWO, 5)])) == [ONE, TWO]
    first, second = wire.parser.kept
    assert (first.reassembled, first.timestamp, first.end_timestamp) == (True, BEGIN, BEGIN)
    assert (second.timestamp, second.src_port, second.payload) == (BEGIN + 5 * MS, 40000, TWO)
    assert second.frame.endswith(TWO)
    assert wire.counted() == {}


def test_a_message_has_the_time_of_its_first_byte_and_that_of_its_last() -> None:
    wire, side = Wire(), Side()
    frames = [side.send(ONE + TWO[:5], 1), side.send(TWO[5:8], 2), side.send(TWO[8:] + THREE, 3)]
    assert texts(wire.feed(frames)) == [ONE, TWO, THREE]
    times = [((p.timestamp - BEGIN) // MS, (p.end_timestamp - BEGIN) // MS) for p in wire.parser.kept]
    assert times == [(1, 1), (1, 3), (3, 3)]
    assert wire.counted() == {"segments_merged": 1, "messages_added": 1}


@pytest.mark.parametrize("begun", [True, False], ids=["with SYN", "without"])
def test_cut_at_every_byte_and_doubled_it_stays_the_same(begun: bool) -> None:
    for place in range(1, len(ALL)):
        wire, side = Wire(), Side(2**32 - 20)
        frames = [side.syn()] if begun else []
        frames += [side.send(piece) for piece in cut(ALL, [place])]
        assert texts(wire.feed([frame for frame in frames for _ in range(2)])) == [ONE, TWO, THREE], place
        assert wire.end() == []
    wire, side = Wire(), Side()
    assert texts(wire.feed([side.send(ALL[i : i + 1]) for i in range(len(ALL))])) == [ONE, TWO, THREE]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_order_any_cut_any_repetition_gives_the_same(data: st.DataObject) -> None:
    """Two directions, cut and sent again at other places, reordered within what waits for a hole."""
    messages = {False: [box(b"%d" % n, 10 + n) for n in range(12)], True: [box(b"r%d" % n, 40) for n in range(9)]}
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    isn = data.draw(st.integers(0, 2**32 - 1))
    frames = []
    for turned, sent in messages.items():
        side = Side(isn, turned=turned)
        stream = b"".join(sent)
        pieces = []
        for _ in range(chance.randrange(1, 3)):
            at = 0
            for piece in cut(stream, [chance.randrange(len(stream)) for _ in range(chance.randrange(30))]):
                pieces.append(side.raw(isn + 1 + at, piece, ack=0, flags=PSH))
                at += len(piece)
        chance.shuffle(pieces)
        frames.append([side.syn(), *pieces])
    wire = Wire()
    mixed = [frame for pair in zip(*[part + [None] * 99 for part in frames], strict=False) for frame in pair if frame]
    found = wire.feed(mixed)
    for turned, sent in messages.items():
        port = 5060 if turned else 40000
        assert texts([output for output in found if output.src_port == port]) == sent
    assert wire.end() == []


def test_the_first_bytes_win() -> None:
    wire, side = Wire(), Side(999)
    side.syn()
    other = ALL.swapcase()
    frames = [
        side.raw(1000 + 10, ALL[10:20]),
        side.raw(1000 + 5, other[5:25]),  # around the one before
        side.raw(1000, ALL[:15]),
        side.raw(1000 + 20, ALL[20:]),
    ]
    # Bytes 5 to 9 and 20 to 24 came first in the second one, the others as they should be
    expected = ALL[:5] + other[5:10] + ALL[10:20] + other[20:25] + ALL[25:]
    assert (
        b"".join(texts(wire.feed([(BEGIN, packets.tcp(b"", seq=999, flags=SYN, src_port=40000)), *frames]))) == expected
    )


def test_a_hole_is_given_up_after_a_while() -> None:
    wire, side = Wire(), Side()
    frames = [side.syn(), side.send(ONE), side.send(TWO[:6])]
    side.send(TWO[6:] + ONE[:2])  # lost
    frames += [side.send(ONE[2:] + THREE, 10), side.send(ONE, 20)]
    assert texts(wire.feed(frames)) == [ONE]
    assert wire.accounts["segments_held"] == 3
    assert texts(wire.feed([(BEGIN + 3000 * MS, packets.udp(b"x", dst_port=9))])) == [THREE, ONE]
    counted = wire.counted()
    assert (counted["dropped{reassembly:gap}"], counted["hidden{cut_streams}"]) == (1, 1)
    assert wire.end() == []


def test_a_hole_that_the_receiver_has_not_is_given_up_soon() -> None:
    wire, side, other = Wire(), Side(), Side(turned=True)
    frames = [side.syn(), side.send(ONE)]
    side.send(TWO)  # lost
    frames += [side.send(THREE, 10), other.raw(1, b"", ACK, 11, ack=side.seq)]
    assert texts(wire.feed(frames)) == [ONE]
    assert texts(wire.feed([(BEGIN + 400 * MS, packets.udp(b"x", dst_port=9))])) == [THREE]


def test_an_acknowledgement_that_was_captured_early_loses_nothing() -> None:
    wire, side, other = Wire(), Side(), Side(turned=True)
    frames = [side.syn(), side.send(ONE)]
    late, early = side.send(TWO, 12), side.send(THREE, 10)
    frames += [early, other.raw(1, b"", ACK, 11, ack=side.seq), late]
    assert texts(wire.feed(frames)) == [ONE, TWO, THREE]


def test_what_is_behind_holes_is_given_when_the_capture_ends() -> None:
    wire, side, other = Wire(), Side(), Side(turned=True)
    frames = [side.syn(), side.send(ONE)]
    side.send(TWO)  # lost
    frames += [side.send(THREE, 10), other.raw(1, b"", ACK, 11, ack=side.seq)]
    side.send(TWO)  # lost
    frames.append(side.send(TWO, 12))
    assert texts(wire.feed(frames)) == [ONE]
    assert texts(wire.end()) == [THREE, TWO]
    assert wire.counted()["hidden{cut_streams}"] == 2


@pytest.mark.parametrize("flags", [FIN | ACK, RST | ACK, RST])
def test_the_end_of_a_connection_ends_it(flags: int) -> None:
    wire, side = Wire(), Side()
    assert texts(wire.feed([side.syn(), side.send(ONE + TWO[:7]), side.send(b"", flags=flags)])) == [ONE]
    assert len(wire.streams) == 0
    assert wire.counted()["dropped{reassembly:stream_end}"] == 1
    again = Side(77)
    assert texts(wire.feed([again.syn(), again.send(THREE)])) == [THREE]


def test_a_syn_that_is_captured_again_begins_nothing() -> None:
    wire, side = Wire(), Side()
    syn = side.syn()
    assert texts(wire.feed([syn, side.send(ONE + TWO[:5]), syn, side.send(TWO[5:])])) == [ONE, TWO]
    other = Side(9_000_000)
    assert texts(wire.feed([other.syn(), other.send(THREE)])) == [THREE]


def test_a_reset_out_of_place_ends_nothing() -> None:
    wire, side = Wire(), Side()
    frames = [side.syn(), side.send(ONE[:3]), side.raw(side.seq + 10**6, b"", RST), side.send(ONE[3:])]
    assert texts(wire.feed(frames)) == [ONE]


def test_other_connections_of_the_same_ports_are_apart() -> None:
    wire = Wire()
    plain, tagged = Side(), Side()
    tag = {"one": plain.send(ONE[:4]), "two": tagged.send(TWO[:4])}
    frames = [tag["one"], (BEGIN, packets.vlan(tag["two"][1], 7)), plain.send(ONE[4:])]
    frames.append((BEGIN, packets.vlan(tagged.send(TWO[4:])[1], 7)))
    assert texts(wire.feed(frames)) == [ONE, TWO]


def test_what_is_nobody_s_stream_goes_to_the_others_as_before() -> None:
    others = Others()
    wire, side = Wire(others=others), Side()
    http = [b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n"]
    frames = [side.syn(), side.send(http[0])]
    late, early = side.send(http[1]), side.send(http[2])
    assert texts(wire.feed([*frames, early, late, late])) == [http[0], http[2], http[1], http[1]]
    # Begun out of order, they wait until it is known whose they are.
    side = Side(port=40001)
    frames = [side.syn()]
    late, early = side.send(http[0]), side.send(http[1])
    assert sorted(texts(wire.feed([*frames, early, late]))) == sorted(http[:2])
    assert (wire.parser.kept, len(wire.streams)) == ([], 0)


def test_bytes_that_are_no_message_cost_no_other() -> None:
    wire, side = Wire(), Side()
    frames = [side.send(ONE + b"garbage" + TWO), side.send(THREE + b"more"), side.send(ONE)]
    assert texts(wire.feed(frames)) == [ONE, TWO, THREE, ONE]
    assert wire.counted()["dropped{reassembly:no_message}"] == 2


def test_a_capture_that_begins_in_a_message_is_read_from_the_next_on() -> None:
    wire, side = Wire(), Side()
    assert texts(wire.feed([side.send(ONE[3:] + TWO + THREE[:5]), side.send(THREE[5:])])) == [TWO, THREE]


def test_what_the_capture_cut_short_is_given_as_it_is() -> None:
    wire, side = Wire(), Side()
    big = box(size=900)
    frames = []
    for sent in (ONE, big, ONE + big, TWO):
        time, frame = side.send(sent)
        frames.append(RawPacket(frame[:200], time, len(frame)))
    found = texts(wire.feed(frames))
    assert [one[:4] for one in found] == [b"!007", b"!900", b"!007", b"!900", b"!015"]
    assert [packet.truncated for packet in wire.parser.kept] == [False, True, True, True, False]
    assert wire.counted()["hidden{truncated_frames}"] == 2


def test_a_framer_that_raises_costs_its_bytes_alone_and_is_cut_off() -> None:
    class Broken(Boxes):
        def frame(self, data: bytes, at: int) -> int:
            self.asked += 1
            raise RuntimeError("no")

    others = Others()
    wire, side = Wire(Broken(), others), Side(dst_port=9)
    sent = [b"%d" % n for n in range(300)]
    assert texts(wire.feed([side.send(one) for one in sent])) == sent
    assert (wire.parser.asked, wire.accounts["errors{parser:p}"], len(wire.errors)) == (100, 100, 100)


@pytest.mark.parametrize("answer", [None, "4", 4.0, True, -2, -(10**30), 10**30], ids=repr)
def test_a_framer_that_gives_what_it_must_not_is_told(answer: object) -> None:
    class Odd(Boxes):
        def frame(self, data: bytes, at: int) -> int:
            return answer  # type: ignore[return-value]

        def resync(self, data: bytes, at: int) -> int:
            return answer  # type: ignore[return-value]

    wire, side = Wire(Odd()), Side()
    assert wire.feed([side.send(ONE)]) == []
    assert wire.accounts["errors{parser:p}"] == 1
    assert wire.accounts["dropped{unmatched}"] == 1
