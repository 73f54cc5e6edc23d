"""What is no command: it is answered with what it lacks, holds up no command, and says nothing to who has no key."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from otus_kafka import envelope
from otus_kafka.answers import REFUSALS_BURST
from otus_kafka.settings import SigningConfig
from tests.patience import PATIENCE_S, wait

from .broker import Broker
from .client import consume
from .commanded import HOST, KEY, Node
from .node import Daemon

pytestmark = pytest.mark.kafka
TASK: dict[str, Any] = {
    "id": "sip-capture-01",
    "capture": {"type": "afpacket", "interface": "eth0", "bpf_filter": "udp port 5060"},
    "parsers": ["sip"],
    "reporters": ["console"],
}
PASTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "the plan's first form": ({"command": "task_create", "task": TASK}, "payload.config", ""),
    "method and params": ({"method": "task_create", "params": TASK, "id": "req-1"}, "are called command", "req-1"),
    "a request of the socket": ({"jsonrpc": "2.0", "method": "task_list", "id": 7}, "are called command", "7"),
    "a task": (TASK, "payload.config", ""),
    "below config": ({"config": TASK}, "payload.config", ""),
    "below task": ({"task": TASK}, "payload.config", ""),
    "for us alone": ({"command": "task_list", "target": HOST}, "lacks version, timestamp, request_id.", ""),
}
FLOOD = 20_000


@pytest.fixture
def node(broker: Broker, tmp_path: Path) -> Callable[..., Node]:
    return lambda **options: Node(broker, tmp_path, **options)


@pytest.mark.parametrize("form", PASTED)
def test_a_task_that_was_pasted_is_answered_with_what_is_missing(node: Callable[..., Node], form: str) -> None:
    value, advice, request_id = PASTED[form]
    one = node()
    one.produce(json.dumps(value).encode())
    one.run(lambda n: n.counted(refused_version=1, answers_sent=1))
    (answer,) = one.answered()
    problem = answer["error"]
    assert answer["request_id"] == request_id and problem["code"] == -32600
    assert "it lacks version" in problem["message"] and advice in problem["message"]
    assert '"version": "v1"' in problem["message"]  # an example to copy
    assert problem["data"] == {"record": {"topic": one.commands, "partition": 0, "offset": 0}}
    assert one.executed == []


def test_what_is_for_somebody_else_is_not_answered_here(node: Callable[..., Node]) -> None:
    one = node()
    one.produce(json.dumps({"target": "edge-2", "command": "task_create", "task": TASK}).encode())
    one.run(lambda n: n.counted(for_others=1))
    assert one.answered() == []


def test_a_task_beside_a_whole_envelope_is_told_where_it_belongs(node: Callable[..., Node]) -> None:
    one = node()
    one.send("task_create", payload=None, task=TASK, request_id="r")
    one.run(lambda n: n.counted(refused_malformed=1, answers_sent=1))
    (answer,) = one.answered()
    assert answer["error"]["message"] == "the task belongs below payload.config"


def test_all_that_is_wrong_with_a_command_is_told_at_once_and_only_to_who_is_answered(
    node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    problems = envelope.ENVELOPE.problems
    monkeypatch.setattr(envelope.ENVELOPE, "problems", lambda data: told.append(data) or problems(data))
    one = node()
    bad = {
        "version": "v1",
        "target": HOST,
        "command": "Task List",
        "time_stamp": "now",
        "payload": [],
        "request_id": "r",
    }
    for _ in range(1000):
        one.produce(json.dumps(bad).encode())
    one.run(lambda n: n.counted(refused_malformed=1000))
    message = one.answered()[0]["error"]["message"]
    assert "command: must match [a-z][a-z_]{0,63}, got" in message
    assert "payload: expected" in message and "timestamp: is required" in message
    assert "time_stamp: unknown key; did you mean timestamp?" in message
    assert len(told) < 100, "what nobody is told is not put into words"


def test_signed_channels_answer_only_who_has_a_key(node: Callable[..., Node], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{HOST} {KEY.hex()}\n")
    one = node(signing=SigningConfig(required=True, keys_file=str(keys)))
    value = json.dumps({"command": "task_create", "task": TASK}).encode()
    one.produce(value)
    one.produce(value, {envelope.SIGNATURE_HEADER: envelope.sign(bytes(32), value)})
    one.produce(b"{", {envelope.SIGNATURE_HEADER: envelope.sign(bytes(32), b"{")})
    one.send(target="edge-2", key=bytes(32))
    one.produce(value, {envelope.SIGNATURE_HEADER: envelope.sign(KEY, value)})
    one.run(
        lambda n: n.counted(refused_unsigned=1, refused_signature=2, for_others=1, refused_version=1, answers_sent=1)
    )
    (answer,) = one.answered()
    assert answer["error"]["data"]["record"]["offset"] == 4


def test_what_a_node_says_is_not_answered_where_both_topics_are_one(node: Callable[..., Node]) -> None:
    one = node()
    one.produce(envelope.make_answer("edge-2", "task_list", "r", {"result": {}}, 0.0))
    one.produce(envelope.make_report("edge-2", 0.0, tasks={}))
    one.run(lambda n: n.counted(refused_report=2))
    assert one.answered() == []


def test_a_command_sent_again_takes_no_turn_from_others(node: Callable[..., Node]) -> None:
    one = node(max_commands_per_second=0.5)  # five at once
    value = one.send(request_id="again")
    for _ in range(20):
        one.produce(value)
    one.send("good")
    one.run(lambda n: n.counted(executed=2, duplicates=20))
    assert [command for command, _ in one.executed] == ["task_list", "good"]


def flood(broker: Broker, topic: str, values: list[bytes], headers: list[tuple[str, bytes]]) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 5, "queue.buffering.max.messages": FLOOD})
    for n in range(FLOOD):
        producer.produce(topic, value=values[n % len(values)], headers=headers)
        producer.poll(0)
    assert producer.flush(PATIENCE_S) == 0


@pytest.fixture
def daemon(broker: Broker, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    made: list[Daemon] = []

    def make(**channel: Any) -> Daemon:
        made.append(Daemon(broker, tmp_path / "node", **channel))
        return made[0]

    yield make
    for one in made:
        one.end()


def test_twenty_thousand_malformed_records_hold_up_no_command(daemon: Callable[..., Daemon]) -> None:
    one = daemon()
    one.ask("task_list")
    bad: list[dict[str, Any]] = [
        {"command": "task_create", "task": TASK},
        {"version": "v1", "command": "task_list", "request_id": "x"},
        {"version": "v1", "target": one.host, "command": "task_list", "request_id": "y", "timestamp": "never"},
        {
            "version": "v1",
            "target": "*",
            "command": "task_list",
            "request_id": "z",
            "timestamp": "2001-01-01T00:00:00Z",
        },
    ]
    flood(one.broker, one.commands, [json.dumps(value).encode() for value in bad], [])
    assert "result" in one.ask("task_list")
    answers = [record.json for record in consume(one.broker, one.answers)]
    place = next(n for n, answer in enumerate(answers) if n and "result" in answer)
    counts = one.call("status")["command_channels"][0]["commands"]
    # Every record is counted once; the good one was answered when all those before it had been read, and few of them
    # answered.
    quarter = FLOOD // 4
    names = ("version", "no_target", "malformed", "expired")
    assert {name: counts[f"refused:{name}"] for name in names} == dict.fromkeys(names, quarter)
    assert counts["executed"] == 2
    assert counts["answers_withheld"] + counts["answers_sent"] - 2 == FLOOD
    assert place <= 2 + REFUSALS_BURST + 0.001 * FLOOD, Counter("error" in answer for answer in answers)


def test_twenty_thousand_forged_records_are_not_answered(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"edge-kafka-1 {KEY.hex()}\n")
    one = daemon(signing={"required": True, "keys_file": str(keys)})
    value = envelope.make_command(one.host, "task_list", {}, "bad", 0.0)
    flood(one.broker, one.commands, [value], [(envelope.SIGNATURE_HEADER, envelope.sign(bytes(32), value))])
    assert "result" in one.ask("task_list", key=KEY)
    counts = one.call("status")["command_channels"][0]["commands"]
    assert counts == {"answers_sent": 1, "executed": 1, "refused:signature": FLOOD}
    wait(lambda: len(consume(one.broker, one.answers)) == 1)
