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
from tests.patience import PATIENCE_S, keeps, wait

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


def task_file(folder: Path, parsers: list[Any], reporter: Any, workers: int = 1) -> str:
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


FILLER = """
import otus_core

@otus_core.hookimpl
def otus_components():
    for name in ("filler", "hearer"):
        yield otus_core.Parser(name=name, factory="filler_parts:Filler", payload_types=("told",), wants_flows=True,
                               summary="Tells of many flows")
"""
FILLER_PARTS = """
import os
import otus_core

FOLDER = os.environ["FILLER"]

class Filler(otus_core.BaseParser):
    def __init__(self, config):
        self._told = 0

    def wire(self, context):
        self._flows, self._worker = context.flows, context.pipeline_id
        if self._worker == 1 and not (os.path.exists(FOLDER + "/0") and os.path.exists(FOLDER + "/tried")):
            open(FOLDER + "/tried", "w").close()
            raise RuntimeError("not yet: the sibling is to tell while this one is still being made")

    def can_handle(self, packet):
        return True

    def handle(self, packet):
        early = otus_core.FlowKey("192.0.2.1", 1, "192.0.2.9", 1, 17)
        for _ in range(50 if os.path.exists(FOLDER + "/much") else 1):
            self._told += 1
            key = otus_core.FlowKey("192.0.2.1", self._told % 60000, "192.0.2.9", self._told // 60000 + 1, 17)
            if self._worker == 0:
                self._flows.register(key, {"much": os.urandom(4000)})
        with open(f"{FOLDER}/new-{self._worker}", "w") as file:
            file.write(str(self._told))
        os.replace(f"{FOLDER}/new-{self._worker}", f"{FOLDER}/{self._worker}")
        return otus_core.Parsed({}, {"told.early": str(early in self._flows)})
"""


def test_what_a_parent_that_does_not_read_keeps_from_the_others_is_counted(
    environment: dict[str, str], tmp_path: Path
) -> None:
    Site(folder=tmp_path).install("otus-plugin-filler", FILLER, modules={"filler_parts": FILLER_PARTS})
    output = tmp_path / "summary.json"
    task = task_file(
        tmp_path,
        [{"type": "filler", "on_failure": "retry"}, "hearer"],
        {"type": "console", "config": {"format": "json"}},
        workers=2,
    )
    command = [OTUS, "run", "-q", "--task", task, "--summary-json", str(output)]
    (folder := tmp_path / "told").mkdir()
    printed = tmp_path / "printed"

    def told(worker: int) -> int:
        path = folder / str(worker)
        return int(path.read_text()) if path.exists() else 0

    with (
        printed.open("wb") as out,
        subprocess.Popen(command, stdout=out, env={**environment, "FILLER": str(folder)}) as running,
    ):
        try:
            wait(lambda: told(1) > 0, what="both workers run")
            running.send_signal(signal.SIGSTOP)
            (folder / "much").touch()
            before = told(0)
            wait(lambda: told(0) > before + 6000, what="more has been told than waits for a parent: 8 MiB")
        finally:
            running.send_signal(signal.SIGCONT)
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE_S) == 0
    summary = json.loads(output.read_text())
    assert summary["published_lost"] > 0 and summary["unaccounted"] == 0
    lines = [json.loads(line) for line in printed.read_text().splitlines()]
    heard = [line["labels"]["told.early"] for line in lines if line["pipeline_id"] == 1]
    assert "True" in heard[:50], "what was told while the second worker was being made waits for it"


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
