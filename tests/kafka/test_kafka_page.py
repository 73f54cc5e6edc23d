"""The page for those who read the topics: its examples work on what a node sends to a real broker for real calls."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from otus_kafka.encoding import partition_hash
from tests import needs
from tests.needs import ROOT
from tests.patience import PATIENCE_S

from .broker import Broker
from .client import Record, consume, make_topic

OTUS = str(Path(sys.executable).with_name("otus"))
PAGE = (ROOT / "docs" / "kafka.md").read_text()
TASK = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
SQL = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
KINDS = ("sip", "icmp", "stream", "rtcp", "call", "registration")
PARTITIONS = 3


@pytest.fixture(scope="module")
def records(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Record]]:
    """What the page's task sends for captures of calls, by topic."""
    prefix = make_topic(broker, 1)  # a name that nobody else has
    for kind in KINDS:
        make_topic(broker, PARTITIONS, name=f"{prefix}-{kind}")
    task = {**TASK, "capture": {}}
    task["reporters"][0]["config"] |= {"brokers": [broker.bootstrap], "topic_prefix": prefix}
    path = tmp_path_factory.mktemp("page") / "task.json"
    path.write_text(json.dumps(task))
    captures = [str(one) for one in (ROOT / "examples").glob("*.pcap")]
    captures.append(str(needs.corpora() / "goffinet__sip-2phones-B2BUA-Asterisk.pcapng"))
    done = subprocess.run([OTUS, "run", "-q", "-t", str(path), *captures], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {f"{prefix}-{kind}": consume(broker, f"{prefix}-{kind}") for kind in KINDS}


def test_every_message_is_as_the_schema_says_that_its_header_names(records: dict[str, list[Record]]) -> None:
    for topic, found in records.items():
        if not found:
            continue
        kind = topic.rpartition("-")[2]
        schema = json.loads(subprocess.run([OTUS, "schema", kind], capture_output=True, check=True).stdout)
        validator = jsonschema.Draft202012Validator(schema)
        for record in found:
            assert record.headers["schema"] == schema["$id"]
            validator.validate(record.json)
            at = int(record.headers["timestamp_ns"])
            assert at // 1_000_000 == record.json["timestamp"] == int(record.headers["timestamp"])
    assert {topic.rpartition("-")[2] for topic, found in records.items() if found} >= {"sip", "call", "stream"}


def test_equal_keys_are_in_one_partition_of_every_topic(records: dict[str, list[Record]]) -> None:
    """What belongs to one call can be joined without being sent around."""
    calls = {record.key for topic, found in records.items() for record in found if topic.endswith("-call")}
    joined = set()
    for topic, found in records.items():
        for record in found:
            assert record.key is not None
            assert record.partition == partition_hash(record.key.encode()) % PARTITIONS
            if record.key in calls:
                joined.add(topic.rpartition("-")[2])
    assert joined >= {"sip", "call", "stream"}


def test_the_python_consumer_reads_the_calls(broker: Broker, records: dict[str, list[Record]]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    topic, found = next((topic, found) for topic, found in records.items() if topic.endswith("-call"))
    about = {"BROKERS": broker.bootstrap, "TOPIC": topic, "CALLS": str(len(found))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **about},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(found) + 1
    assert sum(eval(lines[-1]).values()) == len(found)


@pytest.mark.on_demand
def test_the_queries_for_clickhouse_work(records: dict[str, list[Record]]) -> None:
    """On the embedded engine, which has no Kafka: a table in memory stands in the queue's place."""
    from chdb import session  # half a gigabyte, which nox -s clickhouse installs

    queue, calls, view, *queries = SQL[:5]
    database: Any = session.Session()
    memory = re.sub(r"ENGINE = Kafka.*?;", "ENGINE = Memory;", queue, flags=re.DOTALL)
    lasting = re.sub(r"\nTTL .*?;", ";", calls)  # these captures are years old
    for statement in (memory, lasting, view):
        database.query(statement)
    found = next(found for topic, found in records.items() if topic.endswith("-call"))
    for record in [*found, found[0]]:  # the first arrives twice
        value = json.dumps(record.json).replace("\\", "\\\\").replace("'", "\\'")
        database.query(f"INSERT INTO otus_call_queue VALUES ('{value}')")
    hours, flags = ([json.loads(line) for line in str(database.query(q, "JSONEachRow")).splitlines()] for q in queries)
    payloads = [record.json["payload"] for record in found]
    assert sum(int(row["calls"]) for row in hours) == len(payloads)
    assert sum(int(row["answered"]) for row in hours) == sum(one["code"] == 200 for one in payloads)
    assert {row["flag"] for row in flags} == {flag["flag"] for one in payloads for flag in one["flags"]}


def test_the_page_names_what_there_is() -> None:
    listed = json.loads(subprocess.run([OTUS, "--output", "json", "schema"], capture_output=True, check=True).stdout)
    assert set(KINDS) <= {one["name"] for one in listed}
    for kind in (*KINDS, "kpi"):
        assert f"`otus-{kind}`" in PAGE
