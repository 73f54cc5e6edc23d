"""A live task that is changed while packets come in: nobody's message is missed."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otus_core.testing import packets
from tests.core.plugins.distributions import Site
from tests.e2e.test_daemon_live import Node, node  # noqa: F401 - a fixture
from tests.live.test_live import message
from tests.patience import wait

pytestmark = pytest.mark.live
LEDGER = """
import otus_core

@otus_core.configuration
class Ledger:
    path: str = otus_core.option(help="A line for each message.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Reporter(name="ledger", factory="ledger_parts:Ledger", config=Ledger, summary="Keeps a ledger")
"""
LEDGER_PARTS = """
import otus_core

class Ledger(otus_core.BaseReporter):
    def __init__(self, config):
        self._file = open(config.path, "a")

    async def report(self, batch):
        for output in batch:
            self._file.write(output.labels["sip.call_id"] + "\\n")
        self._file.flush()
        return otus_core.ReportResult(reported=len(batch))
"""
CHANGES = 3
SETTLED_S = 2.0
"""Longer than a new worker takes to be there and an old one to be gone."""
SENT_A_SECOND = 200


def keeps_for(holds: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert holds()
        time.sleep(0.1)


def ends(stop: threading.Event, wire: socket.socket, sent: list[str]) -> None:
    while not stop.wait(1 / SENT_A_SECOND):
        wire.send(packets.udp(message(len(sent)), src="10.1.0.1"))
        sent.append(f"call-{len(sent)}")


def test_a_change_that_is_refused_leaves_the_workers_alone(node: Node, tmp_path: Path) -> None:  # noqa: F811
    node.start()
    file = tmp_path / "task.json"
    capture = {"type": "afpacket", "interface": "eth0", "bpf_filter": "udp port 5060"}
    task = {"id": "calls", "capture": capture, "parsers": ["sip"], "reporters": ["discard"]}
    file.write_text(json.dumps(task))
    assert node.call("task", "apply", "-f", str(file))[0] == 0

    def runs() -> list[tuple[int, str]]:
        (status,) = node.rpc("task_status")["tasks"]
        return [(worker["pid"], status["started_at"]) for worker in status["workers"]]

    before = runs()
    file.write_text(json.dumps({**task, "workers": 9}))  # the node allows 8
    assert node.call("task", "apply", "-f", str(file))[0] == 1
    keeps_for(lambda: runs() == before, SETTLED_S)


def test_a_changed_task_misses_no_packet(node: Node, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "site").mkdir()
    site = Site(folder=tmp_path / "site")
    site.install("otus-plugin-ledger", LEDGER, modules={"ledger_parts": LEDGER_PARTS})
    node.start(PYTHONPATH=str(tmp_path / "site"))
    ledger, file = tmp_path / "ledger", tmp_path / "task.json"

    def apply(batch_size: int) -> str:
        reporter: dict[str, Any] = {"type": "ledger", "batch_size": batch_size, "config": {"path": str(ledger)}}
        capture = {"type": "afpacket", "interface": "eth0", "bpf_filter": "udp port 5060"}
        file.write_text(json.dumps({"id": "calls", "capture": capture, "parsers": ["sip"], "reporters": [reporter]}))
        status, answer = node.call("task", "apply", "-f", str(file))
        assert status == 0, answer
        return str(answer["tasks"][0]["status"])

    assert apply(100) == "created"
    stop = threading.Event()
    sent: list[str] = []
    with node.pair.wire() as wire:
        sender = threading.Thread(target=ends, args=(stop, wire, sent))
        sender.start()
        try:
            changes = []
            for n in range(CHANGES):
                before = len(sent)
                changes.append(apply(101 + n))
                wait(lambda before=before: len(sent) > before + 50, what="packets come in behind the change")
        finally:
            stop.set()
            sender.join()
    assert changes == ["changed"] * CHANGES
    wait(lambda: sent[-1] in ledger.read_text().split(), what="the last message is reported")
    assert set(sent) - set(ledger.read_text().split()) == set()
