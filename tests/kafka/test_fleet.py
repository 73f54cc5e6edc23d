"""``otus fleet`` against two real daemons: who answers, who fails, who is silent."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otus_kafka import envelope
from tests.live.net import OTUS
from tests.patience import wait

from .broker import Broker
from .client import consume, make_topic, produce
from .node import Daemon

pytestmark = pytest.mark.kafka
NODES = ("edge-a", "edge-b")


def plugin(folder: Path, version: str) -> Path:
    """Install a plugin of some version in a folder; gives the folder, which is for PYTHONPATH."""
    about = folder / f"otus_plugin_thirdparty-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: otus-plugin-thirdparty\nVersion: {version}\n")
    (about / "entry_points.txt").write_text("[otus.plugins]\nthirdparty = otus_thirdparty\n")
    (folder / "otus_thirdparty.py").write_text(
        "import otus_core\n\n\n@otus_core.hookimpl\ndef otus_components():\n    return ()\n"
    )
    return folder


@pytest.fixture(scope="module")
def nodes(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Daemon]]:
    """Two daemons that share topics, and send heartbeats."""
    topics, beats = (make_topic(broker, 1), make_topic(broker, 2)), make_topic(broker, 1)
    folder = tmp_path_factory.mktemp("fleet")
    heartbeat = {"topic": beats, "interval": 1.0}
    made = {}
    for host, version in zip(NODES, ("1.4.0", "1.5.0"), strict=True):
        sees = {"PYTHONPATH": str(plugin(folder / f"plugin-{host}", version))}
        made[host] = Daemon(broker, folder / host, host, topics, environment=sees, heartbeat=heartbeat)
    for daemon in made.values():
        daemon.heartbeats = beats  # type: ignore[attr-defined]
        daemon.ask("task_list")
    wait(lambda: {r.json["source"] for r in consume(broker, beats)} == set(NODES))
    yield made
    for daemon in made.values():
        daemon.end()


@pytest.fixture
def fleet(nodes: dict[str, Daemon]) -> Callable[..., tuple[int, str, str]]:
    """Run ``otus fleet``; gives exit status, output and errors."""
    one = nodes["edge-a"]

    def run(*arguments: str, heartbeats: bool = False, text: str | None = None) -> tuple[int, str, str]:
        about = ["--brokers", one.broker.bootstrap, "--topic", one.commands, "--response-topic", one.answers]
        if heartbeats:
            about += ["--heartbeat-topic", one.heartbeats]  # type: ignore[attr-defined]
        done = subprocess.run(
            [OTUS, "fleet", *arguments, *about], capture_output=True, input=text, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return run


Fleet = Callable[..., tuple[int, str, str]]
TASK: dict[str, Any] = {
    "id": "replay",
    "capture": {"type": "afpacket", "interface": "lo", "bpf_filter": "udp port 1"},
    "reporters": ["discard"],
}


def test_the_nodes_are_listed(fleet: Fleet) -> None:
    status, out, errors = fleet("list", "--expect", "2", "--timeout", "60")
    assert (status, errors) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()] == [["NODE", "VERSION"], *([n, "0.1.0"] for n in NODES)]


def test_heartbeats_tell_who_is_to_answer(fleet: Fleet) -> None:
    begun = time.monotonic()
    status, out, _ = fleet("list", "--timeout", "120", heartbeats=True)
    assert status == 0
    assert len(out.splitlines()) == 3
    assert time.monotonic() - begun < 60  # no need to wait: all expected nodes have answered


def test_a_silent_node_is_named(fleet: Fleet, nodes: dict[str, Daemon]) -> None:
    one = nodes["edge-a"]
    beat = envelope.make_report("edge-gone", time.time(), tasks={})
    produce(one.broker, one.heartbeats, beat)  # type: ignore[attr-defined]
    status, out, _ = fleet("list", "--timeout", "5", heartbeats=True)
    assert status == 1
    assert "edge-gone  no answer; last heartbeat" in out
    assert "edge-b" in out


def test_a_task_is_created_and_deleted_on_one_node(fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "task.json"
    file.write_text(json.dumps(TASK))
    status, out, errors = fleet("create", "-f", str(file), "--target", "edge-b", "--timeout", "60")
    assert (status, errors) == (0, "")
    assert out.splitlines()[1].split() == ["edge-b", "replay", "created"]
    status, out, _ = fleet("status", "--expect", "2", "--json", "--timeout", "60")
    states = {
        node: {task["task_id"]: task["state"] for task in answer["result"]["tasks"]}
        for node, answer in json.loads(out)["answers"].items()
    }
    assert states == {"edge-a": {}, "edge-b": {"replay": "running"}}
    status, out, _ = fleet("delete", "replay", "--target", "*", "--expect", "2", "--timeout", "60")
    assert status == 1  # edge-a has no such task
    assert "edge-a  error: " in out
    assert ["edge-b", "replay", "deleted"] in [line.split() for line in out.splitlines()]


def test_nodes_that_run_other_versions_are_named(fleet: Fleet) -> None:
    """Both run the same core, and other versions of a plugin."""
    status, out, errors = fleet("status", "--expect", "2", "--timeout", "60")
    assert (status, errors) == (0, "")
    table = [line.split() for line in out.partition("versions differ:\n")[2].splitlines()]
    assert table == [
        ["DISTRIBUTION", "VERSION", "COUNT", "NODES"],
        ["otus-plugin-thirdparty", "1.4.0", "1", "edge-a"],
        ["otus-plugin-thirdparty", "1.5.0", "1", "edge-b"],
    ]
    status, out, _ = fleet("status", "--target", "edge-b", "--json", "--timeout", "60")
    (installed,) = json.loads(out)["versions"].values()
    assert (status, installed["otus-core"], installed["otus-plugin-thirdparty"]) == (0, "0.1.0", "1.5.0")


def test_a_silent_node_has_the_versions_of_its_last_heartbeat(fleet: Fleet, nodes: dict[str, Daemon]) -> None:
    one = nodes["edge-a"]
    wait(lambda: all("versions" in r.json for r in consume(one.broker, one.heartbeats)[:1]))  # type: ignore[attr-defined]
    beat = envelope.make_report("edge-old", time.time(), tasks={}, otus_version="0.0.9")
    produce(one.broker, one.heartbeats, beat)  # type: ignore[attr-defined]
    status, out, _ = fleet("status", "--timeout", "5", heartbeats=True)
    assert status == 1  # it is silent
    table = [line.split(maxsplit=3) for line in out.partition("versions differ:\n")[2].splitlines()]
    assert ["otus-core", "0.0.9", "1", "edge-old"] in table
    assert ["otus-core", "0.1.0", "2", "edge-a, edge-b"] in table


def test_what_is_wrong_with_a_task_is_shown(fleet: Fleet) -> None:
    bad = json.dumps({**TASK, "capture": {"type": "afpackt"}})
    status, out, _ = fleet("create", "-f", "-", "--target", "edge-a", "--timeout", "60", text=bad)
    assert status == 1
    assert "edge-a  error: " in out
    assert "afpacket" in out


def test_the_configuration_is_read_again(fleet: Fleet) -> None:
    status, out, _ = fleet("reload", "--target", "edge-a", "--timeout", "60")
    assert (status, out.splitlines()[1].split()[:2]) == (0, ["edge-a", "reloaded"])


def test_nobody_answers(fleet: Fleet) -> None:
    status, out, errors = fleet("list", "--target", "edge-x", "--timeout", "2")
    assert status == 1
    assert "edge-x  no answer" in out
    assert "no node answered within 2 s" in errors


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("list",), "name the brokers"),
        (("list", "--brokers", "not-a-broker.invalid"), "not-a-broker.invalid"),
        (("list", "--brokers", "127.0.0.1:9", "--timeout", "1"), "127.0.0.1:9"),
        (("create", "-f", "/no/such/file", "--target", "x", "--brokers", "127.0.0.1:9"), "/no/such/file"),
        (("list", "--brokers", "127.0.0.1:9", "--keys-file", "/no/keys"), "/no/keys"),
    ],
    ids=["none", "bad", "down", "no task file", "no keys"],
)
def test_what_cannot_work_is_explained(arguments: tuple[str, ...], reason: str) -> None:
    done = subprocess.run([OTUS, "fleet", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in ((2,) if reason == "name the brokers" else (1, 2))
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
