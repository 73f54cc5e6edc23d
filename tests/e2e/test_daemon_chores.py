"""What a daemon does by itself from time to time: it prunes the history, watches the fill levels of its tasks, and
feeds systemd's watchdog.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import dpkt
import pytest

from otus_core.testing import packets
from tests.core.plugins.distributions import Site
from tests.e2e.node import Node, task
from tests.e2e.test_plugin_faults import PARTS, TICKER
from tests.live.test_live import message
from tests.patience import PATIENCE_S, wait

HELD = """
import otus_core

@otus_core.configuration
class Held:
    while_there: str = otus_core.option(default="",
                                        help="A file that holds reports up, beyond as many messages as it says.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Reporter(name="held", factory="held_parts:Held", config=Held, summary="Waits until a file is gone")
"""
HELD_PARTS = """
import asyncio, os
import otus_core

class Held(otus_core.BaseReporter):
    def __init__(self, config):
        self._path, self._done = config.while_there, 0

    async def report(self, batch):
        while os.path.exists(self._path) and self._done + len(batch) > int(open(self._path).read() or 0):
            await asyncio.sleep(0.01)
        self._done += len(batch)
        return otus_core.ReportResult(reported=len(batch))
"""
STUCK_S = 2.0
"""A worker that has been silent for so long is known to be stuck, and is not replaced yet."""
TRIES = 4


def keep(node: Node, most: int) -> None:
    node.write("info", f"  task_persistence: {{gc_interval: 500ms, max_task_history: {most}}}\n")


def finished(node: Node) -> list[str]:
    """The ids of ended tasks on disk, in the order of their ends."""
    files = (node.folder / "data" / "tasks" / "finished").glob("*.json")
    return [path.name.split(".")[0] for path in sorted(files, key=lambda path: int(path.name.split(".")[1]))]


def shown(node: Node) -> list[str]:
    """The ids of ended tasks that the daemon tells, in the order of their ends."""
    return [ended["task_id"] for ended in reversed(node.rpc("task_status")["result"]["ended"])]


def test_the_history_is_pruned_from_time_to_time(node: Node, examples: Path) -> None:
    keep(node, 5)
    node.start()
    node.rpc("task_create", config=json.loads(task(examples / "call.pcap", "alive")))
    for n in range(7):
        node.rpc("task_create", config=json.loads(task(examples / "call.pcap", f"h{n}", speed=0.0)))
        wait(lambda n=n: f"h{n}" in finished(node), what="the task has ended")
    wait(lambda: finished(node) == shown(node) == ["h2", "h3", "h4", "h5", "h6"])
    keep(node, 2)
    assert node.rpc("config_reload")["result"]["changed"] == ["task_persistence.max_task_history"]
    wait(lambda: finished(node) == shown(node) == ["h5", "h6"], what="no task ended since")
    assert node.state("alive")["state"] == "running"
    node.end()
    keep(node, 1)
    node.start()
    wait(lambda: finished(node) == shown(node) == ["h6"], what="a new daemon keeps to it too")
    wait(lambda: node.rpc("task_list")["result"]["tasks"] == ["alive"])


@pytest.fixture
def ticking(node: Node, tmp_path: Path) -> Node:
    """A node, not started yet, with a live source and a reporter that can be held up."""
    site = Site(folder=tmp_path)
    site.install("otus-plugin-ticker", TICKER, modules={"ticker_parts": PARTS})
    site.install("otus-plugin-held", HELD, modules={"held_parts": HELD_PARTS})
    return node


def create(node: Node, *reporters: Any) -> None:
    config = {"id": "t", "capture": {"type": "ticker"}, "parsers": ["fine"], "reporters": [*reporters]}
    assert "result" in node.rpc("task_create", config=config)
    wait(lambda: node.state("t")["counters"]["kept"] > 20, what="packets come")


def test_a_task_whose_buffer_fills_is_degraded_until_it_is_empty_again(ticking: Node, tmp_path: Path) -> None:
    node, hold = ticking, tmp_path / "hold"
    hold.touch()
    node.write("info", "  backpressure: {send_buffer: {high_watermark: 0.7, low_watermark: 0.5}}\n")
    node.start(PYTHONPATH=str(tmp_path))
    held = {"type": "held", "capacity": 200, "batch_size": 10, "batch_timeout": "50ms", "send_timeout": "10m"}
    create(node, {**held, "config": {"while_there": str(hold)}}, "discard")

    def events() -> list[str]:
        return [entry["event"] for entry in node.log() if entry["event"] in ("task_degraded", "task_recovered")]

    def degraded() -> set[Any]:
        everywhere = node.metrics()["otus_task_degraded", (("task", "t"),)]
        return {node.state("t")["degraded"], node.rpc("daemon_stats")["result"]["tasks"]["t"]["degraded"], everywhere}

    wait(lambda: degraded() == {True}, what="the buffer is too full")
    assert node.state("t")["state"] == "running"
    (entry,) = [entry for entry in node.log() if entry["event"] == "task_degraded"]
    assert (entry["task"], 0.7 <= entry["filled"] <= 1) == ("t", True)
    hold.unlink()
    wait(lambda: degraded() == {False}, what="it has been emptied")
    assert events()[:2] == ["task_degraded", "task_recovered"]
    counters = node.state("t")["counters"]
    assert counters["reporters"]["discard"]["dropped"] == {}


def held_call(folder: Path, task_id: str, messages: int) -> dict[str, Any]:
    """A task whose reporter takes as many messages as the file ``let`` says, ten at a time.

    Its source gives all at once, and does not end.
    """
    capture = folder / f"{task_id}.pcap"
    with capture.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n in range(messages):
            writer.writepkt(packets.udp(message(n)), ts=1)
        writer.writepkt(packets.udp(message(messages)), ts=3600)
    held = {"type": "held", "capacity": 200, "batch_size": 10, "batch_timeout": "50ms", "send_timeout": "10m"}
    reporter = {**held, "config": {"while_there": str(folder / "let")}}
    return json.loads(task(capture, task_id, speed=1.0)) | {"reporters": [reporter]}


def test_a_task_is_degraded_from_the_high_watermark_until_its_buffer_is_below_the_low_one(
    ticking: Node, tmp_path: Path
) -> None:
    """Of 160 messages ten are under way and 150 of 200 places are taken; between the watermarks a task
    stays as it was.
    """
    node, let = ticking, tmp_path / "let"
    let.write_text("0")
    marks = "{high_watermark: 0.7, low_watermark: 0.5}"
    node.write("info", f"  backpressure: {{send_buffer: {marks}}}\n")
    node.config.write_text(node.config.read_text().replace("metrics: {", "metrics: {interval: 100ms, "))
    node.start(PYTHONPATH=str(tmp_path))
    for task_id, messages in (("half", 120), ("t", 160)):
        assert "result" in node.rpc("task_create", config=held_call(tmp_path, task_id, messages))

    def queued(task_id: str, count: int) -> bool:
        return bool(node.state(task_id)["counters"]["reporters"]["held"]["queued"] == count)

    wait(lambda: queued("half", 110), what="110 of 200 places are taken")
    wait(lambda: queued("t", 150) and node.state("t")["degraded"], what="150 of 200 places are taken")
    let.write_text("40")
    wait(lambda: queued("t", 110), what="the level is between the watermarks")
    # Some samples: a daemon that judges by the high watermark alone says now that the task has recovered
    time.sleep(0.5)
    assert node.state("t")["degraded"]
    let.write_text("60")
    wait(lambda: queued("t", 90) and not node.state("t")["degraded"], what="the level is below the low watermark")
    let.unlink()
    filled = {(entry["task"], entry["event"]): entry["filled"] for entry in node.log() if "filled" in entry}
    assert set(filled) == {("t", "task_degraded"), ("t", "task_recovered")}
    assert filled["t", "task_degraded"] >= 0.7
    assert filled["t", "task_recovered"] < 0.5


def test_the_watchdog_goes_hungry_while_a_worker_hangs(ticking: Node, tmp_path: Path, examples: Path) -> None:
    """Also when only one of two tasks has such a worker."""
    node, address = ticking, str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)

        def drain() -> bool:
            systemd.setblocking(False)
            try:
                while systemd.recv(4096):
                    pass
            except BlockingIOError:
                return True

        def fed() -> float:
            systemd.settimeout(PATIENCE_S)
            while systemd.recv(4096) != b"WATCHDOG=1":
                pass
            return time.time()

        node.start(PYTHONPATH=str(tmp_path), NOTIFY_SOCKET=address, WATCHDOG_USEC="30000000")
        create(node, "discard")
        node.rpc("task_create", config=json.loads(task(examples / "call.pcap", "healthy")))
        wait(lambda: node.runs("healthy"))
        drain()
        fed()

        def deaths() -> list[dict[str, Any]]:
            return [entry for entry in node.log() if entry["event"] == "worker_died"]

        def running(restarts: int) -> bool:
            state = node.state("t")
            return state["worker_restarts"] == restarts and state["workers"][0]["state"] == "running"

        def starved(attempt: int) -> bool:
            """Stop the worker, and say whether nothing was fed until it was replaced."""
            os.kill(node.state("t")["workers"][0]["pid"], signal.SIGSTOP)
            time.sleep(STUCK_S)
            drain()
            fed_at = fed()
            known = deaths()
            wait(lambda: drain() and running(attempt), what="it is replaced")
            assert deaths()[-1]["reason"] == "hung"
            return len(known) == attempt and fed_at >= datetime.fromisoformat(known[-1]["timestamp"]).timestamp()

        # a daemon that stood still itself forgives its worker the time, and feeds
        assert any(starved(attempt) for attempt in range(1, TRIES + 1))
        drain()
        fed()


def test_a_worker_that_dies_again_and_again_is_started_again_ever_later(ticking: Node, tmp_path: Path) -> None:
    """At once, then half a second, one second and two seconds after its death: a worker that cannot run
    costs little.
    """
    node = ticking
    node.start(PYTHONPATH=str(tmp_path))
    create(node, "discard")
    for pause in (0.0, 0.5, 1.0, 2.0):
        pid = node.state("t")["workers"][0]["pid"]
        begun = time.monotonic()
        os.kill(pid, signal.SIGKILL)

        def is_back(pid: int = pid) -> bool:
            (worker,) = node.state("t")["workers"]
            return bool(worker["state"] == "running" and worker["pid"] != pid)

        wait(is_back, what="it is started again")
        assert time.monotonic() - begun >= pause


def test_a_plugin_to_be_left_out_that_is_not_there_is_logged_and_stops_nobody(node: Node) -> None:
    node.start("--no-plugin", "sipp")
    (entry,) = [entry for entry in node.log() if "sipp" in str(entry)]
    assert (entry["level"], entry["message"]) == (
        "warning",
        "--no-plugin: there is no plugin 'sipp'; did you mean 'sip'?",
    )
