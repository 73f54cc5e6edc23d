"""The reporter ``kafka``: each call of ``report`` ends when every message of it is acknowledged or counted under a
reason.

Messages are encoded into batches of their partition (``encoding``), which travel one after the other (``lanes``) over
one connection that comes back by itself (``link``). What is held is bounded: by the core, which keeps a few calls open,
and by ``max_buffer_bytes``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from otus_core import BaseReporter, Context, OutputPacket, ReportResult
from otus_kafka.encoding import Encoder
from otus_kafka.lanes import Lane, Lanes, Limit, Road, Ticket
from otus_kafka.link import ProducerLink
from otus_kafka.plugin import MAX_IN_FLIGHT
from otus_kafka.settings import KafkaReporterConfig
from otus_kafka.topics import Topic, TopicBook

SLICE = 256
"""Messages that are encoded in one go; between two goes the pipeline has its turn."""
FALLBACK_AFTER_S = 10.0
"""A broker that leads a partition moves within some seconds; who has somebody else to send to need not wait much
longer.
"""
WAITING = ("unavailable", "stopped")
"""Reasons that say nothing about the message: a spool keeps it, and it is sent when a broker is there."""
KEPT_BYTES = 4 << 20
"""glibc gives memory back to the system above twice the largest piece that was ever freed (mallopt(3),
``M_MMAP_THRESHOLD``), and takes it again a page fault at a time. Requests are some 100 KiB in several copies, so that
without one larger piece every second message costs such a fault.
"""
ACKS = {0: 0, 1: 1, "all": "all"}


class KafkaReporter(BaseReporter):
    """Sends outputs to Kafka."""

    def __init__(self, config: KafkaReporterConfig) -> None:
        self._config = config
        self._encoder = Encoder(config, {}, {})
        self._lanes: dict[str, Lanes] = {}
        self._open = 0
        self._link: ProducerLink | None = None
        self._stopped = False
        self._patience = config.delivery_timeout
        self._has_spool = False

    def wire(self, context: Context) -> None:
        """Learn which label tells calls apart, and whether somebody else takes what is given up here."""
        self._encoder = Encoder(self._config, context.call_labels, context.schemas)
        self._has_spool = context.has_spool
        if self._config.delivery_timeout is None and context.has_fallback and not context.has_spool:
            self._patience = FALLBACK_AFTER_S

    async def start(self) -> None:
        """Begin to connect; whether a broker is there shows later.

        Raises PluginInitFailed for files that cannot be used.
        """
        bytes(KEPT_BYTES)
        self._link = ProducerLink(self._config, acks=ACKS[self._config.acks], retry_backoff_ms=100)
        self._link.start()
        self._road = Road(self._config, self._link)
        self._road.patience = self._patience
        self._topics = TopicBook(self._link, self._make_lanes)
        self._turn = asyncio.Lock()

    async def stop(self) -> None:
        """Give up what is still under way, and disconnect."""
        self._stopped = True
        if self._link is not None:
            await self._road.stop()
            await self._topics.stop()
            await self._link.stop()

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        """Send one batch; gives what became of each message."""
        ticket = Ticket(len(batch))
        self._open += 1
        try:
            if self._link is None or self._stopped:
                return ReportResult(0, {"stopped": len(batch)})
            await self._place(batch, ticket)
            if self._open >= MAX_IN_FLIGHT:  # the core gives nothing more until something comes back
                self._road.flush()
            await ticket.done
        finally:
            self._open -= 1
        return self._result(ticket)

    def _result(self, ticket: Ticket) -> ReportResult:
        """Give the fate of each message. With a spool, what no broker has taken waits there."""
        failed = ticket.failed
        waiting = {reason: failed.pop(reason) for reason in WAITING if reason in failed} if self._has_spool else {}
        return ReportResult(ticket.reported, failed, retry=waiting)

    async def flush(self) -> None:
        """Let everything go without waiting for more."""
        if self._link is not None:
            self._road.flush()

    def status(self) -> Mapping[str, Any]:
        """Say whether there is a connection, why not, and how much is held here."""
        if self._link is None:
            return {"state": "stopped", "reason": "", "acknowledged": 0}
        return {**self._link.status(), "held_bytes": self._road.room.held, "open_reports": self._open}

    async def _place(self, batch: Sequence[OutputPacket], ticket: Ticket) -> None:
        groups = self._by_topic(batch)
        deadline = self._road.deadline()
        topics = await asyncio.gather(*(self._topics.get(name, deadline) for name in groups))
        async with self._turn:  # calls take turns, so that messages stay in order
            for topic, places in zip(topics, groups.values(), strict=True):
                await self._place_in(topic, batch, places, ticket)

    def _by_topic(self, batch: Sequence[OutputPacket]) -> dict[str, Sequence[int]]:
        """Give the places of each topic's messages."""
        if self._config.topic or not batch:
            return {self._config.topic: range(len(batch))} if batch else {}
        prefix = self._config.topic_prefix
        first = batch[0].payload_type
        if all(output.payload_type == first for output in batch):
            return {f"{prefix}-{first}": range(len(batch))}
        groups: dict[str, list[int]] = {}
        for place, output in enumerate(batch):
            groups.setdefault(f"{prefix}-{output.payload_type}", []).append(place)
        return dict(groups)

    async def _place_in(
        self, topic: Topic, batch: Sequence[OutputPacket], places: Sequence[int], ticket: Ticket
    ) -> None:
        lanes = self._lanes.get(topic.name)
        if lanes is None:
            ticket.fail(topic.reason or "unavailable", places)
            return
        for start in range(0, len(places), SLICE):
            await self._road.room.wait()
            if self._stopped:
                ticket.fail("stopped", places[start:])
                return
            part = places[start : start + SLICE]
            outputs = batch[part.start : part.stop] if isinstance(part, range) else [batch[place] for place in part]
            self._encoder.place(outputs, self._lanes[topic.name], ticket, part)
            if start + SLICE < len(places):
                await asyncio.sleep(0)

    def _make_lanes(self, topic: Topic) -> None:
        """Have a lane for each partition; those that are there already keep what they hold."""
        known = self._lanes.get(topic.name)
        lanes = list(known.lanes) if known else []
        limit = lanes[0].limit if lanes else Limit(self._config.max_message_bytes)
        lanes += [Lane(self._road, topic.name, n, limit) for n in range(len(lanes), topic.partitions)]
        self._lanes[topic.name] = Lanes(lanes[: topic.partitions])
