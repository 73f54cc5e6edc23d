"""Measures how many RTP packets a whole process follows in a CPU second, beside tshark and sngrep where they are there:
``nox -s bench -- rtp``.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from pathlib import Path

from tests.bench.__main__ import FOLDER, OTUS, process
from tests.bench.generate import capture

PACKETS = 1_000_000
RUNS = 5
TARGET = 1.5
"""Million packets a CPU second."""
SLOWER_MAX = 1.15
"""How much longer 20,000 streams may take than 40."""


def main() -> None:
    """Measure, in turn: a machine's speed drifts."""
    few, many = capture(FOLDER, "rtp"), capture(FOLDER, "rtp20000")
    ours: list[float] = []
    crowded: list[float] = []
    for _ in range(RUNS):
        ours.append(_otus(few))
        crowded.append(_otus(many))
    speed = PACKETS / statistics.median(ours) / 1e6
    _say("otus run, 40 streams", speed, f"target {TARGET}  {'PASS' if speed >= TARGET else 'MISS'}")
    ratio = statistics.median(second / first for first, second in zip(ours, crowded, strict=True))
    crowd = PACKETS / statistics.median(crowded) / 1e6
    verdict = "PASS" if ratio <= SLOWER_MAX else "MISS"
    _say("otus run, 20,000 streams", crowd, f"{ratio:.2f} x the time, target {SLOWER_MAX}  {verdict}")
    if shutil.which("tshark"):
        _say("tshark -z rtp,streams", PACKETS / process("tshark", "-q", "-z", "rtp,streams", "-r", str(few))[0] / 1e6)
    if shutil.which("sngrep"):
        _say("sngrep -N", PACKETS / process("sngrep", "-N", "-q", "-I", str(few))[0] / 1e6)


def _otus(path: Path) -> float:
    return process(OTUS, "run", str(path), "--parser", "sip", "--parser", "rtp", "--format", "none", "-q")[0]


def _say(what: str, speed: float, note: str = "") -> None:
    sys.stdout.write(f"{what:<28} {speed:>8.3f} M packets/CPU s  {note}\n")
    sys.stdout.flush()
