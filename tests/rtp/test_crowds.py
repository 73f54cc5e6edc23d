"""A great many streams, real and made up: memory is bounded, and each stream that had to go is told of."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
from collections import Counter
from pathlib import Path

import dpkt
import pytest

from tests.bench.generate import media
from tests.live.net import OTUS
from tests.rtp.bench import CALLED, CALLER, MS, SECOND, Bench, rtp

SOURCE_AT = 26
"""The source of an IPv4 header behind an Ethernet header."""
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


def crowd(path: Path, count: int, *, many_sources: bool) -> Path:
    """Make a capture of a call, and of ``count`` RTP packets to the party that answers: each has an SSRC of its own,
    and a source of its own where there are ``many_sources``.
    """
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        head = b""
        for n, frame in enumerate(media(2, 1)):
            head = frame[:-172]  # without RTP: in the end of what the caller sends
            if n < 2:
                writer.writepkt(frame, ts=0.001 * n)
        frame = bytearray(head)
        for n in range(count):
            if many_sources:
                struct.pack_into("!I", frame, SOURCE_AT, 0x0B000000 + n)
            writer.writepkt(bytes(frame) + rtp(1, 0, ssrc=n, payload=bytes(160)), ts=1 + n / 100_000)
    return path


def run(capture: Path, *options: str) -> tuple[Counter[str], int]:
    """Run ``otus run``; gives why its streams ended, and the most memory that it had at a time."""
    lines = capture.with_suffix(".json")
    command = [OTUS, "run", capture, "--parser", "sip", "--parser", "rtp", "--format", "json", "-q", *options]
    with lines.open("wb") as out, subprocess.Popen(command, stdout=out) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    told: Counter[str] = Counter()
    with lines.open() as file:
        for line in file:
            told.update(part.split('"')[0] for part in line.split('"ended":"')[1:])
    lines.unlink()
    return told, used.ru_maxrss << 10


@pytest.mark.slow
def test_a_run_tells_of_each_of_many_ssrcs_and_takes_no_more_memory_for_them(tmp_path: Path) -> None:
    few, little = run(crowd(tmp_path / "few.pcap", 20_000, many_sources=False))
    many, memory = run(crowd(tmp_path / "many.pcap", 200_000, many_sources=False))
    assert few == {"evicted": 20_000 - 16, "finish": 16}
    assert many == {"evicted": 200_000 - 16, "finish": 16}
    assert memory < little + (16 << 20)


@pytest.mark.slow
def test_a_run_follows_as_many_streams_as_are_allowed_and_tells_of_the_others(tmp_path: Path) -> None:
    few, little = run(crowd(tmp_path / "few.pcap", 1000, many_sources=True))
    many, memory = run(crowd(tmp_path / "many.pcap", 100_000, many_sources=True))
    assert few == {"finish": 1000}
    assert many == {"evicted": 100_000 - 65_536, "finish": 65_536}
    assert memory < little + 65_536 * STREAM_BYTES
