"""Fuzz target: any sequence of fragments fares as in the plain-Python reassembler, byte for byte.

``python -m tests.fuzz.reassembly_target`` runs seeds and mutations; with ``--fuzz`` and atheris installed it fuzzes.
Input: five bytes a fragment: which datagram and IP version, offset, length, flags, seconds since the one before.
"""

from __future__ import annotations

from otus_core.decode.options import DecoderConfig, ReassemblyConfig
from tests.core.decode.reassembler import Piece, Reassembler
from tests.core.decode.support import Bench, fragment4, fragment6
from tests.fuzz.harness import run

SECOND = 10**9
FRAGMENTS_MAX = 200
CONTENTS = bytes(range(251)) * 300
OPTIONS = DecoderConfig(ip_reassembly=ReassemblyConfig(max_fragments_per_datagram=8))


def one_input(data: bytes) -> None:
    """Give both reassemblers the fragments that ``data`` describes."""
    bench = Bench.of(OPTIONS)
    oracle = Reassembler(timeout=30 * SECOND, max_per_datagram=8)
    now = 0
    for i in range(0, min(len(data) - 4, 5 * FRAGMENTS_MAX), 5):
        which, unit, length, flags, later = data[i : i + 5]
        offset = (unit << 8 if flags & 2 else unit) * 8 % 65536
        more = flags & 1 == 1
        if offset == 0 and not more:
            continue
        now += later % 32 * SECOND
        size = length & 0xF8 if more and flags & 4 else length
        content = CONTENTS[offset + (flags >> 7) :][:size]
        make, head = (fragment6, 0) if which & 4 else (fragment4, 20)
        oracle.advance(now)
        wanted = oracle.add(which & 7, Piece(offset, content, more, head))
        packet = bench.give(make(content, offset, more, identification=which & 3), timestamp=now)
        assert (packet and packet.payload) == wanted
        assert bench.ends() == {name: oracle.counters[name] for name in bench.ends()}


def seeds() -> list[bytes]:
    """Give a whole datagram in three fragments, in order, reversed, with a copy, with a hole, twice at once."""
    first, middle, last = b"\0\0\x10\5\0", b"\0\2\x10\5\0", b"\0\4\7\0\0"
    other = bytes((first + middle + last)[i] | (4 if i % 5 == 0 else 0) for i in range(15))
    return [
        first + middle + last,
        last + middle + first,
        first + first + middle + last,
        first + last,
        first + other + middle + last,
        first + b"\0\1\x10\5\0" + last,
        b"\0\0\x10\7\0\0\x1f\xff\2\0",
    ]


if __name__ == "__main__":
    run(one_input, seeds())
