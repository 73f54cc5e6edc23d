"""Commands many nodes: publishes one command, and gathers the answers of all nodes that are expected, by its request
id.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from typing import Any

import attrs
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from otus_core import OtusError, printable
from otus_kafka import envelope
from otus_kafka.client_log import LastLine, capture_client_log
from otus_kafka.connection import client_options, explain
from otus_kafka.fleet_reading import Answers, Heartbeats, Notes, Reader, label
from otus_kafka.inflate import Guard, guard_fetches
from otus_kafka.settings import ClientConfig

HEARTBEATS_BACK_S = 120.0
"""A node whose last heartbeat is older is not expected to answer."""
READ_MAX = 100_000
"""Records: a topic that somebody else fills must not keep a command waiting for its whole timeout."""
INFLATED_MAX = 64 << 20
"""Larger batches of records are skipped: nodes send theirs one by one."""
POLL_MS = 200
"""Short against a second: whether all have answered is looked at after each poll."""
SETTLE_S = 1.0
"""A broadcast with unknown listeners is over when nothing came for so long, but not before half of the timeout."""


@attrs.frozen(kw_only=True)
class Fleet:
    """How to reach the nodes."""

    client: ClientConfig
    topic: str = "otus-commands"
    response_topic: str = "otus-responses"
    heartbeat_topic: str = ""
    timeout: float = 10.0
    expect: int = 0
    keys: Mapping[str, bytes] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Gathered:
    """What came back.

    ``answers`` by node: those of several nodes with one name are NODE, NODE#INSTANCE … ``signed`` says of each answer
    ``yes``, ``no``, or ``unknown`` without a key. ``missing`` are the nodes that were expected and silent,
    ``heartbeats`` the last of each node, ``namesakes`` those of processes that share a node's name and did not answer,
    ``notes`` what was odd.
    """

    answers: dict[str, dict[str, Any]]
    signed: dict[str, str]
    missing: tuple[str, ...]
    heartbeats: dict[str, dict[str, Any]]
    namesakes: dict[str, dict[str, Any]]
    notes: list[str]


async def command(fleet: Fleet, target: str, name: str, payload: Mapping[str, Any]) -> Gathered:
    """Send a command and wait for the answers. Raises OtusError when the brokers cannot be reached."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # the error says it all
    capture_client_log()
    line = LastLine()
    line.listen()
    try:
        return await _command(fleet, target, name, payload)
    except (KafkaError, OSError, TimeoutError) as error:
        text = line.take()
        reason = explain(text, fleet.client) if text else f"{type(error).__name__}: {printable(str(error), 200)}"
        raise OtusError(f"kafka {', '.join(fleet.client.brokers)}: {reason}") from None


async def _command(fleet: Fleet, target: str, name: str, payload: Mapping[str, Any]) -> Gathered:
    options = client_options(fleet.client)
    guard_fetches(Guard(INFLATED_MAX, lambda _reason: None))
    consumer = AIOKafkaConsumer(enable_auto_commit=False, **options)
    producer = AIOKafkaProducer(acks="all", **options)
    try:
        async with asyncio.timeout(fleet.timeout + 2 * fleet.client.request_timeout):
            await producer.start()
            await consumer.start()
        notes = Notes()
        reader = Reader(fleet.keys, notes)
        heartbeats = Heartbeats(reader, notes)
        if fleet.heartbeat_topic:
            # Before the command: who is heard of there is expected to answer it.
            beats = await _partitions(producer, fleet.heartbeat_topic, fleet.timeout)
            await _hear(consumer, beats, fleet, heartbeats)
        responses = await _partitions(producer, fleet.response_topic, fleet.timeout)
        # Before the command too: its answers come behind what is there now.
        await _go_to_end(consumer, responses, fleet.response_topic)
        request_id = secrets.token_hex(16)
        value = envelope.make_command(target, name, payload, request_id, time.time())
        headers = []
        if (key := fleet.keys.get(target)) is not None:
            headers = [(envelope.SIGNATURE_HEADER, envelope.sign(key, value))]
        await producer.send_and_wait(fleet.topic, value, key=target.encode(), headers=headers)
        expected = {target} if target != envelope.EVERYBODY else set(heartbeats.last())
        answers = Answers(reader, notes, heartbeats, request_id, target)
        await _gather(consumer, fleet, answers, expected)
        return _gather_answers(answers, heartbeats, expected, notes)
    finally:
        await asyncio.gather(consumer.stop(), producer.stop(), return_exceptions=True)


async def _partitions(producer: AIOKafkaProducer, topic: str, within: float) -> list[TopicPartition]:
    """Give a topic's partitions; none when the brokers do not know it."""
    try:
        async with asyncio.timeout(within):
            numbers = await producer.partitions_for(topic)
    except (UnknownTopicOrPartitionError, TimeoutError):
        return []
    return [TopicPartition(topic, number) for number in sorted(numbers)]


async def _go_to_end(consumer: AIOKafkaConsumer, partitions: list[TopicPartition], topic: str) -> None:
    if not partitions:
        raise OtusError(f"there is no topic {topic} on these brokers: has a node ever answered? Create it first")
    consumer.assign(partitions)
    await consumer.seek_to_end(*partitions)
    for partition in partitions:
        await consumer.position(partition)


async def _hear(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], fleet: Fleet, heartbeats: Heartbeats
) -> None:
    """Read the heartbeats of the last while."""
    if not partitions:
        return
    consumer.assign(partitions)
    since = int((time.time() - HEARTBEATS_BACK_S) * 1000)
    begins = await consumer.offsets_for_times(dict.fromkeys(partitions, since))
    ends = await consumer.end_offsets(partitions)
    open_ones = {part for part, begin in begins.items() if begin is not None and begin.offset < ends[part]}
    if not open_ones:
        return
    consumer.assign(list(open_ones))
    for part in open_ones:
        consumer.seek(part, begins[part].offset)
    read, until = 0, time.monotonic() + fleet.timeout
    while open_ones and read < READ_MAX and time.monotonic() < until:
        for part, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
            read += len(records)
            for record in records:
                heartbeats.take(record)
            if records[-1].offset + 1 >= ends[part]:
                open_ones.discard(part)


async def _gather(consumer: AIOKafkaConsumer, fleet: Fleet, answers: Answers, expected: set[str]) -> None:
    """Read answers until all are there; without knowing who is to answer, until nobody does any more.

    Where one is unsigned although its node has a key here, a signed one may be on its way.
    """
    begun = last = time.monotonic()
    wanted = max(fleet.expect, len(expected))
    while time.monotonic() - begun < fleet.timeout:
        for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
            for record in records:
                if answers.take(record):
                    last = time.monotonic()
        is_quiet = time.monotonic() - last > SETTLE_S
        if wanted and len(answers.nodes) >= wanted and expected <= answers.nodes and (answers.is_sure or is_quiet):
            break
        if not wanted and answers.nodes and is_quiet and time.monotonic() - begun > fleet.timeout / 2:
            break


def _gather_answers(answers: Answers, heartbeats: Heartbeats, expected: set[str], notes: Notes) -> Gathered:
    """Put together what is shown."""
    said, beats, silent = answers.by_label(), heartbeats.last(), {}
    for node, known in heartbeats.namesakes().items():
        notes.add(node, f"several nodes have this name: {', '.join(name or 'unknown' for name in known)}")
        answered = answers.instances(node)
        rest = {name: beat for name, beat in known.items() if name not in answered}
        if rest and not answered:  # one of them is the node that is missing
            del rest[next(iter(rest))]
        silent.update({label(node, name): beat for name, beat in rest.items()})
    return Gathered(
        answers={name: one.data for name, one in said.items()},
        signed={name: one.signed for name, one in said.items()},
        missing=tuple(sorted(expected - answers.nodes)),
        heartbeats=beats,
        namesakes=silent,
        notes=notes.lines(),
    )
