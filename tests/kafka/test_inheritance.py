"""What tasks inherit from ``otus.kafka``: it takes effect at a reload, and nothing of it is kept with a
task or shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otus_core.config.effective import load_effective
from otus_core.plugins.loader import load
from otus_core.task.inherit import task_defaults, with_defaults
from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.e2e.test_plugin_faults import PARTS, TICKER
from tests.live.net import children_of
from tests.patience import free_port, wait

from .broker import Broker

PASSWORD = "Iridescent-Hunter-2"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    Site(folder=tmp_path).install("otus-plugin-ticker", TICKER, modules={"ticker_parts": PARTS})
    (tmp_path / "n").mkdir()
    made = Node(tmp_path / "n")
    yield made
    made.end()


def start(node: Node, **kafka: Any) -> None:
    node.write("debug", f"  kafka: {json.dumps(kafka)}\n")
    node.start(PYTHONPATH=str(node.folder.parent))


def create(node: Node, topic: str, **config: Any) -> dict[str, Any]:
    reporter = {"type": "kafka", "config": {"topic": topic, **config}}
    task = {"id": "t", "capture": {"type": "ticker"}, "parsers": ["fine"], "reporters": [reporter]}
    return node.rpc("task_create", config=task)


def reported(node: Node) -> int:
    return int(node.state("t").get("counters", {}).get("reporters", {}).get("kafka", {}).get("reported", 0))


def test_new_brokers_take_effect_at_a_reload(node: Node, broker: Broker, topic: str) -> None:
    start(node, brokers=[f"127.0.0.1:{free_port()}"])
    assert "result" in create(node, topic)
    assert "brokers" not in (node.folder / "data" / "tasks" / "t.json").read_text()
    wait(lambda: node.state("t")["counters"]["reporters"]["kafka"]["in_flight"] > 0)
    assert reported(node) == 0
    node.write("debug", f"  kafka: {json.dumps({'brokers': [broker.bootstrap]})}\n")
    result = node.rpc("config_reload")["result"]
    assert (result["tasks_started_anew"], "kafka.brokers" in result["changed"]) == (["t"], True)
    wait(lambda: reported(node) > 0)
    assert node.rpc("config_reload")["result"]["tasks_started_anew"] == []


def test_a_new_password_in_its_file_takes_effect_at_a_reload(node: Node, broker: Broker, topic: str) -> None:
    secret = node.folder / "password"
    secret.write_text(PASSWORD)
    sasl = {"enabled": True, "username": "otus", "password_file": str(secret)}
    start(node, brokers=[broker.bootstrap], sasl=sasl)
    assert "result" in create(node, topic)
    assert node.rpc("config_reload")["result"]["tasks_started_anew"] == []
    secret.write_text(PASSWORD + "!")
    assert node.rpc("config_reload")["result"]["tasks_started_anew"] == ["t"]


def test_a_password_is_neither_kept_nor_shown(node: Node, topic: str) -> None:
    start(node, brokers=[f"127.0.0.1:{free_port()}"], sasl={"enabled": True, "username": "otus", "password": PASSWORD})
    inline = {"sasl": {"enabled": True, "username": "otus", "password": PASSWORD}}
    refused = create(node, topic, **inline)["error"]["message"]
    assert "reporters[0].config.sasl.password: is a secret" in refused and "password_file" in refused
    assert "result" in create(node, topic)
    wait(lambda: any(entry["event"] == "kafka_unreachable" for entry in node.log()))
    shown = [json.dumps(node.rpc(method)) for method in ("task_status", "daemon_status", "daemon_stats")]
    shown += [json.dumps(node.rpc("task_get", task_id="t")), refused]
    for pid in (node.pid, *children_of(node.pid)):
        shown += [(Path("/proc") / str(pid) / name).read_bytes().decode() for name in ("cmdline", "environ")]
    assert "result" in node.rpc("task_delete", task_id="t")
    shown += [path.read_text() for path in (node.folder / "data").rglob("*.json")]
    shown += [(node.folder / name).read_text() for name in ("otus.log", "errors")]
    assert not [text for text in shown if PASSWORD in text]


def test_the_plugin_says_what_belongs_to_its_brokers(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    own = {"brokers": ["own:9092"], "sasl": {"enabled": True, "username": "u", "password": PASSWORD}}
    file.write_text(json.dumps({"otus": {"kafka": own}}))
    sections = load().config_sections()
    defaults = task_defaults(load_effective(file, {"OTUS_NODE_IP": "127.0.0.1"}, sections).config, sections)

    def config(**given: Any) -> dict[str, Any]:
        made = with_defaults({"reporters": [{"type": "kafka", "config": given}]}, defaults)
        return dict(made["reporters"][0]["config"])

    assert config(topic="t") == {"topic": "t", **own}
    assert config(topic="t", brokers=["other:9092"]) == {"topic": "t", "brokers": ["other:9092"]}
