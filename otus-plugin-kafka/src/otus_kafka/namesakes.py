"""Notices other processes that use this node's name: commands for it then reach only one of them, and answers and
heartbeats contradict each other.

Everything that a node says has its name as the record's key, so that one partition of each topic holds it all, and is
all that is read here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.partitioner import DefaultPartitioner

from otus_core import printable
from otus_kafka import envelope
from otus_kafka.answers import Speaker
from otus_kafka.connection import close_apart
from otus_kafka.inflate import Guard, guard_fetches
from otus_kafka.link import ProducerLink

ANEW_AFTER_S = 600.0
"""The consumer is made anew so often: it then finds added partitions, and looks the brokers' names up again."""
AGAIN_AFTER_S = 30.0
"""Pause after a failure: mostly this node may not read the topic, which an operator changes, or nobody does."""
POLL_MS = 1000
"""Heartbeats come twice a minute: there is no hurry."""
# With the pause below, at most 640 records a second are looked at, whatever somebody writes to the topic.
POLL_MOST = 64
FLOOD_PAUSE_S = 0.1
FETCH_BYTES = 1 << 18
"""Small: the partition is read only to see this node's own name in it."""
INFLATED_MAX = 4 << 20
"""Of a batch; a heartbeat has some kilobytes."""
SAID_MAX = 1 << 20
"""Larger records are no heartbeat, and are not read."""
FORGET_AFTER_S = 120.0
"""Four heartbeats at the usual interval: who has said nothing for so long has been stopped or renamed."""
KNOWN_MAX = 8
"""Two are the case that there is; more are made up by somebody."""
ADVICE = "another process uses this node's name: give each node a name of its own (otus.node.hostname)"

log = structlog.get_logger("otus.kafka")


@attrs.frozen(kw_only=True)
class Namesake:
    """Another process with our name. ``signed`` is ``None`` where this node has no key to check that with."""

    node_ip: str
    seen: float
    signed: bool | None

    @property
    def told(self) -> str:
        """Say where it is, and when it was heard of."""
        signature = {None: "signature not checked", True: "signed", False: "not signed with this node's key"}
        return (
            f"{self.node_ip or 'address unknown'}, last heard of {envelope.rfc3339(self.seen)}, "
            f"{signature[self.signed]}"
        )


class Namesakes:
    """Reads what is said in this node's name. ``say`` logs at a bounded rate."""

    def __init__(
        self,
        speaker: Speaker,
        link: ProducerLink,
        options: Mapping[str, Any],
        topics: Sequence[str],
        interval: float,
        say: Callable[..., None],
    ) -> None:
        self._speaker = speaker
        self._link = link
        self._options = options
        self._topics = topics
        self._say = say
        self._kept_s = max(FORGET_AFTER_S, 3 * interval)
        self._found: dict[str, Namesake] = {}
        self._reason = ""

    def status(self) -> dict[str, str]:
        """Give those that were heard of lately: where each is, by its process."""
        now = time.time()
        self._found = {name: one for name, one in self._found.items() if now - one.seen < self._kept_s}
        return {name: one.told for name, one in self._found.items()}

    async def run(self) -> None:
        """Watch until cancelled. A node that may not read these topics watches nothing, and works all the same."""
        guard_fetches(Guard(INFLATED_MAX, lambda _reason: None))
        while True:
            await self._link.wait_up(None)
            try:
                await self._watch()
            except Exception as error:  # whatever the client library raises
                reason = f"{type(error).__name__}: {printable(str(error), 200)}"
                if reason != self._reason:
                    log.warning("node_name_not_watched", topics=list(self._topics), reason=reason)
                self._reason = reason
                await asyncio.sleep(AGAIN_AFTER_S)

    async def _watch(self) -> None:
        producer = self._link.producer
        if producer is None:
            return
        places = [await self._place(producer, topic) for topic in self._topics]
        fetch = {"max_partition_fetch_bytes": FETCH_BYTES, "fetch_max_wait_ms": POLL_MS}
        consumer = AIOKafkaConsumer(enable_auto_commit=False, **fetch, **self._options)
        try:
            await consumer.start()
            consumer.assign(places)
            await consumer.seek_to_end(*places)
            until = time.monotonic() + ANEW_AFTER_S
            while time.monotonic() < until:
                batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_MOST)
                records = [record for found in batches.values() for record in found]
                self._reason = ""
                for record in records:
                    self._look(record)
                if len(records) >= POLL_MOST:
                    await asyncio.sleep(FLOOD_PAUSE_S)
        finally:
            await close_apart(consumer.stop(), 3.0)

    async def _place(self, producer: AIOKafkaProducer, topic: str) -> TopicPartition:
        numbers = sorted(await producer.partitions_for(topic))
        return TopicPartition(topic, DefaultPartitioner()(self._speaker.hostname.encode(), numbers, numbers))

    def _look(self, record: ConsumerRecord) -> None:
        """See whether somebody else speaks in our name."""
        value, speaker = record.value or b"", self._speaker
        if record.key != speaker.hostname.encode() or len(value) > SAID_MAX:
            return
        said = envelope.parse_object(value)
        if said is None or said["source"] != speaker.hostname or said.get("instance") == speaker.instance:
            return
        signed = None if speaker.key is None else envelope.is_signed(speaker.key, value, dict(record.headers))
        instance = _text(said.get("instance")) or "unknown"
        if instance not in self._found:
            if len(self._found) >= KNOWN_MAX:  # forged ones cost neither memory nor the log's readability
                del self._found[min(self._found, key=lambda name: self._found[name].seen)]
            self._say(
                "node_name_used_twice",
                node=speaker.hostname,
                instance=instance,
                node_ip=_text(said.get("node_ip")),
                signed="unknown" if signed is None else str(signed).lower(),
                action=ADVICE,
            )
        known = self._found.get(instance)
        address = _text(said.get("node_ip")) or (known.node_ip if known else "")
        self._found[instance] = Namesake(node_ip=address, seen=time.time(), signed=signed)


def _text(value: object) -> str:
    return printable(value, 64) if isinstance(value, str) else ""
