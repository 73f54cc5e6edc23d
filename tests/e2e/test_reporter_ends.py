"""Reporters that raise anything where they are not to raise: a run ends as it would without, and they are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otus_core.testing import packets
from otus_core.testing.host import Host
from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.patience import wait

DECLARES = """
import otus_core

@otus_core.configuration
class Sour:
    kind: str = otus_core.option(default="", help="What goes wrong.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Reporter(name="sour", factory="sour_parts:Sour", config=Sour, summary="Ends badly")
    yield otus_core.Parser(name="sourpar", factory="sour_parts:All", payload_types=("all",), summary="All")
    yield otus_core.CommandChannel(name="sourchan", factory="sour_parts:Channel", config=Sour, summary="Ends badly")
"""
PARTS = """
import asyncio
import otus_core


class Wrong:
    def __init__(self, config):
        self._method, _, self._how = config.kind.partition(":")

    def _go_wrong(self, method):
        if method == self._method:
            raise {"exit": SystemExit(5), "cancel": asyncio.CancelledError(), "raise": ValueError("sour")}[self._how]


class Sour(Wrong, otus_core.BaseReporter):
    async def report(self, batch):
        return otus_core.ReportResult(reported=len(batch))

    async def flush(self):
        self._go_wrong("flush")

    async def stop(self):
        self._go_wrong("stop")


class All(otus_core.BaseParser):
    def __init__(self, config):
        pass

    def can_handle(self, packet):
        return True

    def handle(self, packet):
        return otus_core.Parsed({}, {})


class Channel(Wrong, otus_core.BaseCommandChannel):
    async def start(self, handler):
        pass

    async def stop(self):
        self._go_wrong("stop")

    def status(self):
        self._go_wrong("status")
        return {}
"""


@pytest.mark.parametrize("kind", ["flush:exit", "flush:cancel", "stop:exit", "stop:cancel"])
def test_a_run_ends_as_it_would_without(
    otus_run: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    Site(folder=site).install("otus-plugin-sour", DECLARES, modules={"sour_parts": PARTS})
    monkeypatch.setenv("PYTHONPATH", str(site))
    task = {"id": "t", "parsers": ["sourpar"], "reporters": [{"type": "sour", "config": {"kind": kind}}]}
    (tmp_path / "task.json").write_text(json.dumps(task))
    ran = otus_run([packets.udp(b"x", dst_port=9)], "--task", str(tmp_path / "task.json"))
    assert (ran.status, ran.summary["unaccounted"]) == (0, 0)
    assert ran.summary["reporters"]["sour"]["reported"] == 1
    (line,) = ran.errors.splitlines()
    assert "component=sour" in line and ("SystemExit: 5" in line or "CancelledError" in line)


@pytest.mark.slow
def test_a_command_channel_that_exits_where_it_tells_of_itself_does_not_end_the_daemon(
    node: Node, tmp_path: Path
) -> None:
    Site(folder=tmp_path).install("otus-plugin-sour", DECLARES, modules={"sour_parts": PARTS})
    node.write("info", "  command_channel: {enabled: true, type: sourchan, options: {kind: 'status:exit'}}\n")
    node.start(PYTHONPATH=str(tmp_path))
    down = {"command_channel": "sourchan", "reason": "status: SystemExit"}
    wait(lambda: down in node.call("status")[1]["troubles"], what="it is told")
    assert node.metrics()["otus_command_channel_up", (("channel", "sourchan"),)] == 0
    assert node.call("stop")[0] == 0
    assert node.ended() == 0
