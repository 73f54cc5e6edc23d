"""The command channel against a real broker: exactly the good commands are executed, once, and answered."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from otus_core import PluginInitFailed
from otus_kafka import envelope
from otus_kafka.settings import HeartbeatConfig, SigningConfig
from tests.patience import PATIENCE_S, took

from .broker import Broker
from .client import consume, make_topic, produce
from .commanded import HOST, INSTANCE, KEY, Node

pytestmark = pytest.mark.kafka


@pytest.fixture
def node(broker: Broker, tmp_path: Path) -> Callable[..., Node]:
    return lambda **options: Node(broker, tmp_path, **options)


def test_a_command_is_executed_and_answered_in_the_plans_form(node: Callable[..., Node]) -> None:
    one = node()
    one.send("task_list", request_id="req-1", payload={"a": 1})
    one.run(lambda n: n.counted(executed=1, answers_sent=1))
    assert one.executed == [("task_list", {"a": 1})]
    (answer,) = one.answered()
    assert abs(envelope.read_moment(answer.pop("timestamp")) - time.time()) < 60
    assert answer == {
        "version": "v1",
        "source": HOST,
        "instance": INSTANCE,
        "command": "task_list",
        "request_id": "req-1",
        "result": {"command": "task_list", "number": 1},
    }


def test_an_error_is_answered_as_an_error(node: Callable[..., Node]) -> None:
    one = node()
    one.send("fail", request_id="req-2")
    one.run(lambda n: n.counted(answers_sent=1))
    (answer,) = one.answered()
    assert answer["error"] == {"code": -32602, "message": "task_id: there is no task 'x'"}
    assert "result" not in answer


def test_without_a_request_id_there_is_no_answer(node: Callable[..., Node]) -> None:
    one = node()
    one.send(request_id=None)
    one.send(request_id="")
    one.run(lambda n: n.counted(executed=2))
    assert one.answered() == []


def test_only_our_commands_are_executed(node: Callable[..., Node]) -> None:
    one = node()
    one.send("first", target="edge-2")
    one.send("second", target="*")
    one.send("third", target="EDGE-1")
    one.send("fourth")
    one.run(lambda n: n.counted(executed=2, for_others=2))
    assert [command for command, _ in one.executed] == ["second", "fourth"]


BAD: list[tuple[str, dict[str, Any] | bytes, str, bool]] = [
    ("no target", {"target": None}, "no_target", True),
    ("empty target", {"target": ""}, "no_target", True),
    ("old", {"ahead": -400}, "expired", True),
    ("zero time", {"timestamp": "0001-01-01T00:00:00Z"}, "expired", True),
    ("future", {"ahead": 60}, "future", True),
    ("no time zone", {"timestamp": "2026-02-21T10:30:00"}, "malformed", True),
    ("no timestamp", {"timestamp": None}, "malformed", True),
    ("number as time", {"timestamp": 1771669800}, "malformed", True),
    ("version", {"version": "v2"}, "version", True),
    ("no version", {"version": None}, "version", True),
    ("payload", {"payload": [1]}, "malformed", True),
    ("command", {"command": "rm -rf /"}, "malformed", True),
    ("not JSON", b"{", "malformed", False),
    ("not an object", b"[1]", "malformed", False),
    ("deep", b"[" * 50_000, "malformed", False),
    ("not UTF-8", b'{"version":"\xff"}', "malformed", False),
    ("empty", b"", "malformed", False),
    ("too large", b'{"a":"' + b"x" * 70_000 + b'"}', "too_large", False),
]


def test_bad_commands_are_counted_by_reason_and_never_executed(node: Callable[..., Node]) -> None:
    one = node(max_command_bytes=65536)
    wanted: dict[str, int] = {}
    for _, about, reason, _ in BAD:
        if isinstance(about, bytes):
            one.produce(about)
        else:
            one.send(**{"request_id": "bad", **about})
        wanted[f"refused_{reason}"] = wanted.get(f"refused_{reason}", 0) + 1
    one.send("good")
    answered = sum(answered for *_, answered in BAD)
    one.run(lambda n: n.counted(executed=1, answers_sent=answered + 1, **wanted))
    assert [command for command, _ in one.executed] == ["good"]
    errors = [answer for answer in one.answered() if "error" in answer]
    assert len(errors) == answered


def test_a_repeated_request_is_executed_once_also_after_a_restart(node: Callable[..., Node]) -> None:
    one = node()
    value = one.send("task_create", request_id="once")
    one.produce(value)
    one.run(lambda n: n.counted(executed=1, duplicates=1))
    one.produce(value)
    one.run(lambda n: n.counted(duplicates=1))
    assert len(one.executed) == 1


def test_what_is_kept_is_synced_beside_the_event_loop(
    node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes its time would hold up the whole daemon."""
    synced: list[bool] = []
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)

        def sync(descriptor: int, real: Callable[[int], None] = real) -> None:
            synced.append(asyncio._get_running_loop() is not None)
            real(descriptor)

        monkeypatch.setattr(os, name, sync)
    n = node()
    n.send()

    async def work(n: Node) -> None:
        await n.counted(executed=1)

    n.run(work)
    assert len(synced) >= 2 and not any(synced)


def test_a_restart_goes_on_where_it_stopped(node: Callable[..., Node]) -> None:
    one = node()
    one.send("first")
    one.run(lambda n: n.counted(executed=1))
    one.send("while_away")
    one.run(lambda n: n.counted(executed=1))
    assert [command for command, _ in one.executed] == ["first", "while_away"]


def test_signed_commands(node: Callable[..., Node], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# one line a target\n{HOST} {KEY.hex()}\n")
    one = node(signing=SigningConfig(required=True, keys_file=str(keys)))
    good = one.send("good", key=KEY)
    one.send("unsigned")
    one.send("wrong_key", key=bytes(32))
    one.send("broadcast", target="*", key=KEY)
    one.send("no_id", key=KEY, request_id="")
    one.produce(good.replace(b"good", b"evil"), {envelope.SIGNATURE_HEADER: envelope.sign(KEY, good)})
    one.produce(good, {envelope.SIGNATURE_HEADER: envelope.sign(KEY, good)})
    one.run(
        lambda n: n.counted(executed=1, duplicates=1, refused_unsigned=1, refused_signature=3, refused_no_request_id=1)
    )
    assert [command for command, _ in one.executed] == ["good"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("edge-1\n", "line 1"), ("a 00\n", "at least 16 bytes"), (f"a {'zz' * 16}", "line 1"), (None, "No such file")],
    ids=["no key", "short", "not hex", "no file"],
)
def test_a_file_of_keys_that_cannot_be_used(
    node: Callable[..., Node], tmp_path: Path, text: str | None, reason: str
) -> None:
    keys = tmp_path / "keys"
    if text is not None:
        keys.write_text(text)
    with pytest.raises(PluginInitFailed, match=reason):
        node(signing=SigningConfig(keys_file=str(keys)))


def test_a_flood_is_bounded(node: Callable[..., Node]) -> None:
    one = node(max_commands_per_second=1)
    for _ in range(50):
        one.send()

    async def all_fifty(n: Node) -> None:
        counts = await n.counted(executed=10)
        while counts["executed"] + counts.get("refused:rate", 0) < 50:
            await asyncio.sleep(0.05)
            counts = await n.counted(executed=10)

    spent = took(lambda: one.run(all_fifty))
    assert 10 <= len(one.executed) <= 10 + 1 + spent  # at once, and then one a second
    assert len(one.executed) < 50


def test_a_slow_command_does_not_stop_the_polling(node: Callable[..., Node]) -> None:
    one = node(command_timeout=1.0)

    async def work(n: Node) -> None:
        n.pause = 3.0
        n.send("slow", request_id="slow")
        await n.counted(answers_sent=1)
        n.pause = 0.0
        n.send("next", request_id="next")
        await n.counted(answers_sent=2)

    one.run(work)
    slow, after = one.answered()
    assert (slow["request_id"], after["request_id"]) == ("slow", "next")
    assert "not done within 1 s" in slow["error"]["message"]


def test_a_broker_that_is_not_there_is_said_and_survived(broker: Broker, tmp_path: Path) -> None:
    one = Node(broker, tmp_path, address="127.0.0.1:9")

    async def work(n: Node) -> None:
        until = time.monotonic() + PATIENCE_S
        while "127.0.0.1:9" not in n.channel.status()["last_error"] and time.monotonic() < until:
            await asyncio.sleep(0.05)
        assert n.channel.status()["connected"] is False
        assert "127.0.0.1:9" in n.channel.status()["last_error"]

    one.run(work)


def test_heartbeats_and_events(broker: Broker, tmp_path: Path) -> None:
    beats, events = make_topic(broker, 1), make_topic(broker, 1)
    one = Node(broker, tmp_path, heartbeat=HeartbeatConfig(topic=beats, interval=1.0, events_topic=events))
    rows = [{"task_id": "t", "state": "failed", "reason": "eth9 is not there"}]

    async def handle(command: str, _payload: Mapping[str, Any]) -> Mapping[str, Any]:
        if command == "task_status":
            return {"result": {"tasks": list(rows)}}
        if command == "daemon_status":
            return {"result": {"version": "0.1.0", "uptime_sec": 5.0, "tasks": {"t": "failed"}}}
        return {"result": {"tasks": {"t": {"counters": {"kernel_drop": 3, "reporters": {"k": {"dropped": {"a": 2}}}}}}}}

    one.handle = handle  # type: ignore[method-assign]

    async def told(count: int) -> None:
        until = time.monotonic() + PATIENCE_S
        while len(await asyncio.to_thread(consume, broker, events)) < count and time.monotonic() < until:
            await asyncio.sleep(0.2)

    async def work(n: Node) -> None:
        await told(1)
        n.channel.otus_task_state_changed("t", "failed", "starting", "")
        n.channel.otus_task_state_changed("t", "starting", "failed", "again")
        rows.clear()
        await told(4)

    one.run(work)
    said = [
        tuple(r.json[key] for key in ("task_id", "old", "new", "reason", "instance")) for r in consume(broker, events)
    ]
    assert said == [
        ("t", "", "failed", "eth9 is not there", INSTANCE),
        ("t", "failed", "starting", "", INSTANCE),
        ("t", "starting", "failed", "again", INSTANCE),
        ("t", "failed", "gone", "", INSTANCE),
    ]
    beat = consume(broker, beats)[0].json
    assert (beat["version"], beat["source"], beat["otus_version"], beat["uptime_sec"]) == ("v1", HOST, "0.1.0", 5.0)
    assert (beat["instance"], beat["tasks"]) == (INSTANCE, {"t": "failed"})
    assert beat["drops"] == {"t": {"kernel": 3, "reporter:k": 2}}


def test_a_broker_that_is_restarted(own_broker: Broker, tmp_path: Path) -> None:
    one = Node(own_broker, tmp_path)

    async def work(n: Node) -> None:
        n.send("before")
        await n.counted(executed=1)
        own_broker.stop()
        own_broker.start()  # here, not in a thread: the broker dies with the thread that started it
        n.send("after")
        await n.counted(executed=2)

    one.run(work)
    assert [command for command, _ in one.executed] == ["before", "after"]


async def until_status(n: Node, connected: bool) -> None:
    until = time.monotonic() + PATIENCE_S
    while n.channel.status()["connected"] is not connected:
        assert time.monotonic() < until, n.channel.status()
        await asyncio.sleep(0.05)


async def is_back(broker: Broker, n: Node) -> None:
    """Start a broker again, and see that the node takes commands again, those it missed too."""
    broker.start()
    n.send("after")
    await n.counted(executed=2)
    await until_status(n, connected=True)


@pytest.mark.slow
def test_a_broker_that_goes_while_it_is_told_how_far_we_are_is_missed(
    own_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client library's ``commit()`` asks again and again then, and says nothing to us."""
    one = Node(own_broker, tmp_path, request_timeout=1.0)
    commit = AIOKafkaConsumer.commit

    async def killing(consumer: AIOKafkaConsumer, offsets: Any = None) -> None:
        if offsets is None and own_broker.running:  # what was read, not where we begin
            own_broker.signal(signal.SIGKILL)
        await commit(consumer, offsets)

    async def work(n: Node) -> None:
        monkeypatch.setattr(AIOKafkaConsumer, "commit", killing)
        n.send("before")
        await until_status(n, connected=True)
        await until_status(n, connected=False)
        monkeypatch.undo()
        await is_back(own_broker, n)

    one.run(work)
    assert [command for command, _ in one.executed] == ["before", "after"]


@pytest.mark.slow
def test_a_broker_that_is_away_for_long_ends_nothing(own_broker: Broker, tmp_path: Path) -> None:
    """The client library's ``stop()`` raises CancelledError then, which ended the channel for good."""
    one = Node(own_broker, tmp_path, request_timeout=1.0)

    async def work(n: Node) -> None:
        n.send("before")
        await n.counted(executed=1)
        await asyncio.to_thread(own_broker.signal, signal.SIGKILL)
        await until_status(n, connected=False)
        await asyncio.sleep(8)  # longer than six requests: the consumer has been thrown away and made anew
        await is_back(own_broker, n)

    one.run(work)
    assert [command for command, _ in one.executed] == ["before", "after"]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_small_record_that_inflates_hugely_is_skipped_unread(node: Callable[..., Node], codec: str) -> None:
    one = node(max_command_bytes=65536)
    size = 4 << 20 if codec == "snappy" else 20 << 20  # snappy gains less
    produce(one.broker, one.commands, bytes(size), codec=codec)
    one.send("good")
    produce(one.broker, one.commands, command("small"), codec=codec)

    async def work(n: Node) -> None:
        await n.counted(executed=2, refused_inflated=1)

    one.run(work)
    assert [name for name, _ in one.executed] == ["good", "small"]


def command(name: str) -> bytes:
    return envelope.make_command(HOST, name, {}, f"r{time.monotonic_ns()}", time.time())


def test_a_record_that_ended_the_process_is_skipped_by_the_next(node: Callable[..., Node]) -> None:
    one = node()
    one.send("deadly")
    one.send("good")
    config = one._config
    script = f"""
import asyncio, os, signal
from otus_core import Context
from otus_kafka import gate
from otus_kafka.channel import KafkaChannel
from otus_kafka.settings import KafkaChannelConfig
gate.read_object = lambda value: os.kill(os.getpid(), signal.SIGKILL)
async def main():
    channel = KafkaChannel(KafkaChannelConfig(brokers={config.brokers!r}, topic={config.topic!r},
        response_topic={config.response_topic!r}, group_id={config.group_id!r}, auto_offset_reset="earliest"))
    channel.wire(Context(task_id="", agent_id="{HOST}", hostname="{HOST}", data_dir={str(one._folder)!r}))
    await channel.start(None)
    await asyncio.sleep({PATIENCE_S})
asyncio.run(main())
"""
    died = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    one.run(lambda n: n.counted(executed=1, refused_unfinished=1))
    assert [name for name, _ in one.executed] == ["good"]
