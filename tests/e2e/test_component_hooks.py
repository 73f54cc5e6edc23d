"""A third party's reporter hears of changes of tasks' states, in its worker; one that raises at that costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.e2e.test_plugin_faults import PARTS, TICKER
from tests.patience import wait

HEARER = """
import otus_core

@otus_core.configuration
class Config:
    out: str = otus_core.option(help="File that gets what this reporter hears.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Reporter(name="hearer", factory="hearer_parts:Hearer", config=Config, summary="Hears")
    yield otus_core.Reporter(name="asker", factory="hearer_parts:Asker", config=Config,
                             summary="Asks for what there is not")
"""
HEARER_PARTS = """
import otus_core

class Hearer(otus_core.BaseReporter):
    def __init__(self, config):
        self._config = config

    async def report(self, batch):
        return otus_core.ReportResult(reported=len(batch))

    @otus_core.hookimpl
    def otus_task_state_changed(self, task_id, old, new, reason):
        with open(self._config.out, "a") as out:
            out.write(f"{task_id}: {old} {new} {reason}\\n")
        raise RuntimeError("nobody needs this")

class Asker(Hearer):
    @otus_core.hookimpl
    def otus_startup(self, node):
        pass
"""


def task(name: str, reporter: str, out: Path) -> dict[str, Any]:
    reporters = [{"type": reporter, "config": {"out": str(out)}}]
    return {"id": name, "capture": {"type": "ticker"}, "parsers": ["fine"], "reporters": reporters}


def test_a_reporter_hears_of_other_tasks(node: Node, tmp_path: Path) -> None:
    site = Site(folder=tmp_path)
    site.install("otus-plugin-ticker", TICKER, modules={"ticker_parts": PARTS})
    site.install("otus-plugin-hearer", HEARER, modules={"hearer_parts": HEARER_PARTS})
    node.start(PYTHONPATH=str(tmp_path))
    out = tmp_path / "heard"
    assert "result" in node.rpc("task_create", config=task("watch", "hearer", out))
    refused = node.rpc("task_create", config=task("wrong", "asker", out))["error"]["message"]
    assert "Asker.otus_startup: a component receives only otus_task_state_changed" in refused
    assert "result" in node.rpc("task_create", config=task("other", "hearer", tmp_path / "unread"))
    assert "result" in node.rpc("task_delete", task_id="other")

    def heard() -> str:
        return out.read_text() if out.exists() else ""

    wait(lambda: "other: stopping stopped" in heard(), what="the end of the other task")
    assert "wrong: starting failed " in heard() and "Asker.otus_startup" in heard()
    assert "other: created starting \nother: starting running \nother: running stopping" in heard()
    assert node.state("watch")["state"] == "running"
    assert "nobody needs this" in (node.folder / "otus.log").read_text()
