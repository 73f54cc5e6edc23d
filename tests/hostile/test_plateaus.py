"""Memory grows to a level and stays there, however many calls, fragments and flows come: ``plateaus`` in short."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.hostile.plateaus import ENDPOINTS
from tests.needs import ROOT

COUNTS = {"calls": 150_000, "fragments": 150_000, "flows": 300_000, "endpoints": 60_000, "reported": 150_000}
ROOM = 4 << 20
UP = 65_536
UP_MOST = 256 << 20
"""Bytes that as many calls under way may take."""


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


@pytest.mark.slow
def test_as_many_calls_as_are_followed_at_a_time_take_a_quarter_of_a_gigabyte_at_most() -> None:
    command = [sys.executable, "-m", "tests.hostile.plateaus", "up", str(UP)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < UP_MOST, done.stderr
