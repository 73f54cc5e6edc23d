"""The parser ``rtp`` keeps the contract of parsers; without an announcement it takes nothing, so it guesses here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from otus_core.testing.contract import ParserContract
from tests.rtp.bench import CALLED, CALLER, MS, Bench, rtp

MEBIBYTES_MAX = 30
SSRCS = 100_000


class TestRtpParser(ParserContract):
    """As for any parser; RTCP is its sample, sent to where a call announced it."""

    component = "rtp"
    samples = Path(__file__).parent / "samples"
    port = 5004
    config: Mapping[str, Any] = {"packets": True}

    def make(self, data: Mapping[str, Any] | None = None) -> Any:
        """Make the parser, and announce the endpoint to which the suite sends."""
        bench = Bench(**(self.config if data is None else data))
        bench.call(called=("198.51.100.2", 5004))
        return bench.parser


@pytest.mark.slow
def test_made_up_ssrcs_leave_memory_flat() -> None:
    bench = Bench()
    bench.call()
    packet = bytearray(rtp(1, 0))
    bench.feed(rtp(1, 0, ssrc=0xFFFFFFFF), 0)
    taken = bench.parser.take
    emitted = 0
    before = resident()
    for n in range(SSRCS):
        packet[8:12] = n.to_bytes(4)
        taken(bench.packet(bytes(packet), n * 1000, CALLER, CALLED))
        emitted += len(bench.records)
        bench.records.clear()
    assert bench.parser.stream_count == 16
    assert emitted == SSRCS + 1 - 16
    assert resident() - before < MEBIBYTES_MAX


def test_ten_thousand_streams_from_anywhere_stay_within_the_bound() -> None:
    bench = Bench(max_streams=1000)
    bench.call()
    for n in range(10_000):
        bench.take(rtp(1, 0), n * MS, (f"10.{n >> 8}.{n & 255}.1", 4000), CALLED)
    assert bench.parser.stream_count == 1000
    assert len(bench.records) == 9000
    assert all(record.payload.facts["ended"] == "evicted" for record in bench.records)


def resident() -> float:
    """Give the memory that this process has, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1048576
