"""Capturers of third parties that raise, give what they must not, or hang: they are named, counted and left alone for a
growing while, in a run of files and in a daemon.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otus_core.testing.host import Host, Ran
from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.patience import wait

DECLARES = """
import otus_core

@otus_core.configuration
class Odd:
    kind: str = otus_core.option(default="", help="Which method goes wrong, and how.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Capturer(name="odd", factory="odd_parts:Odd", config=Odd, summary="Has an end")
    yield otus_core.Capturer(name="oddlive", factory="odd_parts:Live", config=Odd, live=True, summary="Has none")
    yield otus_core.Parser(name="every", factory="odd_parts:Every", payload_types=("every",), summary="All")
"""
PARTS = """
import asyncio, math, time
import otus_core
from otus_core.testing import packets

FRAMES = 12
WRONG = {"read": [b"1"], "fileno": "abc", "wait_hint": "abc", "progress": math.nan, "stats": 5, "trouble": object()}


class Odd(otus_core.BaseCapturer):
    live = False

    @classmethod
    def acquire(cls, config, shard, shards, state):
        if config.kind == "acquire:raise":
            raise ValueError("acquire does not work")
        return ["abc"] if config.kind == "acquire:wrong" else []

    def __init__(self, config):
        self._method, _, self._how = config.kind.partition(":")
        self._given = self._reads = 0
        self._halted = False

    def _go_wrong(self, method, otherwise):
        if method != self._method:
            return otherwise
        if self._how == "wrong":
            return WRONG[method]
        if self._how == "hang" and self._given == 5:
            time.sleep(3600)
        if self._how == "cancel":
            raise asyncio.CancelledError
        if self._how == "exit":
            raise SystemExit(0)
        if self._how == "fault":
            raise otus_core.CaptureError("odd", "nothing can be read", fatal=False)
        if self._how == "raise" or self._how == "sometimes" and self._reads % 3 == 0:
            raise ValueError(f"{method} does not work")
        return otherwise

    def open(self, shard=0, shards=1, fds=()):
        self._go_wrong("open", None)

    def read(self):
        self._reads += 1
        instead = self._go_wrong("read", None)
        if instead is not None:
            return instead
        if self._halted or self._given == FRAMES and not self.live:
            return None
        if self._reads % 4 == 1:
            return otus_core.FrameBatch.from_frames([])  # so that fileno and wait_hint are asked for
        self._given += 1
        return otus_core.FrameBatch.from_frames([(time.time_ns(), packets.udp(b"%d" % self._given, dst_port=9999))])

    def fileno(self):
        return self._go_wrong("fileno", None)

    def wait_hint(self):
        return self._go_wrong("wait_hint", 0.001)

    def progress(self):
        return self._go_wrong("progress", None)

    def wants_descriptors(self):
        return self._go_wrong("wants_descriptors", False)

    def stats(self):
        return self._go_wrong("stats", otus_core.CaptureStats(received=self._given))

    def trouble(self):
        return self._go_wrong("trouble", "")

    def exclude(self, connections):
        self._go_wrong("exclude", None)

    def halt(self):
        self._halted = True
        self._go_wrong("halt", None)

    def close(self):
        self._go_wrong("close", None)


class Live(Odd):
    live = True


class Every(otus_core.BaseParser):
    def __init__(self, config):
        pass

    def can_handle(self, packet):
        return True

    def handle(self, packet):
        return otus_core.Parsed({}, {"every.text": packet.payload.decode()})
"""
FRAMES = 12


def task(kind: str, capturer: str = "odd") -> dict[str, Any]:
    return {
        "id": "t",
        "capture": {"type": capturer, "kind": kind},
        "parsers": ["every"],
        "reporters": [{"type": "console", "config": {"format": "json"}}],
    }


def run(otus_run: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> Ran:
    site = tmp_path / "site"
    site.mkdir()
    Site(folder=site).install("otus-plugin-odd", DECLARES, modules={"odd_parts": PARTS})
    monkeypatch.setenv("PYTHONPATH", str(site))
    (tmp_path / "task.json").write_text(json.dumps(task(kind)))
    return otus_run(None, "--task", str(tmp_path / "task.json"))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("fileno:wrong", "fileno() gave str"),
        ("wait_hint:wrong", "wait_hint() gave"),
        ("progress:wrong", "progress() gave nan"),
        ("stats:wrong", "stats() gave int"),
        ("stats:exit", "SystemExit"),
        ("wants_descriptors:raise", "wants_descriptors does not work"),
        ("close:exit", "SystemExit"),
        ("read:sometimes", "read does not work"),
    ],
)
def test_a_file_is_read_to_its_end_whatever_its_capturer_does_beside(
    otus_run: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, told: str
) -> None:
    ran = run(otus_run, tmp_path, monkeypatch, kind)
    assert [one["labels"]["every.text"] for one in ran.outputs] == [str(n) for n in range(1, FRAMES + 1)]
    assert (ran.status, ran.summary["unaccounted"]) == (0, 0)
    (line,) = ran.errors.splitlines()
    assert told in line and "component=odd" in line and "plugin=otus-plugin-odd" in line


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("read:raise", "gave up after 8 failures in a row: ValueError: read does not work"),
        ("read:cancel", "CancelledError"),
        ("read:exit", "SystemExit: 0"),
        ("read:wrong", "read() gave list, not a FrameBatch or None"),
        ("read:fault", "odd: nothing can be read"),
        ("acquire:raise", "capturer odd could not acquire its source: ValueError: acquire does not work"),
        ("acquire:wrong", "TypeError: acquire() gave something else than a list of descriptors"),
        ("open:raise", "capturer odd could not open: ValueError: open does not work"),
    ],
)
def test_a_file_that_cannot_be_read_ends_with_the_reason(
    otus_run: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, told: str
) -> None:
    ran = run(otus_run, tmp_path, monkeypatch, kind)
    assert ran.status == 1
    assert f"{told}\n" in ran.errors and "bug" not in ran.errors
    assert len(ran.errors.splitlines()) <= 4


@pytest.fixture
def odd(node: Node, tmp_path: Path) -> Node:
    Site(folder=tmp_path).install("otus-plugin-odd", DECLARES, modules={"odd_parts": PARTS})
    node.start(PYTHONPATH=str(tmp_path))
    return node


def create(node: Node, kind: str) -> None:
    made = {**task(kind, "oddlive"), "reporters": ["discard"]}
    assert "result" in node.rpc("task_create", config=made)


def errors(node: Node) -> float:
    return node.metrics()["otus_component_errors_total", (("component", "capturer:oddlive"), ("task", "t"))]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["stats", "trouble", "fileno", "wants_descriptors", "exclude"])
def test_a_live_one_that_cannot_say_how_it_is_goes_on(odd: Node, method: str) -> None:
    create(odd, f"{method}:raise")
    wait(lambda: odd.state("t")["counters"]["kept"] > 50, what="frames come")
    wait(lambda: errors(odd) > 0, what="its errors are counted")
    assert odd.state("t")["worker_restarts"] == 0
    assert len([entry for entry in odd.log() if entry["event"] == "component_error"]) < 5
    assert odd.rpc("task_delete", task_id="t")["result"]["status"] == "deleted"
    assert "worker_died" not in [entry["event"] for entry in odd.log()]


@pytest.mark.slow
def test_a_live_one_that_always_fails_is_left_alone_for_growing_times_and_blamed(odd: Node) -> None:
    create(odd, "read:raise")
    opened = (
        "otus_component_state",
        (("component", "capturer:oddlive"), ("pipeline", "0"), ("state", "closed"), ("task", "t")),
    )
    wait(lambda: odd.metrics()[opened] == 0, what="its circuit is shown open")
    wait(lambda: odd.state("t")["degraded"], what="the task is degraded")
    state = odd.state("t")
    assert state["troubles"] == ["capturer oddlive fails: ValueError: read does not work"]
    assert (state["state"], state["worker_restarts"]) == ("running", 0)
    assert errors(odd) < 20  # and not a million a second
    assert "circuit_opened" in [entry["event"] for entry in odd.log()]
    assert odd.rpc("task_delete", task_id="t")["result"]["status"] == "deleted"


@pytest.mark.slow
def test_a_live_one_that_hangs_is_named(odd: Node) -> None:
    create(odd, "read:hang")
    wait(lambda: [entry for entry in odd.log() if entry["event"] == "worker_died"], what="its worker is ended")
    (death, *_) = [entry for entry in odd.log() if entry["event"] == "worker_died"]
    assert (death["reason"], death["blamed"]) == ("hung", "capturer:oddlive")
