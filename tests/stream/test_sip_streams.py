"""SIP over TCP through the whole chain: every message of a stream, whatever its segments look like."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from otus_core.testing.host import Host
from otus_sip.parser import SipParser
from tests.bench.generate import traffic
from tests.sip.messages import message, parser, sdp
from tests.stream.wire import Side, Wire, fast_tcp, texts

INVITE = message("INVITE sip:a@b SIP/2.0", body=sdp("192.0.2.1", "m=audio 4000 RTP/AVP 0"))
PING, PONG = b"\r\n\r\n", b"\r\n"


def frame(data: bytes, at: int = 0) -> int:
    return parser().frame(data, at)


def sip(**options: int) -> SipParser:
    return parser(**options)


def test_every_prefix_of_a_message_says_that_it_may_be_one() -> None:
    head = INVITE.index(b"\r\n\r\n") + 4
    for end in range(1, len(INVITE)):
        assert frame(INVITE[:end]) == (0 if end < head else len(INVITE)), INVITE[:end]
    assert frame(b"xx" + INVITE, 2) == len(INVITE)
    assert frame(INVITE + INVITE) == len(INVITE)
    answer = message("SIP/2.0 200 OK")
    assert all(frame(answer[:end]) == 0 for end in range(1, len(answer)))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"GE",
        b"\x16\x03\x01",
        b"HTTP/1.1 101",
        b"SSH-2.0-x\r\n",
        b"INVITEE",
        b"INVITE  ",
        b"INVITE /",
        b"\r\nGET / HTTP/1.1\r\n",
        b"SIP/2.1 200",
        b"\0",
        b"x" * 9000,
        b"INVITE sip:" + b"a" * 9000,
    ],
)
def test_what_cannot_become_a_message_is_left_to_others_at_once(data: bytes) -> None:
    assert frame(data) == -1


@pytest.mark.parametrize(
    ("field", "size"),
    [
        ("", 0),
        ("Content-Length: 3", 3),
        ("l: 3", 3),
        ("L : 3", 3),
        ("Content-Length:\r\n 3", 3),
        ("l:\r\n\t 0003", 3),
        ("Content-Length: x", 0),
        ("Content-Length: 99999999", 99999999),
    ],
)
def test_content_length_says_where_a_message_ends(field: str, size: int) -> None:
    data = "\r\n".join(["OPTIONS sip:a@b SIP/2.0", "Via: SIP/2.0/TCP c", *([field] if field else []), "", ""]).encode()
    assert frame(data + b"abc") == len(data) + size


def test_the_next_message_is_found_in_what_is_left_of_another() -> None:
    answer = message("SIP/2.0 200 OK")
    for rest in (b"", b"a=sendrecv\r\n", b"Via: SIP/2.0/TCP h;branch=z9hG4bK1\r\n\r\n", b"no newline at the end"):
        for follows in (INVITE, answer):
            assert parser().resync(rest + follows, 0) == len(rest)
            assert parser().resync(b"?" + rest + follows, 1) == 1 + len(rest)
    assert parser().resync(b"Via: SIP/2.0/TCP h\r\n" * 100, 0) == -1
    assert parser().resync(INVITE, 1) == -1


def test_keep_alives_are_ignored() -> None:
    wire, side = Wire(sip()), Side()
    frames = [side.syn(), side.send(PING), side.send(INVITE + PONG), side.send(PONG[:1]), side.send(PONG[1:] + INVITE)]
    assert texts(wire.feed(frames)) == [INVITE, INVITE]
    assert wire.counted() == {
        "dropped{ignored:p}": 4,
        "dropped{unmatched}": 1,
        "messages_added": 2,
    }
    elsewhere = Side(port=9, dst_port=10)
    assert wire.feed([elsewhere.send(PING)]) == []
    assert wire.counted()["dropped{unmatched}"] == 2


def test_an_invite_of_65_kilobytes_over_50_segments() -> None:
    big = message(
        "INVITE sip:a@b SIP/2.0", body=sdp("192.0.2.1", "m=audio 4000 RTP/AVP 0") + b"a=x:" + b"y" * 64500 + b"\r\n"
    )
    wire, side = Wire(sip()), Side()
    size = len(big) // 50 + 1
    frames = [side.send(big[at : at + size], n) for n, at in enumerate(range(0, len(big), size))]
    (output,) = wire.feed(frames)
    assert (output.raw_payload, output.timestamp) == (big, frames[0][0])
    assert wire.counted() == {"segments_merged": 49}


@pytest.mark.slow
def test_fifty_thousand_messages_are_all_found(tmp_path: Path) -> None:
    """Reordering, segments sent again, messages cut anywhere and together in one segment."""
    chance, source = random.Random(11), traffic(50)
    streams: dict[tuple[int, int], list[bytes]] = {}
    for _ in range(50_000):
        caller, called, payload = next(source)
        streams.setdefault((caller % 40, called % 40), []).append(payload)
    timelines = []
    for n, sent in enumerate(streams.values()):
        side = Side(src=f"10.9.{n >> 8}.{n & 255}")
        template = side.raw(0, b"")[1]
        whole, at, pieces = b"".join(sent), 0, []
        while at < len(whole):
            size = chance.choice((1, 20, 300, 536, 1200, 1460, 1460, 9000))
            pieces.append(fast_tcp(template, 7 + at, whole[at : at + size]))
            at += size
            if chance.random() < 0.03:
                back = min(at, chance.randrange(1, 400))
                pieces.append(fast_tcp(template, 7 + at - back, whole[at - back : at + 100]))
        for i in range(1, len(pieces) - 8):
            if chance.random() < 0.1:
                other = i + chance.randrange(1, 6)
                pieces[i], pieces[other] = pieces[other], pieces[i]
        timelines.append([side.raw(6, b"", 2)[1], *pieces])
    frames, indices = [], [0] * len(timelines)
    order = [n for n, pieces in enumerate(timelines) for _ in pieces]
    chance.shuffle(order)
    for n in order:
        frames.append(timelines[n][indices[n]])
        indices[n] += 1
    capture = tmp_path / "tcp.pcap"
    with capture.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for i, data in enumerate(frames):
            file.write(
                struct.pack("<IIII", 1_771_669_800 + i // 100_000, i * 10 % 1_000_000, len(data), len(data)) + data
            )
    ran = Host(tmp_path)(capture, "--parser", "sip", "--format", "none")
    assert (ran.summary["kept"], ran.summary["unaccounted"]) == (50_000, 0), ran.summary
    again = Host(tmp_path)(capture, "--parser", "sip", "--format", "none", "--workers", "2")
    assert (again.summary["kept"], again.summary["unaccounted"]) == (50_000, 0)
