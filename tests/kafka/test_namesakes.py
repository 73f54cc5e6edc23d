"""Two daemons with one host name on one broker: each says so, and ``otus fleet`` shows both."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.net import OTUS, control
from tests.patience import free_port, wait

from .broker import Broker
from .client import consume, make_topic
from .node import Daemon

pytestmark = pytest.mark.kafka
HOST = "edge-twin"
KEY = bytes(range(32))


@pytest.fixture
def topics(broker: Broker) -> tuple[str, str, str]:
    """Commands, answers and heartbeats. Of the last two one partition of several holds what has our name."""
    return make_topic(broker, 1), make_topic(broker, 4), make_topic(broker, 4)


@pytest.fixture
def daemons(broker: Broker, topics: tuple[str, str, str], tmp_path: Path) -> Iterator[list[Daemon]]:
    keys = tmp_path / "keys"
    keys.write_text(f"{HOST} {KEY.hex()}\n")
    heartbeat, signing = {"topic": topics[2], "interval": 1.0}, {"keys_file": str(keys)}
    made = [
        Daemon(
            broker,
            tmp_path / name,
            HOST,
            topics[:2],
            metrics=f"127.0.0.1:{free_port()}",
            heartbeat=heartbeat,
            signing=signing,
        )
        for name in ("one", "two")
    ]
    yield made
    for daemon in made:
        daemon.end()


def namesakes(daemon: Daemon) -> dict[str, Any]:
    return dict(channel_of(daemon).get("namesakes", {}))


def channel_of(daemon: Daemon) -> dict[str, Any]:
    """Give the channel's state; ``otus status`` ends with 1 while the channel still connects."""
    _, answer, _ = control(daemon.folder, "status")
    return dict(answer["command_channels"][0])


def metric(daemon: Daemon) -> float:
    address = json.loads(daemon.config.read_text())["otus"]["metrics"]["listen"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith("otus_command_channel_namesakes{")).split()[-1])


def log_of(daemon: Daemon) -> str:
    return (daemon.folder / "otus.log").read_text()


def test_two_daemons_with_one_name_are_noticed(
    broker: Broker, daemons: list[Daemon], topics: tuple[str, str, str]
) -> None:
    for daemon in daemons:
        wait(lambda d=daemon: (d.folder / "o.sock").exists() and namesakes(d), what="the other one")  # type: ignore[misc]
        ((instance, about),) = namesakes(daemon).items()
        assert about.startswith("127.0.0.1, last heard of 2") and about.endswith(", signed")
        assert "node_name_used_twice" in log_of(daemon) and instance in log_of(daemon)
        assert "otus.node.hostname" in channel_of(daemon)["warning"]
        assert metric(daemon) == 1
    wait(lambda: len(consume(broker, topics[2])) >= 6)
    about = ["--brokers", broker.bootstrap, "--topic", topics[0], "--response-topic", topics[1]]
    done = subprocess.run(
        [OTUS, "fleet", "list", *about, "--heartbeat-topic", topics[2], "--timeout", "60"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    rows = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    instances = {next(iter(namesakes(daemon))) for daemon in daemons}
    assert done.returncode == 1
    assert rows[0] == HOST and len(rows) == 2 and rows[1].removeprefix(f"{HOST}#") in instances, done.stdout
    assert f"note: {HOST}: several nodes have this name: " in done.stderr


@pytest.mark.slow
def test_a_daemon_that_was_restarted_is_no_other_node(
    broker: Broker, daemons: list[Daemon], topics: tuple[str, str, str]
) -> None:
    one, two = daemons
    two.end()
    one.ask("task_list")
    one.kill()
    one.start()
    one.ask("task_list")
    earlier = len(consume(broker, topics[2]))
    wait(lambda: len(consume(broker, topics[2])) >= earlier + 3)
    assert "node_name_used_twice" not in log_of(one).rpartition("daemon_ready")[2]
    assert namesakes(one) == {} and metric(one) == 0
