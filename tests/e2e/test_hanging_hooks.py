"""Hooks that hang: the daemon and its workers go on, and the plugin is named, counted and called no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.patience import wait

pytestmark = pytest.mark.slow

DECLARES = """
import otus_core
from {name}_parts import hang

@otus_core.hookimpl
def otus_components():
    yield otus_core.Capturer(name="{name}cap", factory="{name}_parts:Capturer", live=True, summary="Ticks")
    yield otus_core.Parser(name="{name}", factory="{name}_parts:Parser", payload_types=("x",), summary="All")
    yield otus_core.Reporter(name="{name}rep", factory="{name}_parts:Reporter", summary="Hears of tasks")

@otus_core.hookimpl
def otus_task_state_changed(task_id, old, new, reason):
    hang()
"""
PARTS = """
import time
import otus_core
from otus_core.testing import packets


def hang():
    {how}


class Capturer(otus_core.BaseCapturer):
    def __init__(self, config):
        pass

    def read(self):
        return otus_core.FrameBatch.from_frames([(time.time_ns(), packets.udp(b"x", dst_port=9))])

    def wait_hint(self):
        return 0.01


class Parser(otus_core.BaseParser):
    def __init__(self, config):
        pass

    def can_handle(self, packet):
        return True

    def handle(self, packet):
        return otus_core.Parsed({{}}, {{}})


class Reporter(otus_core.BaseReporter):
    def __init__(self, config):
        pass

    async def report(self, batch):
        return otus_core.ReportResult(reported=len(batch))

    @otus_core.hookimpl
    def otus_task_state_changed(self, task_id, old, new, reason):
        hang()
"""
STUBBORN = """
    while True:
        try:
            time.sleep(3600)
        except Exception:
            pass
"""


@pytest.mark.parametrize("how", ["time.sleep(3600)", STUBBORN], ids=["sleeps", "catches what it can"])
def test_a_hook_that_hangs_is_ended_named_counted_and_in_the_end_left_alone(
    node: Node, tmp_path: Path, how: str
) -> None:
    site = Site(folder=tmp_path)
    site.install("otus-plugin-stiff", DECLARES.format(name="stiff"), modules={"stiff_parts": PARTS.format(how=how)})
    node.start(PYTHONPATH=str(tmp_path))
    task = {"capture": {"type": "stiffcap"}, "parsers": ["stiff"], "reporters": ["stiffrep"]}
    for number in range(4):  # each comes and goes, and every change is told to both hooks
        assert "result" in node.rpc("task_create", config={"id": f"t{number}", **task})
        if number < 3:
            assert "result" in node.rpc("task_delete", task_id=f"t{number}")
    wait(lambda: node.state("t3")["counters"]["kept"] > 100, what="packets are still taken")

    def events(name: str, *, in_worker: bool) -> list[str]:
        return [str(entry) for entry in node.log() if entry["event"] == name and ("worker" in entry) is in_worker]

    wait(lambda: events("plugin_hook_cut_off", in_worker=False), what="the module's hook is cut off")
    failed = events("plugin_hook_failed", in_worker=False)
    assert len(failed) == 3
    assert all("otus-plugin-stiff" in one or "stiff" in one for one in failed)
    assert all("took longer than 1 s" in one for one in failed)
    wait(lambda: events("plugin_hook_failed", in_worker=True), what="the reporter's hook is named too")
    assert "worker_died" not in [entry["event"] for entry in node.log()]
    counted = ("otus_chore_failures_total", (("chore", "stiff:otus_task_state_changed"),))
    wait(lambda: node.metrics().get(counted, 0) >= 4, what="both are counted")
    assert node.call("stop")[0] == 0
