"""A great many streams, real and made up: memory is bounded, and each stream that had to go is told of."""

from __future__ import annotations

import resource
from collections import Counter

import pytest

from tests.rtp.bench import CALLED, CALLER, MS, SECOND, Bench, rtp

STREAM_BYTES = 4608
"""With all that is kept about its 5-tuple: somewhat more than the help of ``max_streams`` says."""


def resident() -> int:
    """Bytes of memory of this process, now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def ends_of(n: int) -> tuple[tuple[str, int], tuple[str, int]]:
    return (f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", 4000), (
        f"10.{128 + (n >> 16)}.{n >> 8 & 255}.{n & 255}",
        5000,
    )


def drain(bench: Bench, told: Counter[str]) -> None:
    """Count records, and let go of them, as a reporter would; the last of them says why its stream ended."""
    if bench.records:
        told[bench.records[-1].payload.facts["ended"]] += len(bench.records)
    bench.records.clear()
    bench.forget_frames()


@pytest.mark.slow
def test_a_million_ssrcs_between_the_same_two_ends_take_no_more_memory_than_a_few() -> None:
    bench = Bench()
    bench.call()
    told: Counter[str] = Counter()
    held = 0
    for n in range(1_000_000):
        bench.parser.take(bench.packet(rtp(1, 0, ssrc=n, payload=b""), n * 1000))
        if n % 1000 == 0:
            drain(bench, told)
        if n == 100_000:
            held = resident()
    drain(bench, told)
    assert resident() - held < 4 << 20
    assert told == {"evicted": 1_000_000 - 16}
    assert bench.parser.stream_count == 16


@pytest.mark.slow
def test_a_hundred_thousand_streams_at_once_are_bounded_in_number_and_memory() -> None:
    bench = Bench(max_streams=50_000)
    bench.call()
    told: Counter[str] = Counter()
    before = resident()
    for n in range(100_000):
        src, _ = ends_of(n)
        bench.parser.take(bench.packet(rtp(1, 0, ssrc=n, payload=b""), n * 1000, src, CALLED))
        if n % 1000 == 0:
            drain(bench, told)
    drain(bench, told)
    assert bench.parser.stream_count == 50_000
    assert told == {"evicted": 50_000}
    assert resident() - before < 50_000 * STREAM_BYTES
    assert len(list(bench.parser.finish(SECOND) or ())) == 50_000
    bench.parser.stop()
    assert bench.parser.stream_count == 0


def test_whatever_was_evicted_is_told_with_its_packets() -> None:
    bench = Bench(max_streams=100)
    bench.call()
    for n in range(3000):
        bench.parser.take(bench.packet(rtp(n // 300, 0, ssrc=n % 300, payload=b""), n * MS, *((CALLER, CALLED))))
    facts = bench.end()
    assert sum(one["packets"] + one["duplicates"] + one["strays"] for one in facts) == 3000
