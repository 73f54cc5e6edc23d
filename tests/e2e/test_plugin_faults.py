"""Plugins that raise, hang, leak and die, in a real daemon on a live source: their worker alone pays, they are named,
and what goes on failing is cut off.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otus_core.process.channel import NONSENSE
from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.patience import beyond, keeps, took, wait

pytestmark = pytest.mark.slow

TICKER = """
import otus_core

@otus_core.configuration
class Ticks:
    every_s: float = otus_core.option(default=0.005, gt=0, help="Seconds between frames.")

@otus_core.configuration
class Harm:
    kind: str = otus_core.option(default="none", help="What goes wrong.")
    after: int = otus_core.option(default=0, ge=0, help="After how many packets.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Capturer(name="ticker", factory="ticker_parts:Ticker", config=Ticks, live=True, shardable=True,
                             summary="A frame now and then")
    yield otus_core.Parser(name="fine", factory="ticker_parts:Fine", payload_types=("tick",), priority=90,
                           summary="Takes every packet")
    yield otus_core.Parser(name="harmful", factory="ticker_parts:Harmful", config=Harm, payload_types=("tick",),
                           priority=10, summary="Does harm")
"""
PARTS = """
import ctypes, gc, os, time
import otus_core
from otus_core.process import messages
from otus_core.testing import packets


class Ticker(otus_core.BaseCapturer):
    def __init__(self, config):
        self._every, self._next, self._given, self._halted = config.every_s, time.monotonic(), 0, False

    def read(self):
        if self._halted:
            return None
        due = []
        now = time.monotonic()
        while self._next <= now and len(due) < 100:
            due.append((time.time_ns(), packets.udp(b"tick %d" % self._given, src_port=1024 + self._given % 50000)))
            self._given += 1
            self._next += self._every
        return otus_core.FrameBatch.from_frames(due)

    def wait_hint(self):
        return max(0.0, self._next - time.monotonic())

    def halt(self):
        self._halted = True

    def stats(self):
        return otus_core.CaptureStats(received=self._given)

class Fine(otus_core.BaseParser):
    def __init__(self, config):
        pass

    def can_handle(self, packet):
        return True

    def handle(self, packet):
        return otus_core.Parsed({}, {"tick.number": packet.payload.decode()[5:]})

class Harmful(Fine):
    def __init__(self, config):
        self._config, self._seen, self._kept = config, 0, []

    def handle(self, packet):
        self._seen += 1
        if self._seen > self._config.after:
            if self._config.kind == "raise":
                raise RuntimeError("\\x1b[31m" + "x" * 10000)
            if self._config.kind == "hang":
                while True:
                    pass
            if self._config.kind == "segfault":
                ctypes.string_at(1)
            if self._config.kind == "exit":
                os._exit(0)
            if self._config.kind == "leak" and len(self._kept) < 50:  # however late somebody looks
                self._kept.append(bytearray(b"x" * (8 << 20)))
            if self._config.kind in ("babble", "lie"):  # as a worker under an attacker's control would
                gc.unfreeze()
                (channel,) = (one for one in gc.get_objects() if type(one).__name__ == "Channel")
                lie = messages.Reporters({"discard": 5})
                channel._sock.send(bytes(64)) if self._config.kind == "babble" else channel.send(lie)
        return super().handle(packet)
"""
LEAK_AT = 160 << 20


@pytest.fixture
def start(node: Node, tmp_path: Path) -> Callable[[], Node]:
    """Start a node that has the harmful plugin."""
    site = Site(folder=tmp_path)
    site.install("otus-plugin-ticker", TICKER, modules={"ticker_parts": PARTS})

    def started() -> Node:
        node.start(PYTHONPATH=str(tmp_path))
        return node

    return started


def create(node: Node, task_id: str, kind: str = "none", after: int = 0, workers: int = 1) -> None:
    config = {
        "id": task_id,
        "workers": workers,
        "capture": {"type": "ticker"},
        "parsers": [{"type": "harmful", "config": {"kind": kind, "after": after}}, "fine"],
        "reporters": ["discard"],
        "worker_max_rss": LEAK_AT,
    }
    answer = node.rpc("task_create", config=config)
    assert "result" in answer, answer


def kept(node: Node, task_id: str) -> int:
    return int(node.state(task_id)["counters"]["kept"])


def deaths(node: Node, task_id: str) -> list[dict[str, Any]]:
    return [entry for entry in node.log() if entry["event"] == "worker_died" and entry["task"] == task_id]


def goes_on(node: Node, task_id: str) -> None:
    before = kept(node, task_id)
    wait(lambda: kept(node, task_id) > before + 20, what=f"{task_id} goes on")


def test_a_plugin_that_raises_suffers_alone(start: Callable[[], Node]) -> None:
    node = start()
    create(node, "bad", "raise")
    create(node, "good")
    states = (
        "otus_component_state",
        (("component", "parser:harmful"), ("pipeline", "0"), ("state", "open"), ("task", "bad")),
    )
    wait(lambda: node.metrics()[states] == 1, what="its circuit opens")
    goes_on(node, "bad")  # an open parser is as if it said no: the next one takes the packet
    goes_on(node, "good")
    bad, good = node.state("bad"), node.state("good")
    assert (bad["worker_restarts"], good["worker_restarts"]) == (0, 0)
    errors = {
        labels: value for (name, labels), value in node.metrics().items() if name == "otus_component_errors_total"
    }
    assert errors[(("component", "parser:harmful"), ("task", "bad"))] >= 100
    assert errors[(("component", "parser:harmful"), ("task", "good"))] == 0
    told = [entry for entry in node.log() if "harmful" in str(entry) and entry.get("task") == "bad"]
    assert 0 < len(told) < 20
    assert max(len(str(entry)) for entry in told) < 8000
    assert "\x1b" not in (node.folder / "otus.log").read_text()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("segfault", "signal 11"),
        ("exit", "exit status 0"),
        ("leak", "worker_max_rss"),
        ("hang", "hung"),
        ("babble", NONSENSE),
        ("lie", NONSENSE),
    ],
)
def test_a_plugin_that_takes_its_worker_down_is_named(start: Callable[[], Node], kind: str, reason: str) -> None:
    node = start()
    create(node, "good")
    create(node, "bad", kind, after=30)
    wait(lambda: deaths(node, "bad"), what="a worker dies")
    wait(lambda: node.state("bad")["worker_restarts"] >= 1, what="it is started again")
    death = deaths(node, "bad")[0]
    assert death["reason"] == reason
    if kind not in ("leak", "babble", "lie"):  # for these a worker ends between packets too
        assert death["blamed"] == "parser:harmful"
    assert node.state("good")["worker_restarts"] == 0
    goes_on(node, "good")
    wait(lambda: node.state("bad")["counters"]["unaccounted"] == 0, what="what it lost is counted")


def test_three_deaths_in_a_row_cut_a_plugin_off(start: Callable[[], Node]) -> None:
    node = start()
    create(node, "bad", "segfault")
    wait(lambda: len(deaths(node, "bad")) == 3, what="three deaths")
    wait(lambda: node.state("bad")["workers"][0]["state"] == "running", what="it runs")
    goes_on(node, "bad")
    assert {death["blamed"] for death in deaths(node, "bad")} == {"parser:harmful"}
    assert len(deaths(node, "bad")) == 3
    states = (
        "otus_component_state",
        (("component", "parser:harmful"), ("pipeline", "0"), ("state", "open"), ("task", "bad")),
    )
    wait(lambda: node.metrics()[states] == 1, what="its circuit is shown open")
    assert node.state("bad")["state"] == "running"


@pytest.mark.parametrize(
    ("number", "within", "reason"), [(signal.SIGKILL, 1.0, "signal 9"), (signal.SIGSTOP, 5.0, "hung")]
)
def test_a_dead_worker_is_back_at_once_and_a_stopped_one_soon(
    start: Callable[[], Node], number: signal.Signals, within: float, reason: str
) -> None:
    node = start()
    names = (f"t{n}" for n in itertools.count())

    def killed_and_back() -> float:
        task = next(names)
        create(node, task, workers=2)
        wait(lambda: kept(node, task) > 20)
        first, second = (worker["pid"] for worker in node.state(task)["workers"])
        os.kill(first, number)
        away = took(lambda: wait(lambda: is_back(first)))
        assert node.state(task)["workers"][1]["pid"] == second
        assert [death["reason"] for death in deaths(node, task)] == [reason]
        goes_on(node, task)
        wait(lambda: node.state(task)["counters"]["unaccounted"] == 0)
        assert node.metrics()["otus_worker_restarts_total", (("task", task),)] == 1
        node.rpc("task_delete", task_id=task)
        return away

    def is_back(old: int) -> bool:
        (task,) = node.rpc("task_list")["result"]["tasks"]
        worker = node.state(task)["workers"][0]
        return bool(worker["pid"] != old and worker["state"] == "running")

    keeps(0.0, lambda: beyond(within, killed_and_back), what=f"beyond {within} s:")


def test_counters_survive_a_worker_and_the_names_of_metrics_are_closed(start: Callable[[], Node]) -> None:
    node = start()
    create(node, "t")
    wait(lambda: kept(node, "t") > 100)
    names, before = set(node.metrics()), kept(node, "t")
    os.kill(node.state("t")["workers"][0]["pid"], signal.SIGKILL)
    wait(lambda: node.state("t")["worker_restarts"] == 1)
    assert kept(node, "t") >= before
    goes_on(node, "t")  # every packet has a flow and a payload of its own
    assert set(node.metrics()) == names
