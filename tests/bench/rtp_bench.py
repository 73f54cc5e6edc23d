"""Measures how many RTP packets a whole process follows in a CPU second, beside tshark and sngrep where they are there:
``nox -s bench -- rtp``.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from pathlib import Path

from tests.bench.generate import capture
from tests.bench.measure import FOLDER, OTUS, process

PACKETS = 1_000_000
RUNS = 5
TARGET = 1.5
"""Million packets a CPU second."""
SLOWER_MAX = 1.15
"""How much longer 20,000 streams may take than 40."""


def main() -> None:
    """Measure, in turn: a machine's speed drifts."""
    names = ("rtp", "rtp20000", "rtpcalls", "rtp20000calls")
    few, *_ = captures = [capture(FOLDER, name) for name in names]
    times = [[_otus(path) for path in captures] for _ in range(RUNS)]
    ours, crowded, calls, many_calls = ([one[at] for one in times] for at in range(len(names)))
    speed = PACKETS / statistics.median(ours) / 1e6
    _say("otus run, 40 streams", speed, f"target {TARGET}  {'PASS' if speed >= TARGET else 'MISS'}")
    ratio = statistics.median(second / first for first, second in zip(ours, crowded, strict=True))
    crowd = PACKETS / statistics.median(crowded) / 1e6
    verdict = "PASS" if ratio <= SLOWER_MAX else "MISS"
    _say("otus run, 20,000 streams", crowd, f"{ratio:.2f} x the time, target {SLOWER_MAX}  {verdict}")
    alone = [statistics.median(a) - statistics.median(b) for a, b in ((ours, calls), (crowded, many_calls))]
    note = f"{alone[1] / alone[0]:.2f} x the time, with the begin and end of each stream"
    _say("  without start and calls, 40", PACKETS / alone[0] / 1e6)
    _say("  likewise, 20,000", PACKETS / alone[1] / 1e6, note)
    if shutil.which("tshark"):
        _say("tshark -z rtp,streams", PACKETS / process("tshark", "-q", "-z", "rtp,streams", "-r", str(few))[0] / 1e6)
    if shutil.which("sngrep"):
        _say("sngrep -N", PACKETS / process("sngrep", "-N", "-q", "-I", str(few))[0] / 1e6)


def _otus(path: Path) -> float:
    return process(OTUS, "run", str(path), "--parser", "sip", "--parser", "rtp", "--format", "none", "-q")[0]


def _say(what: str, speed: float, note: str = "") -> None:
    sys.stdout.write(f"{what:<28} {speed:>8.3f} M packets/CPU s  {note}\n")
    sys.stdout.flush()
