"""What a third party's reporter inherits from the daemon's configuration: its own defaults, and a block that its plugin
shares.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.e2e.test_plugin_faults import PARTS, TICKER
from tests.patience import wait

ACME = """
import otus_core

@otus_core.configuration
class Shared:
    endpoint: str = otus_core.option(default="", help="Where acme is.")
    token: str = otus_core.option(default="", secret=True, help="Token.")

@otus_core.configuration
class Reporter:
    endpoint: str = otus_core.option(help="Where acme is.")
    token: str = otus_core.option(default="", secret=True, help="Token.")
    out: str = otus_core.option(help="File that gets what this reporter was given.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.SharedConfig(name="acme", config=Shared, heirs=("reporter:acme-push",), summary="Acme.")
    yield otus_core.SharedConfig(name="log", config=Shared, heirs=("reporter:acme-push",))
    yield otus_core.Reporter(name="acme-push", factory="acme_parts:Push", config=Reporter, summary="Pushes to acme")
"""
ACME_PARTS = """
import otus_core

class Push(otus_core.BaseReporter):
    def __init__(self, config):
        self._config = config

    async def start(self):
        with open(self._config.out, "w") as out:
            out.write(f"{self._config.endpoint} {self._config.token}")

    async def report(self, batch):
        return otus_core.ReportResult(reported=len(batch))
"""


@pytest.fixture
def acme(node: Node, tmp_path: Path) -> Node:
    site = Site(folder=tmp_path)
    site.install("otus-plugin-ticker", TICKER, modules={"ticker_parts": PARTS})
    site.install("otus-plugin-acme", ACME, modules={"acme_parts": ACME_PARTS})
    return node


def configure(node: Node, **shared: str) -> None:
    defaults = {"acme-push": {"out": f"{node.folder}/given"}}
    node.write("info", f"  acme: {json.dumps(shared)}\n  reporters: {json.dumps(defaults)}\n")


def given(node: Node) -> str:
    return (node.folder / "given").read_text()


def create(node: Node, reporter: Any = "acme-push") -> dict[str, Any]:
    config = {"id": "t", "capture": {"type": "ticker"}, "parsers": ["fine"], "reporters": [reporter]}
    return node.rpc("task_create", config=config)


def test_a_third_party_s_reporter_inherits_as_kafka_does(acme: Node, tmp_path: Path) -> None:
    configure(acme, endpoint="one", token="t0ken")
    acme.start(PYTHONPATH=str(tmp_path), OTUS_ACME_ENDPOINT="two")
    assert "result" in create(acme)
    assert given(acme) == "two t0ken"  # the variable's, over the file's
    stored = json.loads((acme.folder / "data" / "tasks" / "t.json").read_text())
    assert stored["config"]["reporters"] == ["acme-push"]
    configure(acme, endpoint="one", token="other")
    result = acme.rpc("config_reload")["result"]
    assert (result["changed"], result["tasks_started_anew"]) == (["reporters", "acme.token"], ["t"])
    wait(lambda: given(acme) == "two other")
    assert acme.rpc("task_delete", task_id="t")["result"]["status"] == "deleted"
    assert "result" in create(acme, {"type": "acme-push", "config": {"endpoint": "own"}})
    assert given(acme) == "own other"
    refused = create(acme, {"type": "acme-push", "config": {"token": "own"}})["error"]["message"]
    assert "reporters[0].config.token: is a secret" in refused


def test_its_block_hinders_no_start_without_the_plugin(acme: Node, tmp_path: Path) -> None:
    configure(acme, endpoint="one")
    acme.start(PYTHONPATH=str(tmp_path))
    assert "result" in create(acme)
    acme.end()
    acme.start("--safe", PYTHONPATH=str(tmp_path))
    wait(lambda: acme.state("t")["state"] == "failed")
    warned = [entry["message"] for entry in acme.log() if entry["event"] == "configuration"]
    assert [message.partition(":")[0] for message in warned] == ["otus.acme", "otus.reporters.acme-push"]
    acme.end()
    acme.start(PYTHONPATH=str(tmp_path))
    wait(lambda: acme.runs("t"))
    refused = [entry for entry in acme.log() if entry["event"] == "shared_configuration_refused"]
    assert {(entry["plugin"], entry["name"]) for entry in refused} == {("acme", "log")}


def test_tools_know_the_block(acme: Node, tmp_path: Path) -> None:
    site = Site(folder=tmp_path)
    configure(acme, endpoint="one", token="t0ken")
    shown = site.otus("-c", str(acme.config), "config", "show")
    site_options = ("-c", str(acme.config), "--output", "json")
    effective = site.otus(*site_options, "config", "show", "--effective")
    assert "t0ken" not in shown.stdout + effective.stdout
    assert json.loads(effective.stdout)["otus"]["reporters"]["acme-push"]["endpoint"] == "one"
    assert "Where acme is" in site.otus("config", "sample").stdout
    assert "acme" in json.loads(site.otus("schema", "config").stdout)["properties"]["otus"]["properties"]
    acme.config.write_text(acme.config.read_text().replace("endpoint", "endpiont"))
    refused = site.otus("validate", "-f", str(acme.config))
    assert (refused.returncode, "otus.acme.endpiont" in refused.stderr) == (2, True)
