"""A node that is run from afar: commands over Kafka to a real daemon, sipp calls over a veth, messages in the data
topic.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otus_kafka import envelope
from tests.live.net import Pair, control, sipp_answers
from tests.patience import PATIENCE_S, wait

from .broker import Broker
from .client import consume, make_topic, produce
from .described import hold
from .node import HOST, Daemon

pytestmark = [pytest.mark.kafka, pytest.mark.live]
CALLS = 20


@pytest.fixture
def daemon(broker: Broker, tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(broker, tmp_path)
    yield made
    made.end()


@contextmanager
def own_wire() -> Iterator[tuple[Pair, str]]:
    """Give a veth pair whose near end is here, beside the broker; sipp answers on it, and calls from the far end."""
    pair = Pair(f"otusk{os.getpid() % 100_000}")
    # here, where others may do the same: addresses of our own, out of those that are for tests (RFC 2544)
    third, fourth = divmod(4 * (os.getpid() % 16384), 256)
    pair.NEAR, pair.FAR = (f"198.18.{third}.{fourth + n}" for n in (1, 2))
    subprocess.run(["ip", "-n", pair.far, "addr", "flush", "dev", "eth0"], check=True)
    subprocess.run(["ip", "-n", pair.far, "addr", "add", f"{pair.FAR}/30", "dev", "eth0"], check=True)
    name = f"ok{os.getpid() % 100_000}"
    subprocess.run(["ip", "-n", pair.near, "link", "set", "eth0", "down"], check=True)
    subprocess.run(["ip", "-n", pair.near, "link", "set", "eth0", "name", name, "netns", str(os.getpid())], check=True)
    subprocess.run(["ip", "addr", "add", f"{pair.NEAR}/30", "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    try:
        yield pair, name
    finally:
        subprocess.run(["ip", "link", "del", name], check=False)
        pair.remove()


@pytest.fixture
def wire() -> Iterator[tuple[Pair, str]]:
    """A veth pair whose near end is here, for one test."""
    with own_wire() as made:
        yield made


def make_calls(pair: Pair, folder: Path) -> None:
    with sipp_answers(pair.NEAR, folder):
        command = ("sipp", "-sn", "uac", f"{pair.NEAR}:5060", "-i", pair.FAR, "-p", 5060, "-nostdin")
        pair.run(pair.far, *command, "-m", CALLS, "-r", 20, "-d", 10, cwd=folder, timeout=120)


def test_a_task_made_from_afar_reports_every_message(daemon: Daemon, wire: tuple[Pair, str], tmp_path: Path) -> None:
    pair, interface = wire
    task = {
        "id": "calls",
        "capture": {"type": "afpacket", "interface": interface, "bpf_filter": "udp port 5060"},
        "parsers": ["sip"],
        "reporters": [{"type": "kafka", "config": {"topic": daemon.data}}],
    }
    made = daemon.ask("task_create", {"config": task})
    assert made.get("result") == {"task_id": "calls", "status": "created"}, made
    assert (made["source"], made["version"]) == (HOST, "v1")
    make_calls(pair, tmp_path)
    wait(lambda: len(consume(daemon.broker, daemon.data)) >= CALLS * 6, what="messages in the data topic")
    records = consume(daemon.broker, daemon.data)
    by_call: dict[str, set[int]] = {}
    for record in records:
        labels = record.json["labels"]
        assert record.json["task_id"] == "calls" and record.json["agent_id"] == HOST
        assert record.key == labels["sip.call_id"]
        assert record.headers["task_id"] == "calls"
        by_call.setdefault(labels["sip.call_id"], set()).add(record.partition)
    assert len(by_call) == CALLS
    assert {len(partitions) for partitions in by_call.values()} == {1}
    wait(lambda: daemon.call("task", "status", "calls")["counters"]["unaccounted"] == 0)
    assert daemon.ask("task_status", {"task_id": "calls"})["result"]["state"] == "running"
    assert daemon.ask("task_list", target="*")["result"] == {"tasks": ["calls"], "count": 1}
    assert daemon.ask("task_delete", {"task_id": "calls"})["result"] == {"task_id": "calls", "status": "deleted"}
    gone = daemon.ask("task_delete", {"task_id": "calls"})
    assert "calls" in gone["error"]["message"]


def test_each_command_from_afar_is_logged_with_its_place_in_the_topic(broker: Broker, tmp_path: Path) -> None:
    key = bytes(range(32))
    (tmp_path / "keys").write_text(f"{HOST} {key.hex()}\n")
    signing = {"required": False, "keys_file": str(tmp_path / "keys")}
    heartbeat = {"topic": make_topic(broker, 1), "interval": "1s"}
    daemon = Daemon(broker, tmp_path / "node", level="debug", signing=signing, heartbeat=heartbeat)
    try:
        daemon.ask("task_list")
        daemon.ask("task_delete", {"task_id": "none"}, key=key)
        daemon.ask("task_create", {"config": {"id": "bad"}})
        stale = envelope.make_command(HOST, "task_list", {}, "old", time.time() - 3600)
        produce(broker, daemon.commands, stale)
        wait(lambda: daemon.logged("command_refused"), what="the old one is refused")
        wait(lambda: consume(broker, heartbeat["topic"]), what="a heartbeat")
        told = daemon.logged("command_executed")
        asked = [entry for entry in told if entry.get("principal") != "heartbeat" and entry["channel"] == "kafka"]
        names = ("principal", "topic", "partition", "offset", "command", "task", "result", "level", "node")
        who = ("unsigned", daemon.commands, 0)
        assert [tuple(entry[name] for name in names) for entry in asked] == [
            (*who, 0, "task_list", "", "done", "info", HOST),
            (f"key of {HOST}", daemon.commands, 0, 1, "task_delete", "none", "error", "info", HOST),
            (*who, 2, "task_create", "bad", "error", "info", HOST),
        ]
        assert all(entry["request_id"] for entry in asked)
        assert "none" in asked[1]["error"]
        (refused,) = daemon.logged("command_refused")
        assert (refused["topic"], refused["partition"], refused["offset"]) == (daemon.commands, 0, 3)
        written = [entry for entry in daemon.logged("answer_written") if entry["channel"] == "kafka"]
        assert [entry["command"] for entry in written[:3]] == ["task_list", "task_delete", "task_create"]
        assert {entry["topic"] for entry in written} == {daemon.answers}
        assert {entry["level"] for entry in told if entry.get("principal") == "heartbeat"} == {"debug"}
        hold(consume(broker, heartbeat["topic"]), "heartbeat")
        hold(consume(broker, daemon.answers), "answer")
    finally:
        daemon.end()


def test_a_channel_that_takes_unsigned_commands_says_so(daemon: Daemon) -> None:
    assert daemon.ask("task_list")["result"]["count"] == 0
    (entry,) = daemon.logged("command_channel_unsigned")
    assert (entry["level"], entry["topic"]) == ("warning", daemon.commands)
    _, status, _ = control(daemon.folder, "status")
    (channel,) = status["command_channels"]
    assert "whoever can write to the topic commands this node" in channel["warning"]


def test_a_node_that_is_shut_down_from_afar_answers_and_then_ends(broker: Broker, tmp_path: Path) -> None:
    daemon = Daemon(broker, tmp_path / "node")
    try:
        assert daemon.ask("daemon_shutdown")["result"] == {"status": "shutting_down"}
        assert daemon.process.wait(timeout=PATIENCE_S) == 0
    finally:
        daemon.end()


def test_what_is_wrong_with_a_task_is_told_from_afar(daemon: Daemon) -> None:
    answer = daemon.ask("task_create", {"config": {"id": "x", "capture": {"type": "afpackt"}, "reporters": ["kafka"]}})
    assert "capture.type" in answer["error"]["message"]
    assert daemon.ask("no_such_command")["error"]["code"] == -32601


def test_a_task_from_afar_cannot_send_this_nodes_password_elsewhere(daemon: Daemon) -> None:
    task = {"id": "x", "capture": {"type": "afpacket", "interface": "lo"}, "reporters": []}
    for config in (
        {"brokers": ["127.0.0.1:9"]},
        {"tls": {"enabled": False}},
        {"sasl": {"password_file": "/etc/passwd"}},
    ):
        reporter = {"type": "kafka", "config": {"topic": daemon.data, **config}}
        answer = daemon.ask("task_create", {"config": {**task, "reporters": [reporter]}})
        assert answer["error"]["message"].startswith("not allowed: reporters[0].config."), answer
    file = {"id": "x", "capture": {"type": "pcap", "files": ["/etc/passwd"]}, "reporters": ["console"]}
    assert "capture_paths" in daemon.ask("task_create", {"config": file})["error"]["message"]
    assert daemon.call("status")["command_channels"][0]["warning"].startswith("commands need no signature")


@pytest.mark.slow
def test_events_tell_that_a_task_failed_and_why(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = make_topic(broker, 1)
    daemon = Daemon(broker, tmp_path, heartbeat={"events_topic": events})

    def said() -> list[tuple[str, str, str]]:
        told = (record.json for record in consume(broker, events))
        return [(event["old"], event["new"], event["reason"]) for event in told if event["task_id"] == "wanted"]

    try:
        capture = {"type": "afpacket", "interface": "lo", "bpf_filter": "udp port 1"}
        task = {"id": "wanted", "capture": capture, "parsers": ["sip"], "reporters": ["discard"]}
        assert "result" in daemon.ask("task_create", {"config": task})
        wait(lambda: ("starting", "running", "") in said())
        daemon.end()
        monkeypatch.setenv("OTUS_DISABLED_PLUGINS", "sip")
        daemon.start()
        wait(lambda: any(new == "failed" for _, new, _ in said()), what="the failure")
        assert all("parser 'sip' cannot be used" in reason for _, new, reason in said() if new == "failed"), said()
        hold(consume(broker, events), "event")
    finally:
        daemon.end()
