"""What every benchmark measures with: CPU time and peak memory of whole processes, and ratios with their spread."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

FOLDER = Path(".cache") / "bench"
OTUS = str(Path(sys.executable).with_name("otus"))

# A process starts with the peak memory of the one that spawned it (getrusage(2)), so a small one stands between.
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, done.returncode)
"""


def process(*command: str) -> tuple[float, int]:
    """Give CPU seconds and peak memory (KiB) of a whole process, which must succeed."""
    # As where Otus is installed: compiled once, not at every start.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    measure = [sys.executable, "-SE", "-c", MEASURE, *command]
    done = subprocess.run(measure, capture_output=True, check=True, text=True, env=environment)
    cpu, memory, status = done.stdout.split()
    if int(status):
        raise SystemExit(f"{' '.join(command)}: exit status {status}")
    return float(cpu), int(memory)


@attrs.frozen
class Ratio:
    """How many times faster than its peer a row is: the median of several runs, and their extremes."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio:
        """Give the ratio of some runs' ratios."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:6.3g} x  ({self.least:.3g} to {self.most:.3g})"
