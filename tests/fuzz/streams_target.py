"""Fuzz target: whatever segments come, each is counted once, each message that is given was sent, and all memory is
given back.

``python -m tests.fuzz.streams_target`` runs seeds and mutations; with ``--fuzz`` and atheris installed it fuzzes.
Input: six bytes a segment: which stream and flags, place (two), length, what is odd about it, time since the last one.
"""

from __future__ import annotations

from otus_core.testing import packets
from tests.fuzz.harness import run
from tests.stream.wire import BEGIN, MS, Wire, box, fast_tcp

SEGMENTS_MAX = 200
SIZES = (4, 7, 30, 200, 999, 5, 64)
MESSAGES = [box(b"%d" % n if size > 7 else b"", size) for n, size in enumerate(SIZES * 40)]
STREAM = b"".join(MESSAGES)
SENT = frozenset(MESSAGES)
ISN = 2**32 - 300
FLAGS = (24, 16, 24, 24, 17, 2, 4, 0)
TEMPLATES = [[packets.tcp(b"", flags=flags, src_port=4000 + port) for flags in FLAGS] for port in range(4)]


def one_input(data: bytes) -> None:
    """Give the streams the segments that ``data`` describes."""
    wire = Wire(max_message=512, max_out_of_order=1024, max_streams=16, max_bytes=2**20)
    now = BEGIN
    frames = []
    odd = False
    for i in range(0, min(len(data) - 5, 6 * SEGMENTS_MAX), 6):
        which, low, high, length, what, later = data[i : i + 6]
        now += later % 64 * 50 * MS
        at = (high & 15) << 8 | low
        payload = STREAM[at : at + length]
        if what >> 6 == 3:
            odd = True
            payload = payload[::-1]
        seq = ISN + at + (what & 63 if what >> 6 == 2 else 0)
        odd |= what >> 6 == 2 or (which >> 2 & 7 == 5 and length > 0)  # a SYN takes a number itself
        frames.append((now, fast_tcp(TEMPLATES[which & 3][which >> 2 & 7], seq, payload)))
    given = wire.feed(frames) + wire.end()
    assert odd or SENT.issuperset(output.raw_payload for output in given)
    for packet in wire.parser.kept:
        assert len(packet.payload) == packet.payload_len
        assert packet.timestamp <= packet.end_timestamp
        assert len(packet.frame) == packet.capture_len


def seeds() -> list[bytes]:
    """Give a stream in order, with a hole, backwards, twice, with SYN and FIN, two at once."""

    def segment(at: int, length: int, which: int = 0, what: int = 0, later: int = 0) -> bytes:
        return bytes((which, at & 255, at >> 8, length, what, later))

    order = [segment(at, 100) for at in range(0, 3000, 100)]
    other = [segment(at, 100, 1) for at in range(0, 3000, 100)]
    return [
        b"".join(order),
        b"".join(order[:3] + order[4:]) + segment(0, 0, later=63),
        b"".join(order[:1] + order[:0:-1]),
        b"".join(one + one for one in order),
        segment(0, 0, 5 << 2) + b"".join(order) + segment(3000, 9, 4 << 2),
        b"".join(a + b for a, b in zip(order, other, strict=True)),
        b"".join(segment(at, 1) for at in range(100)),
        b"".join(segment(at, 100, what=0xC0 if at == 500 else 0) for at in range(0, 3000, 100)),
    ]


if __name__ == "__main__":
    run(one_input, seeds())
