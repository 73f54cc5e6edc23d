"""Measures live capture: ``nox -s bench -- live``, or ``python -m tests.bench live``, as root.

tcpreplay sends a capture through a veth pair as fast as it can while ``otus run`` captures at the other end; the pair's
two ends lie in namespaces of their own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.generate import capture
from tests.live.net import OTUS, Pair, Run, accounted, own_memory

SECONDS = 30
ROUNDS_A_CAPTURE = 1000
SHARING_RUNS = 3
COPIES = 10
"""How often the capture of 200,000 packets is read for the scaling of workers: 2,000,000 packets."""
RSS_MAX_MIB = 96


LINES_AT = {"text": 500_000, "json": 150_000}
"""Packets a second that are to be written to a file without a loss, where sender and worker have a core each."""
LINES_SECONDS = 8
"""JSON makes half a gigabyte a second."""


def task(folder: Path, lines: str, **capture_options: object) -> Path:
    """Write the task that is measured: the whole SIP chain, and a reporter that discards, or writes ``lines``."""
    path = folder / "task.json"
    data = {
        "id": "bench",
        "capture": {"type": "afpacket", "interface": "eth0", **capture_options},
        "parsers": ["sip"],
        "reporters": [{"type": "console", "config": {"format": lines}}] if lines else ["discard"],
        "cpu_affinity": [max(os.sched_getaffinity(0))],
    }
    path.write_text(json.dumps(data))
    return path


def replay(pair: Pair, path: Path, seconds: int, pps: int) -> subprocess.CompletedProcess[bytes]:
    """Send the capture over and over, with so many packets a second, or at top speed (0), from the lowest CPU."""
    speed = ("--pps", pps) if pps else ("--topspeed",)
    cpu = min(os.sched_getaffinity(0))
    return pair.run(
        pair.far,
        *("taskset", "-c", cpu, "tcpreplay", "-q", "-K", *speed, "-i", "eth0"),
        *("--loop", ROUNDS_A_CAPTURE, "--duration", seconds, path),
        timeout=seconds + 60,
    )


def under_load(pair: Pair, folder: Path, path: Path, name: str, lines: str = "", **options: object) -> dict[str, Any]:
    """Capture while tcpreplay sends; prints what came of it and gives the summary."""
    run = Run(pair, folder, "--task", task(folder, lines, **options)).started()
    (worker,) = run.children()
    begun = time.monotonic()
    replay(pair, path, LINES_SECONDS if lines else SECONDS, LINES_AT.get(lines, 0))
    took = time.monotonic() - begun
    memory = own_memory(worker) / (1 << 20)
    summary = run.stop(status=None)  # 1 where something was lost, which is told below
    accounted(summary)
    rate = summary["kernel_rx"] / took
    sys.stdout.write(
        f"{name:<28} {rate:>9,.0f} pps  for {took:.0f} s: received {summary['kernel_rx']:,}, read "
        f"{summary['frames_read']:,}, "
        f"lost {summary['kernel_drop']:,}; worker {memory:.1f} MiB beside the ring (target {RSS_MAX_MIB}), CPU "
        f"{summary['cpu_s']:.1f} s\n"
    )
    return summary


def _unwritten(summary: dict[str, Any]) -> int:
    """Give how many packets or lines were lost."""
    console = summary["reporters"]["console"]
    lost: int = summary["kernel_drop"] + console["offered"] - console["reported"]
    return lost


def verdict(name: str, good: bool, note: str) -> None:
    """Print whether a target was reached."""
    sys.stdout.write(f"{name:<28} {'PASS' if good else 'MISS'}  {note}\n")
    sys.stdout.flush()


def reading(path: Path, workers: int, summary: Path) -> list[str]:
    """Give the command that reads the capture ``COPIES`` times."""
    files = [str(path)] * COPIES
    return [OTUS, "run", *files, "--workers", str(workers), "--format", "none", "-q", "--summary-json", str(summary)]


def wall(*commands: list[str]) -> float:
    """Give the wall time of commands that run side by side."""
    begun = time.monotonic()
    started = [subprocess.Popen(command) for command in commands]
    if any(process.wait() for process in started):
        raise SystemExit(f"failed: {commands}")
    return time.monotonic() - begun


def start_up(empty: Path, workers: int) -> float:
    """Give the time of a run that has nothing to read."""
    return wall([OTUS, "run", str(empty), "--workers", str(workers), "--format", "none", "-q"])


def sharing(folder: Path, path: Path) -> None:
    """Compare two workers with one, and with two runs that have nothing in common."""
    empty = folder / "empty.pcap"
    empty.write_bytes(path.read_bytes()[:24])
    ratios, ceilings = [], []
    for n in range(SHARING_RUNS):
        one = wall(reading(path, 1, folder / "1.json")) - start_up(empty, 1)
        two = wall(reading(path, 2, folder / "2.json")) - start_up(empty, 2)
        both = wall(reading(path, 1, folder / "a.json"), reading(path, 1, folder / "b.json"))
        both -= start_up(empty, 1)
        ratios.append(one / two)
        ceilings.append(2 * one / both)
        sys.stdout.write(f"  run {n + 1}: one worker {one:.2f} s, two {two:.2f} s, two independent runs {both:.2f} s\n")
    frames = json.loads((folder / "2.json").read_text())["frames_read"]
    ratio, ceiling = statistics.median(ratios), statistics.median(ceilings)
    verdict(
        "two workers / one",
        ratio >= 1.7,
        f"{ratio:.2f} (target 1.70; ceiling of this machine {ceiling:.2f}), {frames:,} packets",
    )


def main() -> None:
    """Measure all, print one line each."""
    path = capture(Path(".cache") / "bench", "sip")
    pair = Pair(f"otusb{os.getpid() % 100_000}")
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            summary = under_load(pair, folder, path, "tcpreplay at top speed")
            verdict("no frame lost", summary["kernel_drop"] == 0, f"{summary['kernel_drop']:,} lost")
            for lines in LINES_AT:
                summary = under_load(pair, folder, path, f"{lines} lines to a file", lines)
                lost = _unwritten(summary)
                verdict("nothing lost", lost == 0, f"{lost:,} lost")
            summary = under_load(pair, folder, path, "a ring too small", block_size=131072, block_count=4)
            verdict("every loss counted", summary["in_ring"] == 0, f"{summary['kernel_drop']:,} lost and counted")
            sharing(folder, path)
    finally:
        pair.remove()


if __name__ == "__main__":
    main()
