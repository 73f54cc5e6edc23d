"""The independent clients: kcat reads, confluent-kafka (librdkafka) administers and writes."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from typing import Any

import attrs
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tests.patience import PATIENCE_S

from .broker import Broker

_run = os.urandom(4).hex()
_numbers = itertools.count()


@attrs.frozen
class Record:
    """One record as kcat saw it."""

    partition: int
    offset: int
    key: str | None
    value: str
    headers: dict[str, str]
    timestamp: int

    @property
    def json(self) -> Any:
        return json.loads(self.value)


def make_topic(broker: Broker, partitions: int = 4, name: str = "", **settings: str) -> str:
    """Create a topic and give its name."""
    name = name or f"otus-{_run}-{next(_numbers)}"
    new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
    client = admin(broker)  # its futures end with it
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            for future in client.create_topics([new], operation_timeout=30).values():
                future.result(PATIENCE_S)
            return name
        except KafkaException as error:  # a broker that has just started is fenced for a moment
            if error.args[0].code() != KafkaError.INVALID_REPLICATION_FACTOR or time.monotonic() > until:
                raise
            time.sleep(0.2)


def admin(broker: Broker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap})


def consume(broker: Broker, topic: str) -> list[Record]:
    """Read a topic from its beginning to its end."""
    command = ["kcat", "-b", broker.bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J"]
    lines = subprocess.run(command, capture_output=True, timeout=2 * PATIENCE_S, check=True).stdout.splitlines()
    return [_record(json.loads(line)) for line in lines]


def consume_raw(broker: Broker, topic: str) -> list[bytes]:
    """Read the values of a topic as bytes, hex on the way."""
    command = ["kcat", "-b", broker.bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%R%s"]
    out = subprocess.run(command, capture_output=True, timeout=2 * PATIENCE_S, check=True).stdout
    values = []
    while out:
        size = int.from_bytes(out[:4], "big")
        values.append(out[4 : 4 + size])
        out = out[4 + size :]
    return values


def produce(
    broker: Broker,
    topic: str,
    value: bytes,
    key: bytes | None = None,
    headers: dict[str, bytes] | None = None,
    codec: str = "none",
) -> int:
    """Write one record with Kafka's own partitioner and give its partition."""
    settings = {"compression.type": codec, "message.max.bytes": 64 << 20}
    producer = Producer({"bootstrap.servers": broker.bootstrap, "partitioner": "murmur2_random", **settings})
    written: list[int] = []
    producer.produce(
        topic,
        value=value,
        key=key,
        headers=list((headers or {}).items()),
        on_delivery=lambda _e, m: written.append(m.partition() or 0),
    )
    producer.flush(PATIENCE_S)
    return written[0]


def _record(data: dict[str, Any]) -> Record:
    headers = data.get("headers", [])
    return Record(
        partition=data["partition"],
        offset=data["offset"],
        key=data.get("key"),
        value=data["payload"],
        headers=dict(zip(headers[::2], headers[1::2], strict=True)),
        timestamp=data["ts"],
    )
