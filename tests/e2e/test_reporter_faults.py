"""Reporters that cannot start, never stop, or block, in a real daemon on a live source."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from otus_core.supervise.supervisor import HUNG_AFTER_S
from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.e2e.test_plugin_faults import PARTS, TICKER
from tests.live.net import OTUS
from tests.patience import PATIENCE_S, wait

pytestmark = pytest.mark.slow

DIFFICULT = """
import otus_core

@otus_core.configuration
class Difficult:
    needs: str = otus_core.option(default="", help="A file that must be there at the start.")
    stop_s: float = otus_core.option(default=0.0, ge=0, help="How long stopping takes.")
    block_s: float = otus_core.option(default=0.0, ge=0, help="How long a report blocks.")
    pipe_breaks: int = otus_core.option(default=0, ge=0, help="So many reports find a broken pipe of their own.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Reporter(name="difficult", factory="difficult_parts:Difficult", config=Difficult,
                             summary="Is difficult")
"""
DIFFICULT_PARTS = """
import asyncio, os, time
import otus_core

class Difficult(otus_core.BaseReporter):
    def __init__(self, config):
        self._config = config
        self._breaks = config.pipe_breaks

    async def start(self):
        if self._config.needs and not os.path.exists(self._config.needs):
            raise RuntimeError("the destination is not there")

    async def report(self, batch):
        if self._config.block_s:
            time.sleep(self._config.block_s)
        if self._breaks:
            self._breaks -= 1
            raise BrokenPipeError("the pipe to its own helper is gone")
        return otus_core.ReportResult(reported=len(batch))

    async def stop(self):
        await asyncio.sleep(self._config.stop_s)
"""
BUSY = """
import otus_core

@otus_core.hookimpl
def otus_components():
    yield otus_core.Reporter(name="busy", factory="busy_parts:Busy", summary="Has no time", failure_reasons=("busy",))
"""
BUSY_PARTS = """
import os
import otus_core

class Busy(otus_core.BaseReporter):
    def __init__(self, config):
        pass

    async def report(self, batch):
        with open(os.environ["OTUS_TEST_ASKED"], "a") as asked:
            asked.write(".")
        return otus_core.ReportResult(retry={"busy": len(batch)})
"""
STOP_MAX_S = 45.0
"""The worker's 15 s and what a busy machine adds."""


@pytest.fixture
def started(node: Node, tmp_path: Path) -> Node:
    site = Site(folder=tmp_path)
    site.install("otus-plugin-ticker", TICKER, modules={"ticker_parts": PARTS})
    site.install("otus-plugin-difficult", DIFFICULT, modules={"difficult_parts": DIFFICULT_PARTS})
    node.start(PYTHONPATH=str(tmp_path))
    return node


def create(node: Node, config: dict[str, Any], **entry: Any) -> dict[str, Any]:
    difficult = {"type": "difficult", "config": config, **entry}
    task = {"id": "t", "capture": {"type": "ticker"}, "parsers": ["fine"], "reporters": [difficult, "discard"]}
    return node.rpc("task_create", config=task)


def reported(node: Node, reporter: str) -> int:
    return int(node.state("t")["counters"]["reporters"].get(reporter, {}).get("reported", 0))


def test_a_reporter_that_cannot_start_fails_its_task_with_the_reason(started: Node) -> None:
    refused = create(started, {"needs": "/nowhere/to/be/found"})["error"]["message"]
    assert "difficult" in refused and "the destination is not there" in refused
    (ended,) = started.rpc("task_status")["result"]["ended"]
    assert ended["state"] == "failed" and "the destination is not there" in ended["reason"]


def test_or_is_skipped(started: Node) -> None:
    assert "result" in create(started, {"needs": "/nowhere/to/be/found"}, on_failure="skip")
    wait(lambda: reported(started, "discard") > 20)
    assert reported(started, "difficult") == 0
    wait(lambda: started.state("t")["counters"]["unaccounted"] == 0)


def test_or_is_tried_again_before_anything_is_captured(started: Node, tmp_path: Path) -> None:
    needed = tmp_path / "destination"
    answers: list[dict[str, Any]] = []
    asking = threading.Thread(
        target=lambda: answers.append(create(started, {"needs": str(needed)}, on_failure="retry"))
    )
    asking.start()
    wait(lambda: "component_start_failed" in [entry["event"] for entry in started.log()], what="it has failed once")
    wait(lambda: started.state("t")["degraded"], what="the task says what it waits for")
    state = started.state("t")
    assert "the destination is not there" in state["waiting_for"]
    assert state["counters"]["frames_read"] == 0
    needed.write_text("here")
    asking.join(PATIENCE_S)
    assert "result" in answers[0]
    wait(lambda: reported(started, "difficult") > 0)


def test_a_reporter_that_does_not_stop_is_waited_for_so_long_and_no_longer(started: Node) -> None:
    create(started, {"stop_s": 3600.0})
    wait(lambda: reported(started, "difficult") > 20)
    begun = time.monotonic()
    assert started.call("stop")[0] == 0
    assert started.process is not None
    assert started.process.wait(STOP_MAX_S) == 0
    assert time.monotonic() - begun < STOP_MAX_S


def test_a_reporter_that_takes_its_time_to_stop_gets_it(started: Node) -> None:
    create(started, {"stop_s": HUNG_AFTER_S + 2.0})
    wait(lambda: reported(started, "difficult") > 20)
    assert started.rpc("task_delete", task_id="t")["result"]["status"] == "deleted"
    assert "worker_died" not in [entry["event"] for entry in started.log()]


def test_a_reporter_that_blocks_is_measured_and_named(started: Node) -> None:
    create(started, {"block_s": 0.05})
    wait(lambda: reported(started, "difficult") > 20)

    def blocked(reporter: str) -> float:
        labels = (("reporter", reporter), ("task", "t"))
        return started.metrics()["otus_reporter_blocked_seconds_total", labels]

    wait(lambda: blocked("difficult") > 0.2, what="it is named")
    wait(lambda: blocked("discard") < blocked("difficult") / 4, what="the other one is not")


def test_a_reporter_that_holds_the_thread_is_blamed_for_the_end_of_its_worker(started: Node) -> None:
    create(started, {"block_s": HUNG_AFTER_S * 100})

    def deaths() -> list[dict[str, Any]]:
        return [entry for entry in started.log() if entry["event"] == "worker_died"]

    wait(deaths, what="the worker is ended")
    assert deaths()[0]["blamed"] == "reporter:difficult"


def test_a_broken_pipe_of_its_own_is_an_error_of_that_reporter_and_ends_nothing(started: Node) -> None:
    assert "result" in create(started, {"pipe_breaks": 3}, batch_size=5, batch_timeout="10ms", max_retries=0)
    wait(lambda: reported(started, "difficult") > 50 and reported(started, "discard") > 50, what="both go on")
    assert started.state("t")["state"] == "running"
    errors = ("otus_component_errors_total", (("component", "reporter:difficult"), ("task", "t")))
    wait(lambda: started.metrics().get(errors) == 3, what="its errors are counted")
    wait(lambda: started.state("t")["counters"]["unaccounted"] == 0)


def test_a_stop_is_heeded_while_the_last_messages_of_a_file_are_being_sent(tmp_path: Path, examples: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    Site(folder=site).install("otus-plugin-busy", BUSY, modules={"busy_parts": BUSY_PARTS})
    busy = {"type": "busy", "send_timeout": "10m"}  # it would be waited for for twice as long
    (tmp_path / "task.json").write_text(
        json.dumps(
            {"id": "t", "capture": {"type": "pcap", "files": [str(examples / "call.pcap")]}, "reporters": [busy]}
        )
    )
    asked = tmp_path / "asked"
    with subprocess.Popen(
        [OTUS, "run", "--task", str(tmp_path / "task.json"), "--summary-json", str(tmp_path / "summary.json")],
        env={**os.environ, "PYTHONPATH": str(site), "OTUS_TEST_ASKED": str(asked)},
        stderr=subprocess.DEVNULL,
    ) as running:
        try:
            wait(lambda: asked.exists() and asked.stat().st_size > 3, what="the file is read and its messages refused")
            running.send_signal(signal.SIGINT)
            assert running.wait(PATIENCE_S) == 130
        finally:
            running.kill()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["unaccounted"] == 0
    assert summary["reporters"]["busy"]["dropped"] == {"shutdown": 7}
