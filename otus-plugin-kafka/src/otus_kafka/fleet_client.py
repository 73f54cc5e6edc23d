"""Commands many nodes: publishes one command, and gathers the answers of all nodes that are expected, by its request id."""

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
from otus_kafka.connection import client_options, explained
from otus_kafka.settings import ClientConfig

HEARTBEATS_BACK_S = 120.0
"""A node whose last heartbeat is older is not expected to answer."""
READ_MAX = 100_000
POLL_MS = 200
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


@attrs.frozen
class Gathered:
    """``answers`` by node, ``missing`` the nodes that were expected and silent, ``heartbeats`` the last of each node."""

    answers: dict[str, dict[str, Any]]
    missing: tuple[str, ...]
    heartbeats: dict[str, dict[str, Any]]


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
        reason = explained(text, fleet.client) if text else f"{type(error).__name__}: {printable(str(error), 200)}"
        raise OtusError(f"kafka {', '.join(fleet.client.brokers)}: {reason}") from None


async def _command(fleet: Fleet, target: str, name: str, payload: Mapping[str, Any]) -> Gathered:
    options = client_options(fleet.client)
    consumer = AIOKafkaConsumer(enable_auto_commit=False, **options)
    producer = AIOKafkaProducer(acks="all", **options)
    try:
        async with asyncio.timeout(fleet.timeout + 2 * fleet.client.request_timeout):
            await producer.start()
            await consumer.start()
        heartbeats = {}
        if fleet.heartbeat_topic:
            beats = await _partitions(producer, fleet.heartbeat_topic, fleet.timeout)
            heartbeats = await _heartbeats(consumer, beats, fleet)
        responses = await _partitions(producer, fleet.response_topic, fleet.timeout)
        await _go_to_end(consumer, responses, fleet.response_topic)
        request_id = secrets.token_hex(16)
        value = envelope.make_command(target, name, payload, request_id, time.time())
        headers = []
        if (key := fleet.keys.get(target)) is not None:
            headers = [(envelope.SIGNATURE_HEADER, envelope.sign(key, value))]
        await producer.send_and_wait(fleet.topic, value, key=target.encode(), headers=headers)
        expected = {target} if target != envelope.EVERYBODY else set(heartbeats)
        answers = await _answers(consumer, fleet, request_id, expected)
        return Gathered(answers, tuple(sorted(expected - set(answers))), heartbeats)
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


async def _heartbeats(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], fleet: Fleet
) -> dict[str, dict[str, Any]]:
    """Give the last heartbeat of each node that is alive."""
    if not partitions:
        return {}
    consumer.assign(partitions)
    since = int((time.time() - HEARTBEATS_BACK_S) * 1000)
    begins = await consumer.offsets_for_times(dict.fromkeys(partitions, since))
    ends = await consumer.end_offsets(partitions)
    open_ones = {part for part, begin in begins.items() if begin is not None and begin.offset < ends[part]}
    if not open_ones:
        return {}
    consumer.assign(list(open_ones))
    for part in open_ones:
        consumer.seek(part, begins[part].offset)
    found: dict[str, dict[str, Any]] = {}
    read, until = 0, time.monotonic() + fleet.timeout
    while open_ones and read < READ_MAX and time.monotonic() < until:
        for part, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
            read += len(records)
            for record in records:
                report = envelope.parse_object(record.value)
                if report is not None:
                    found[report["source"]] = report
            if records[-1].offset + 1 >= ends[part]:
                open_ones.discard(part)
    return found


async def _answers(
    consumer: AIOKafkaConsumer, fleet: Fleet, request_id: str, expected: set[str]
) -> dict[str, dict[str, Any]]:
    """Read answers until all are there; without knowing who is to answer, until nobody does any more."""
    answers: dict[str, dict[str, Any]] = {}
    begun = last = time.monotonic()
    wanted = max(fleet.expect, len(expected))
    while time.monotonic() - begun < fleet.timeout:
        for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
            for record in records:
                answer = envelope.parse_object(record.value)
                if answer is not None and answer.get("request_id") == request_id:
                    answers[answer["source"]] = answer
                    last = time.monotonic()
        if wanted and len(answers) >= wanted and expected <= set(answers):
            break
        quiet = time.monotonic() - last > SETTLE_S and time.monotonic() - begun > fleet.timeout / 2
        if not wanted and answers and quiet:
            break
    return answers
