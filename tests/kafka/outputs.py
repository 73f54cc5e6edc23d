"""Outputs as the pipeline makes them, and a reporter to send them with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from otus_core import Context, OutputPacket
from otus_kafka.encoding import Encoder
from otus_kafka.lanes import Lane, Lanes, Limit, Road, Ticket
from otus_kafka.link import ProducerLink
from otus_kafka.records import seal
from otus_kafka.reporter import KafkaReporter
from otus_kafka.settings import KafkaReporterConfig

T0_MS = 1_771_668_600_123
SCHEMA = "urn:otus:schema:sip:1"
HEADERS = [
    "task_id",
    "agent_id",
    "payload_type",
    "schema",
    "src_ip",
    "dst_ip",
    "src_port",
    "dst_port",
    "timestamp",
    "timestamp_ns",
]
"""Of a record, those that each message has."""
CALLER, CALLEE = "192.0.2.10", "198.51.100.20"


def sip(n: int, call: str | None = "call-1@example", reply: bool = False, **fields: Any) -> OutputPacket:
    """One SIP message; ``reply`` goes the other way."""
    src, dst = (CALLEE, CALLER) if reply else (CALLER, CALLEE)
    labels = {"sip.method": "INVITE"} if call is None else {"sip.method": "INVITE", "sip.call_id": call}
    given = {
        "task_id": "sip-1",
        "agent_id": "edge-1",
        "pipeline_id": 2,
        "timestamp": (T0_MS + n) * 1_000_000 + 789,
        "src_ip": src,
        "dst_ip": dst,
        "src_port": 5062 if reply else 5060,
        "dst_port": 5060 if reply else 5062,
        "labels": labels,
        "payload_type": "sip",
        "payload": {"n": n},
        "raw_payload": b"INVITE sip:bob@example SIP/2.0\r\n\r\n",
    }
    return OutputPacket(**(given | fields))


@contextlib.asynccontextmanager
async def reporter(brokers: str, **options: Any) -> AsyncIterator[KafkaReporter]:
    """A started reporter that sends soon and gives a busy broker its time; always stopped."""
    times = {"flush_interval": 0.02, "request_timeout": 30.0, "delivery_timeout": 60.0}
    made = KafkaReporter(KafkaReporterConfig(brokers=[brokers], **(times | options)))
    made.wire(Context(task_id="sip-1", agent_id="edge-1", call_labels={"sip": "sip.call_id"}, schemas={"sip": SCHEMA}))
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def send_all(brokers: str, outputs: Sequence[OutputPacket], **options: Any) -> tuple[int, dict[str, int]]:
    """Report once; gives how many were reported, and the failures."""

    async def run() -> tuple[int, dict[str, int]]:
        async with reporter(brokers, **options) as made:
            result = await made.report(outputs)
            return result.reported, {reason: len(places) for reason, places in result.failed.items()}

    return asyncio.run(run())


def place(outputs: Sequence[OutputPacket], partitions: int = 3, **options: Any) -> tuple[list[bytes], dict[str, int]]:
    """Encode outputs without sending them; gives the last batch of each partition, and the failures."""
    batches, failed = asyncio.run(_lay(outputs, partitions, options))
    return [of_one[-1] if of_one else b"" for of_one in batches], failed


def place_all(outputs: Sequence[OutputPacket], **options: Any) -> tuple[list[bytes], dict[str, int]]:
    """Encode outputs for one partition without sending them; gives all batches, and the failures."""
    (batches,), failed = asyncio.run(_lay(outputs, 1, options))
    return batches, failed


async def _lay(
    outputs: Sequence[OutputPacket], partitions: int, options: dict[str, Any]
) -> tuple[list[list[bytes]], dict[str, int]]:
    config = KafkaReporterConfig(brokers=["localhost"], topic="t", batch_size=100_000, flush_interval=60, **options)
    road = Road(config, ProducerLink(config))
    limit = Limit(config.max_message_bytes)
    lanes = Lanes([Lane(road, "t", n, limit) for n in range(partitions)])
    ticket = Ticket(len(outputs))
    Encoder(config, {"sip": "sip.call_id"}, {"sip": SCHEMA}).place(outputs, lanes, ticket, range(len(outputs)))
    batches = []
    for lane in lanes.lanes:
        writers = [parcel.writer for parcel in lane._ready]
        if lane.writer is not None:
            lane.writer.finish()
            writers.append(lane.writer)
            lane.writer = None
        batches.append([bytes(seal(writer, config.compression, road.compress)._build()) for writer in writers])
    failed = {reason: len(places) for reason, places in ticket.failed.items()}
    await road.stop()
    return batches, failed
