"""What one worker registers, its siblings see, soon; and a live run on a terminal tells how it goes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.core.plugins.distributions import Site
from tests.e2e.test_plugin_faults import PARTS, TICKER
from tests.live.net import OTUS
from tests.patience import PATIENCE_S, keeps

WITHIN_MS = 50
TELLER = """
import otus_core

@otus_core.hookimpl
def otus_components():
    for name in ("teller", "listener"):  # flows are shared where somebody else could look them up
        yield otus_core.Parser(name=name, factory="teller_parts:Teller", payload_types=("age",), wants_flows=True,
                               summary="Tells of flows")
"""
TELLER_PARTS = """
import time
import otus_core

def key(worker, number):
    return otus_core.FlowKey("192.0.2.%d" % (worker + 1), number % 60000 + 1, "192.0.2.9", 5060, 17)

class Teller(otus_core.BaseParser):
    def __init__(self, config):
        self._registered = self._seen = 0

    def wire(self, context):
        self._flows, self._worker = context.flows, context.pipeline_id

    def can_handle(self, packet):
        return True

    def handle(self, packet):
        self._flows.register(key(self._worker, self._registered), {"at": time.monotonic_ns()})
        self._registered += 1
        ages = []
        while (told := self._flows.get(key(1 - self._worker, self._seen))) is not None:
            ages.append((time.monotonic_ns() - told["at"]) / 1e6)
            self._seen += 1
        return [otus_core.Parsed({}, {"age.ms": str(age)}) for age in ages]
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Where the throw-away plugins are found."""
    site = Site(folder=tmp_path)
    site.install("otus-plugin-ticker", TICKER, modules={"ticker_parts": PARTS})
    site.install("otus-plugin-teller", TELLER, modules={"teller_parts": TELLER_PARTS})
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def task_file(folder: Path, parsers: list[str], reporter: Any, workers: int = 1) -> str:
    path = folder / "task.json"
    capture = {"type": "ticker", "every_s": 0.002}
    path.write_text(
        json.dumps({"id": "t", "workers": workers, "capture": capture, "parsers": parsers, "reporters": [reporter]})
    )
    return str(path)


def test_a_flow_registered_in_one_worker_reaches_the_other(environment: dict[str, str], tmp_path: Path) -> None:
    console = {"type": "console", "config": {"format": "json"}, "batch_timeout": 0.01}
    command = [OTUS, "run", "-q", "--task", task_file(tmp_path, ["teller", "listener"], console, workers=2)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as running:
        assert running.stdout is not None

        def ages(count: int) -> list[float]:
            return [float(json.loads(running.stdout.readline())["labels"]["age.ms"]) for _ in range(count)]

        def lateness() -> float:
            """Give what half of them keep, or half of what 95 of 100 do: others use this machine too."""
            settled = ages(1000)
            return max(statistics.median(settled), statistics.quantiles(settled, n=20)[-1] / 2)

        try:
            ages(500)  # the second worker began later than the first
            keeps(WITHIN_MS, lateness, tries=10)
        except BaseException:
            running.kill()
            raise
        running.send_signal(signal.SIGINT)
        running.stdout.read()
        assert running.wait(PATIENCE_S) == 0


@contextlib.contextmanager
def on_a_terminal(command: list[str], environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a program whose standard error is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_live_run_on_a_terminal_tells_rate_messages_and_drops(environment: dict[str, str], tmp_path: Path) -> None:
    command = [OTUS, "run", "--task", task_file(tmp_path, ["fine"], "discard")]
    with on_a_terminal(command, environment) as (process, terminal):
        said, until = b"", time.monotonic() + PATIENCE_S
        while b"dropped" not in said and time.monotonic() < until:  # the line's last word
            said += os.read(terminal, 4096)
        line = next(line for line in said.decode().split("\r\x1b[K") if "dropped" in line)
        assert "frames/s" in line and "messages" in line, said
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while piece := os.read(terminal, 4096):
                said += piece
        assert process.wait(PATIENCE_S) == 0
    assert b"frames read" in said
