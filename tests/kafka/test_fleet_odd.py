"""``otus fleet`` reads what anybody may have written: odd and forged answers cost no other node its row."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from otus_kafka import envelope
from otus_kafka.fleet_reading import NOTES_MAX, Heartbeats, Notes, Reader
from tests.live.net import OTUS
from tests.patience import wait

from .broker import Broker
from .client import consume, make_topic, produce
from .node import Daemon

HOST = "edge-a"
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
ODD_RESULTS: dict[str, Any] = {
    "odd-text": {"version": "1", "uptime_sec": "long"},
    "odd-list": [1, 2],
    "odd-nothing": None,
    "odd-huge": {"uptime_sec": 10**400},
}


class Commanded:
    """A run of ``otus fleet`` that waits for answers, and the record of its command."""

    def __init__(self, daemon: Daemon, *arguments: str) -> None:
        self.daemon = daemon
        before = len(consume(daemon.broker, daemon.commands))
        about = ["--brokers", daemon.broker.bootstrap, "--topic", daemon.commands, "--timeout", "60"]
        self._process = subprocess.Popen(
            [OTUS, "fleet", *arguments, *about, "--response-topic", daemon.answers],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait(lambda: len(consume(daemon.broker, daemon.commands)) > before, what="the command")
        self.request_id = consume(daemon.broker, daemon.commands)[before].json["request_id"]

    def answer(self, source: str, key: bytes | None = None, **answer: Any) -> None:
        value = envelope.make_answer(source, "daemon_status", self.request_id, answer, 0.0, "f0")
        self.write(value, source, {envelope.SIGNATURE_HEADER: envelope.sign(key, value)} if key else None)

    def write(self, value: bytes, source: str, headers: dict[str, bytes] | None = None) -> None:
        produce(self.daemon.broker, self.daemon.answers, value, source.encode(), headers)

    def end(self) -> tuple[int, str, str]:
        out, errors = self._process.communicate(timeout=120)
        return self._process.returncode, out, errors


@pytest.fixture
def daemon(broker: Broker, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    made: list[Daemon] = []

    def make(**channel: Any) -> Daemon:
        made.append(Daemon(broker, tmp_path / "node", HOST, **channel))
        made[0].ask("task_list", key=KEY)
        return made[0]

    yield make
    for one in made:
        one.end()


@pytest.mark.kafka
def test_odd_answers_cost_no_other_node_its_row(daemon: Callable[..., Daemon]) -> None:
    run = Commanded(daemon(), "list", "--expect", str(len(ODD_RESULTS) + 4))
    for source, result in ODD_RESULTS.items():
        run.answer(source, result=result)
    run.answer("odd-error", error="no")
    run.answer("odd-shadow", error={"message": ["no"]})
    deep = "[" * 200 + "]" * 200
    for source, text in {"odd-deep": deep, "odd-nan": "NaN", "odd-infinite": "1e999"}.items():
        run.write(
            f'{{"version":"v1","source":"{source}","request_id":"{run.request_id}","result":{{"a":{text}}}}}'.encode(),
            source,
        )
    run.write(f"{run.request_id} \x1b[31m".encode(), "odd-\x1b[31m")
    run.answer("edge-b", result={"version": "0.1.0", "uptime_sec": 93_784.2, "task_count": 2})
    status, out, errors = run.end()
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert rows[HOST].split()[1] == "0.1.0" and rows["edge-b"].split() == ["edge-b", "0.1.0", "1", "d", "2", "h", "2"]
    for source in (*ODD_RESULTS, "odd-error", "odd-shadow"):
        assert "error: odd answer" in rows[source], out
    for source in ("odd-deep", "odd-nan", "odd-infinite", "odd-\\x1b[31m"):
        assert f"note: {source}: a record that is no answer" in errors
    assert status == 1 and "Traceback" not in errors and "\x1b" not in out + errors


@pytest.mark.kafka
@pytest.mark.slow
def test_forged_answers_are_put_aside_and_unsigned_ones_marked(
    daemon: Callable[..., Daemon], broker: Broker, tmp_path: Path
) -> None:
    beats, keys, all_keys = make_topic(broker, 1), tmp_path / "keys", tmp_path / "all"
    keys.write_text(f"{HOST} {KEY.hex()}\n* {OTHER_KEY.hex()}\n")
    all_keys.write_text(keys.read_text() + f"edge-old {OTHER_KEY.hex()}\nedge-forged {KEY.hex()}\n")
    one = daemon(signing={"required": True, "keys_file": str(keys)}, heartbeat={"topic": beats, "interval": 1.0})
    wait(lambda: len(consume(broker, beats)) > 0)
    for record in (*consume(broker, beats), *consume(broker, one.answers)):
        signature = envelope.sign(KEY, record.value.encode()).decode()
        assert record.headers[envelope.SIGNATURE_HEADER] == signature
        assert len(record.json["instance"]) == 16
    about = ("--keys-file", str(all_keys), "--heartbeat-topic", beats, "--expect", "2", "--json")
    run = Commanded(one, "list", *about)
    fine = {"version": "9.9.9", "uptime_sec": 1, "task_count": 1}
    run.answer(HOST, result=fine)
    run.answer(HOST, OTHER_KEY, result=fine)
    run.answer("edge-forged", OTHER_KEY, result=fine)
    run.answer("edge-old", result=fine)
    status, out, _ = run.end()
    told = json.loads(out)
    assert status == 0
    assert told["signed"] == {HOST: "yes", "edge-old": "no"}
    assert told["answers"][HOST]["result"]["version"] == "0.1.0"
    notes = {note.partition(":")[0] for note in told["notes"]}
    assert notes == {HOST, "edge-forged"}, told["notes"]
    assert any("forged answer" in note for note in told["notes"])


@attrs.frozen
class Record:
    """What the client library gives, as far as it is read."""

    value: bytes
    offset: int
    key: bytes = HOST.encode()
    headers: tuple[tuple[str, bytes], ...] = ()


def beats_of(*instances: str) -> Heartbeats:
    notes = Notes()
    made = Heartbeats(Reader({}, notes), notes)
    for n, instance in enumerate(instances):
        made.take(Record(envelope.make_report(HOST, 0.0, instance=instance), n))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("instances", "at_once"),
    [("aaaa", ""), ("aaabbb", ""), ("abab", "ab"), ("aab" + "a", "ab"), ("abbcc", ""), ("abcabc", "abc")],
)
def test_a_restart_is_not_taken_for_two_nodes(instances: str, at_once: str) -> None:
    found = beats_of(*instances).namesakes()
    assert {node: set(known) for node, known in found.items()} == ({HOST: set(at_once)} if at_once else {})


def test_notes_are_one_a_node_and_bounded() -> None:
    notes = Notes()
    for n in range(1000):
        notes.add(f"edge-{n % 500}", f"odd {n}")
    lines = notes.lines()
    assert lines[:2] == ["edge-0: odd 0", "edge-1: odd 1"]
    assert len(lines) == NOTES_MAX + 1
    assert lines[-1] == f"and {1000 - 2 * NOTES_MAX} more records of other nodes that are odd"
