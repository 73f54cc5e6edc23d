"""SIP over WebSocket (RFC 7118): frames are unmasked, joined and inflated."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import pytest

from tests.sip.messages import message, parser
from tests.stream.wire import Boxes, Side, Wire, box, cut, texts

ONE, TWO = message(), message("SIP/2.0 200 OK")
GET = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: %s\r\n\r\n"
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
MASK = b"\x5a\x01\xff\x33"


def ws(data: bytes, opcode: int = TEXT, *, final: bool = True, mask: bytes = b"", rsv: int = 0) -> bytes:
    """One frame (RFC 6455 §5.2)."""
    head = bytes([final << 7 | rsv << 4 | opcode])
    size = len(data)
    marked = 0x80 if mask else 0
    if size < 126:
        head += bytes([marked | size])
    else:
        head += bytes([marked | 126]) + struct.pack("!H", size) if size < 65536 else b""
        head += bytes([marked | 127]) + struct.pack("!Q", size) if size >= 65536 else b""
    return head + mask + (bytes(c ^ mask[i & 3] for i, c in enumerate(data)) if mask else data)


class Connection:
    """Both sides of one, as it begins."""

    def __init__(self, subprotocol: bytes = b"sip", port: int = 40000) -> None:
        self.client = Side(5000, port=port, dst_port=8080)
        self.server = Side(9000, src="198.51.100.2", dst="192.0.2.1", src_port=8080, dst_port=port)
        self.server.about["src_port"], self.server.about["dst_port"] = 8080, port
        self.opening = [self.client.syn(), self.server.syn(), self.client.send(GET)]
        self.opening.append(self.server.send(ANSWER % subprotocol, ack=self.client.seq))


def test_messages_are_unmasked_and_joined() -> None:
    wire, both = Wire(parser()), Connection()
    frames = [
        *both.opening,
        both.client.send(ws(ONE, mask=MASK)),
        both.server.send(ws(TWO[:50], final=False) + ws(b"", PING) + ws(TWO[50:99], 0, final=False) + ws(TWO[99:], 0)),
        both.client.send(ws(b"ping", PING, mask=MASK)),
        both.client.send(ws(ONE, BINARY, mask=b"\0\0\0\0") + ws(ONE, mask=MASK)),
        both.client.send(ws(b"\x03\xe8", CLOSE, mask=MASK)),
    ]
    assert texts(wire.feed(frames)) == [ONE, TWO, ONE, ONE]
    counted = wire.counted()
    assert counted["dropped{reassembly:control}"] == 2
    assert counted["dropped{unmatched}"] == 4
    wire.end()


def test_cut_anywhere_and_out_of_order_they_are_the_same() -> None:
    sent = (
        ws(ONE, mask=MASK) + ws(b"", PING, mask=MASK) + ws(TWO[:9], final=False, mask=MASK) + ws(TWO[9:], 0, mask=MASK)
    )
    for place in range(1, len(sent)):
        wire, both = Wire(parser()), Connection()
        pieces = [both.client.send(piece) for piece in cut(sent, [place])]
        assert texts(wire.feed([*both.opening, *pieces])) == [ONE, TWO], place
    chance = random.Random(1)
    for _ in range(50):
        wire, both = Wire(parser()), Connection()
        pieces = [both.client.send(piece) for piece in cut(sent, [chance.randrange(len(sent)) for _ in range(20)])]
        chance.shuffle(pieces)
        assert texts(wire.feed([*both.opening, *pieces, *pieces])) == [ONE, TWO]
        wire.end()


@pytest.mark.parametrize("mask", [b"", MASK])
def test_without_its_handshake_a_frame_with_a_start_line_tells(mask: bytes) -> None:
    wire, side = Wire(parser()), Side(port=8080, dst_port=50000)
    sent = ws(ONE, mask=mask)
    frames = [side.send(sent), side.send(sent[:100]), side.send(sent[100:] + ws(TWO, mask=mask)), side.send(sent)]
    assert texts(wire.feed(frames)) == [ONE, ONE, TWO, ONE]


def test_another_subprotocol_is_nobody_s() -> None:
    wire, both = Wire(parser()), Connection(b"chat")
    frames = [
        *both.opening,
        both.client.send(ws(b"hello, this is no SIP", mask=MASK)),
        both.client.send(ws(b"x", PING)),
    ]
    assert (wire.feed(frames), len(wire.streams)) == ([], 0)
    assert set(wire.counted()) == {"dropped{unmatched}"}


def deflated(data: bytes, deflater: Any) -> bytes:
    return bytes((deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4])


def test_compressed_messages_are_inflated() -> None:
    wire, both = Wire(parser()), Connection()
    deflater = zlib.compressobj(wbits=-15)
    first, second = deflated(ONE, deflater), deflated(ONE, deflater)
    assert len(second) < len(first) // 4  # the second refers to the first
    frames = [
        *both.opening,
        both.client.send(ws(first, mask=MASK, rsv=4)),
        both.client.send(ws(second[:5], final=False, mask=MASK, rsv=4) + ws(second[5:], 0, mask=MASK)),
        both.client.send(ws(TWO, mask=MASK)),
    ]
    assert texts(wire.feed(frames)) == [ONE, ONE, TWO]


def test_what_cannot_be_inflated_is_counted() -> None:
    wire, both = Wire(parser(), max_message=4096), Connection()
    deflater = zlib.compressobj(wbits=-15)
    deflated(ONE, deflater)
    bomb = zlib.compressobj(wbits=-15)
    frames = [
        *both.opening,
        both.client.send(ws(deflated(ONE, deflater), mask=MASK, rsv=4)),
        both.client.send(ws(deflated(b"x" * 100_000, bomb), mask=MASK, rsv=4)),
        both.client.send(ws(TWO, mask=MASK)),
    ]
    assert texts(wire.feed(frames)) == [TWO]
    counted = wire.counted()
    assert (counted["dropped{reassembly:compressed}"], counted["hidden{compressed_websocket}"]) == (1, 1)
    assert counted["dropped{reassembly:message_too_large}"] == 1


@pytest.mark.parametrize(
    "frame",
    [
        b"\x91" + bytes(20),
        b"\x83" + bytes(20),
        b"\x09\x01x",
        b"\x89\x7f" + bytes(20),
        b"\x80\x05hello",
        b"\xff" * 20,
        b"\x81\xff" + b"\xff" * 20,
    ],
    ids=["rsv3", "opcode 3", "a cut ping", "a long ping", "continuation", "all ones", "endless"],
)
def test_frames_that_are_none_end_it_and_are_counted(frame: bytes) -> None:
    wire, both = Wire(parser()), Connection()
    frames = [*both.opening, both.client.send(ws(ONE, mask=MASK)), both.client.send(frame), both.client.send(frame * 3)]
    assert texts(wire.feed(frames)) == [ONE]
    assert texts(wire.feed([both.client.send(ws(TWO + b"", mask=MASK))])) == [TWO]
    wire.end()


def test_frames_of_one_byte_each_are_read_in_linear_time() -> None:
    wire, both = Wire(Boxes()), Connection()
    whole = box(size=999)
    frames = [ws(whole[:1], final=False), *[ws(bytes([c]), 0, final=False) for c in whole[1:-1]], ws(whole[-1:], 0)]
    assert texts(wire.feed([*both.opening, *[both.client.send(frame) for frame in frames]])) == [whole]


ON_OTHER_PORTS = pytest.mark.parametrize("server_port", [8080, 5060], ids=["another port", "the parser's port"])


def connection(server_port: int) -> Connection:
    both = Connection()
    both.client.about["dst_port"], both.server.about["src_port"] = server_port, server_port
    return both


def handshake(both: Connection, asked: list[bytes], answered: list[bytes]) -> list[Any]:
    frames = [both.client.syn(), both.server.syn(), *[both.client.send(piece) for piece in asked]]
    return frames + [both.server.send(piece, ack=both.client.seq) for piece in answered]


@ON_OTHER_PORTS
def test_a_handshake_may_be_cut_anywhere(server_port: int) -> None:
    answer = ANSWER % b"sip"
    cuts = [(GET, answer, [place], []) for place in range(1, len(GET))]
    cuts += [(GET, answer, [], [place]) for place in range(1, len(answer))]
    cuts += [(GET, answer, list(range(1, len(GET))), list(range(1, len(answer))))]
    for asked, answered, ask_at, answer_at in cuts:
        for tail in (b"", ws(TWO)):
            wire, both = Wire(parser()), connection(server_port)
            frames = handshake(both, cut(asked, ask_at), cut(answered + tail, answer_at))
            frames += [both.client.send(ws(ONE, mask=MASK)), both.server.send(ws(TWO[:9], final=False))]
            frames += [both.server.send(ws(TWO[9:], 0))]
            assert texts(wire.feed(frames)) == [TWO] * bool(tail) + [ONE, TWO], (ask_at, answer_at, tail)
            wire.end()


def test_segments_of_an_answer_may_come_in_any_order_and_twice() -> None:
    chance = random.Random(2)
    answer = ANSWER % b"sip" + ws(TWO) + ws(ONE)
    for _ in range(60):
        wire, both = Wire(parser()), connection(8080)
        opening = handshake(both, [GET], [])
        pieces = cut(answer, sorted(chance.sample(range(1, len(answer)), 6)))
        sent = [both.server.send(piece, ack=both.client.seq) for piece in pieces]
        chance.shuffle(sent)
        found = texts(wire.feed([*opening, *sent, *sent, both.client.send(ws(ONE, mask=MASK))]))
        assert sorted(found) == sorted([TWO, ONE, ONE])
        wire.end()


@pytest.mark.parametrize("subprotocol", [b"chat", b""])
def test_a_cut_answer_of_somebody_else_is_given_up(subprotocol: bytes) -> None:
    answer = ANSWER % subprotocol
    for place in range(1, len(answer)):
        wire, both = Wire(parser()), connection(8080)
        frames = handshake(both, [GET], cut(answer, [place]))
        frames += [both.server.send(ws(b"x" * 50)), both.client.send(ws(b"y" * 50, mask=MASK))]
        assert texts(wire.feed(frames)) == []
        wire.end()


def test_an_answer_without_an_end_is_held_no_further_than_a_header_is_long() -> None:
    wire, both = Wire(parser()), connection(8080)
    frames = handshake(both, [GET], [b"HTTP/1.1 101 OK\r\n", *[b"X-More: %04d\r\n" % n * 40 for n in range(40)]])
    assert texts(wire.feed(frames)) == []
    counted = wire.counted()
    assert "segments_held" not in counted and counted["dropped{reassembly:no_message}"] < 25
    wire.end()
