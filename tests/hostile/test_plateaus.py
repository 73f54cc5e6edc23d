"""Memory grows to a level and stays there, however many calls, fragments and flows come: ``plateaus`` in short."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.hostile.plateaus import ENDPOINTS
from tests.needs import ROOT

COUNTS = {"calls": 150_000, "fragments": 150_000, "flows": 300_000, "endpoints": 60_000}
ROOM = 4 << 20


@pytest.mark.slow
@pytest.mark.parametrize("row", COUNTS)
def test_memory_stays_level(row: str) -> None:
    command = [sys.executable, "-m", "tests.hostile.plateaus", row, str(COUNTS[row])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    levels = [int(level) for level in done.stdout.split()]
    assert len(levels) == 20
    assert levels[-1] < levels[len(levels) // 2] + ROOM, done.stderr
    if row == "endpoints":
        assert levels[-1] < 1.5 * 1024 * ENDPOINTS, done.stderr
