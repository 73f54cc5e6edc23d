"""Every long-lived task of a daemon and of its workers is made to fail once, in a real daemon: it comes back, is
counted, and is logged.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.e2e.test_plugin_faults import PARTS, TICKER
from tests.patience import wait

SABOTEUR = """
import asyncio, os
from pathlib import Path

import otus_core
from otus_core.process.systemd import Notifier
from otus_core.pipeline.delivery import Delivery
from otus_core.supervise import supervisor
from otus_core.worker import child, worker
from otus_core.supervise.keeping import TaskKeeping
from otus_core.supervise.manager import TaskManager
from otus_core.process.output import LineMerger

FOLDER = Path(os.environ["OTUS_TEST_PLANTED"])

def planted(kind):
    # Raise once for each file of this name: an error, or a CancelledError that nobody asked for.
    for suffix, error in ((".error", RuntimeError("planted")), (".stray", asyncio.CancelledError())):
        try:
            (FOLDER / (kind + suffix)).unlink()
        except FileNotFoundError:
            continue
        raise error

class Trap(float):
    # A number of seconds that asyncio.sleep trips over.
    def __new__(cls, seconds, kind):
        made = super().__new__(cls, seconds)
        made.kind = kind
        return made

    def __le__(self, other):
        planted(self.kind)
        return float(self) <= other

def trip(owner, name, kind):
    real = getattr(owner, name)
    def method(self, *arguments, **named):
        planted(kind)
        return real(self, *arguments, **named)
    setattr(owner, name, method)

supervisor.WATCH_EVERY_S = Trap(supervisor.WATCH_EVERY_S, "task:watch")
worker.BEAT_EVERY_S = Trap(worker.BEAT_EVERY_S, "worker:heartbeat")
child.PUBLISH_EVERY_S = Trap(child.PUBLISH_EVERY_S, "worker:publish")
trip(TaskManager, "sample", "daemon:sample")
trip(TaskManager, "prune", "daemon:prune")
trip(Notifier, "watchdog", "daemon:watchdog")
trip(TaskKeeping, "_wait_to_try_again", "task:keeper")
trip(LineMerger, "_take", "output:merge")
trip(Delivery, "_next_batch", "worker:delivery")
trip(Delivery, "_settle", "worker:report")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Reporter(name="lines", factory="saboteur_parts:Lines", max_in_flight=4,
                             summary="Writes a line a batch")
    yield otus_core.Reporter(name="picky", factory="saboteur_parts:Picky", summary="Wants a file")
"""
SABOTEUR_PARTS = """
import os
import otus_core

class Lines(otus_core.BaseReporter):
    def __init__(self, config):
        pass

    def wire(self, context):
        self._stdout = context.stdout

    async def report(self, batch):
        await self._stdout.write(b"lines\\n")
        return otus_core.ReportResult(reported=len(batch))

class Picky(Lines):
    async def start(self):
        if not os.path.exists(os.environ["OTUS_TEST_PLANTED"] + "/welcome"):
            raise RuntimeError("not welcome yet")
"""


class Planted:
    """A daemon with the saboteur, and the folder in which a file makes it strike."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node = node
        self.folder = folder
        self._struck = 0

    def strike(self, kind: str, how: str = "error", counted_as: str | None = None) -> None:
        """Have a chore fail, and wait until that is counted and logged."""
        name = counted_as or kind
        before = self.counted(name)
        (self.folder / f"{kind}.{how}").touch()
        wait(lambda: self.counted(name) == before + 1, what=f"{kind} is counted")
        entries = [entry for entry in self.node.log() if entry["event"] == "chore_failed" and entry["chore"] == name]
        told = "planted" if how == "error" else "CancelledError, which nobody asked for"
        assert told in entries[-1]["reason"] and entries[-1]["level"] == "error"

    def counted(self, name: str) -> float:
        return self.node.metrics()["otus_chore_failures_total", (("chore", name),)]

    def terms(self, reporter: str = "lines") -> dict[str, Any]:
        return dict(self.node.state("t")["counters"]["reporters"][reporter])

    def goes_on(self) -> None:
        """Messages are reported again."""
        before = self.terms()["reported"]
        wait(lambda: self.terms()["reported"] > before + 100, what="reports go on")

    def settled(self) -> bool:
        return bool(self.node.state("t")["counters"]["unaccounted"] == 0)


@pytest.fixture
def planted(node: Node, tmp_path: Path) -> Planted:
    site = Site(folder=tmp_path)
    site.install("otus-plugin-ticker", TICKER, modules={"ticker_parts": PARTS})
    site.install("otus-plugin-saboteur", SABOTEUR, modules={"saboteur_parts": SABOTEUR_PARTS})
    folder = tmp_path / "planted"
    folder.mkdir()
    node.write("info", "  task_persistence: {gc_interval: 200ms}\n  tasks_dir: %s\n" % (tmp_path / "tasks.d"))
    text = node.config.read_text().replace("metrics: {", "metrics: {interval: 200ms, ")
    node.config.write_text(text)
    node.start(PYTHONPATH=str(tmp_path), OTUS_TEST_PLANTED=str(folder))
    return Planted(node, folder)


def create(planted: Planted, **more: Any) -> None:
    lines = {"type": "lines", "batch_size": 10, "batch_timeout": "10ms"}
    config = {"id": "t", "capture": {"type": "ticker"}, "parsers": ["fine"], "reporters": [lines], "workers": 2, **more}
    answer = planted.node.rpc("task_create", config=config)
    assert "result" in answer, answer
    planted.goes_on()


def test_what_the_daemon_does_from_time_to_time_comes_back(planted: Planted) -> None:
    for kind in ("daemon:sample", "daemon:prune", "daemon:watchdog"):
        planted.strike(kind)
        planted.strike(kind, "stray")


def test_what_a_worker_does_beside_its_packets_comes_back(planted: Planted) -> None:
    create(planted)
    for kind in ("worker:heartbeat", "worker:publish", "output:merge"):
        planted.strike(kind)
        if kind != "output:merge":  # a thread has no cancellation
            planted.strike(kind, "stray")
        planted.goes_on()
    assert planted.node.state("t")["worker_restarts"] == 0


def test_a_delivery_that_fails_is_begun_again_and_keeps_nothing_for_ever(planted: Planted) -> None:
    create(planted)
    for how in ("error", "stray"):
        planted.strike("worker:delivery", how)
        planted.goes_on()
    assert planted.terms()["dropped"] == {}
    planted.strike("worker:report", counted_as="worker:delivery")
    planted.goes_on()
    assert 0 < planted.terms()["dropped"]["report_error:exception"] <= 10
    wait(planted.settled)
    assert planted.node.state("t")["worker_restarts"] == 0


def test_a_supervisor_that_fails_goes_on_watching(planted: Planted) -> None:
    create(planted, workers=1)
    for restarts, how in enumerate(("error", "stray"), 1):
        planted.strike("task:watch", how)
        os.kill(planted.node.state("t")["workers"][0]["pid"], signal.SIGKILL)
        wait(
            lambda restarts=restarts: planted.node.state("t")["worker_restarts"] == restarts, what="it is started again"
        )
        planted.goes_on()


def test_a_keeper_that_fails_keeps_its_task(planted: Planted) -> None:
    folder = planted.folder.parent / "tasks.d"
    folder.mkdir()
    text = '{"id": "t", "capture": {"type": "ticker"}, "parsers": ["fine"], "reporters": ["picky"]}'
    (folder / "t.json").write_text(text)
    for how in ("error", "stray"):
        (planted.folder / f"task:keeper.{how}").touch()
    planted.node.rpc("config_reload")
    wait(lambda: planted.counted("task:keeper") == 2, what="both are counted")
    (planted.folder / "welcome").touch()
    wait(lambda: planted.node.runs("t"), what="it is started all the same")
    wait(lambda: planted.terms("picky")["reported"] > 0)
