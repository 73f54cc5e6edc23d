"""What the plugin takes of aiokafka beyond its public names, because there is no public way (docs/decisions.md): a
version that has changed it fails here.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
from pathlib import Path

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.record import memory_records

import otus_kafka
from otus_kafka import inflate
from otus_kafka.link import _one_attempt
from otus_kafka.records import SealedBatch

SET = {"fetcher.MemoryRecords", "accumulator._batch_ttl"}
"""All that the plugin sets in the library."""


def test_every_fetch_is_read_by_the_name_that_is_replaced() -> None:
    tree = ast.parse(inspect.getsource(fetcher))
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and "MemoryRecords" in ast.unparse(node.func)
    ]
    assert [ast.unparse(call) for call in calls] == ["MemoryRecords(part_data[-1])"]
    assert inflate._MemoryRecords is memory_records.MemoryRecords


def test_a_guarded_fetch_goes_through_the_guard() -> None:
    told: list[str] = []

    async def main() -> None:
        inflate.guard_fetches(inflate.Guard(10, told.append))
        head = bytearray(61 + 20)
        head[8:12], head[16], head[22] = (61 + 20 - 12).to_bytes(4), 2, inflate.GZIP
        fetcher.MemoryRecords(bytes(head))

    asyncio.run(main())
    assert told == ["inflated"]


def test_a_batch_is_sent_once() -> None:
    async def main() -> MessageBatch:
        producer = AIOKafkaProducer(request_timeout_ms=40_000)
        _one_attempt(producer)
        accumulator: MessageAccumulator = producer._message_accumulator
        await accumulator.add_batch(SealedBatch(bytearray(1), 1), TopicPartition("t", 0), 1.0)
        batch: MessageBatch = accumulator._batches[TopicPartition("t", 0)][0]
        return batch

    assert asyncio.run(main()).expired()


def test_nothing_else_of_a_library_is_set() -> None:
    found = set()
    for path in Path(otus_kafka.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign):
                found |= {ast.unparse(target) for target in node.targets if is_foreign(target)}
    assert found == SET


def is_foreign(target: ast.expr) -> bool:
    """Whether a module's name, or a private attribute of something that is not ours, is set."""
    if not isinstance(target, ast.Attribute):
        return False
    owner, name = ast.unparse(target.value), target.attr
    return owner == "fetcher" or (name.startswith("_") and not name.startswith("__") and owner != "self")
