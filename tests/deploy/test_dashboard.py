"""Each panel of the dashboard asks a real Prometheus that scrapes a real daemon, and gets figures."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.e2e.node import Node
from tests.e2e.test_tap import capture
from tests.patience import PATIENCE_S, free_port, wait

DASHBOARD = needs.ROOT / "deploy" / "grafana" / "otus.json"
PANELS = json.loads(DASHBOARD.read_text())["panels"]
EMPTY_WHEN_WELL = (
    "Plugins that are not ready",
    "Interfaces that are captured from (1) or not (0)",
    "Command channels that are connected (1) or not (0)",
    "Components that are cut off",
    "Destinations that answer (1) or not (0)",
    "Other nodes with this node's name",
)
"""What these are about is not there."""
VARIABLES = {"$instance": ".+", "$task": ".+", "$__rate_interval": "10s"}
TASK = {"id": "t1", "parsers": ["sip", "rtp"], "processors": ["calls"], "reporters": ["discard"]}


class Prometheus:
    """A server that scrapes one node every second."""

    def __init__(self, folder: Path, node: Node) -> None:
        self.port = free_port()
        job = {"job_name": "otus", "scrape_interval": "1s", "static_configs": [{"targets": [f"127.0.0.1:{node.port}"]}]}
        (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))  # JSON is YAML
        self.log = (folder / "prometheus.log").open("wb")
        self.process = subprocess.Popen(
            [
                needs.tool("prometheus"),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/tsdb",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self.log,
            stderr=self.log,
        )

    def ask(self, expression: str) -> list[Any]:
        """Give the series of an expression now; a query that is wrong raises."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query?{query}", timeout=PATIENCE_S) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return list(told["data"]["result"])

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("dashboard")
    node = Node(folder)
    node.start()
    server = None
    try:
        file = capture(folder / "sip.pcap", 4000, 0.05)
        source = {"type": "pcap", "files": [str(file)], "speed": 1.0}
        assert "result" in node.rpc("task_create", config={**TASK, "capture": source})
        server = Prometheus(folder, node)
        invites = 'rate(otus_component_counted_total{counter="seen_invite"}[10s]) > 0'
        wait(lambda: _series(server, invites), what="Prometheus has figures")
        yield server
    finally:
        node.end()
        if server is not None:
            server.end()


def _series(server: Prometheus, expression: str) -> bool:
    try:
        return bool(server.ask(expression))
    except OSError:  # it is still starting
        return False


def expressions(panel: dict[str, Any]) -> list[str]:
    """Give what a panel asks, with the variables filled in."""
    found = [target["expr"] for target in panel["targets"]]
    for name, value in VARIABLES.items():
        found = [expression.replace(name, value) for expression in found]
    return found


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_gets_figures(prometheus: Prometheus, panel: dict[str, Any]) -> None:
    found = [bool(prometheus.ask(expression)) for expression in expressions(panel)]
    assert any(found) is (panel["title"] not in EMPTY_WHEN_WELL)


def test_messages_are_counted_by_method(prometheus: Prometheus) -> None:
    panel = next(one for one in PANELS if one["title"] == "SIP requests, by method")
    (expression,) = expressions(panel)
    busy = {one["metric"]["counter"] for one in prometheus.ask(f"{expression} > 0")}
    assert busy == {"seen_invite", "seen_options"}
