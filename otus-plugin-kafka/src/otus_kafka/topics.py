"""How many partitions each topic has, asked for in the background; a topic that cannot be had is refused at once while
the asking goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiokafka.errors import KafkaError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from otus_core import Chores
from otus_kafka.link import ProducerLink

ASK_AGAIN_S = 5.0
"""aiokafka itself asks for metadata every five minutes: a topic that was just created is to be used sooner."""
TOPICS_MAX = 256
"""Topics are named by configuration and payload types, so there are few; more than these are refused."""


class Topic:
    """What is known of one topic: ``partitions``, or why it cannot be used (``reason``, one of the reporter's failure
    reasons).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.partitions = 0
        self.reason = ""
        self.decided = asyncio.Event()


class TopicBook:
    """All topics of one reporter.

    ``on_change`` is called when a topic is found, or has other partitions than before.
    """

    def __init__(self, link: ProducerLink, on_change: Callable[[Topic], None]) -> None:
        self._link = link
        self._on_change = on_change
        self._topics: dict[str, Topic] = {}
        self._chores = Chores()

    async def get(self, name: str, deadline: float | None) -> Topic:
        """Give a topic, waiting until something is known of it; ``reason`` is set when it cannot be used."""
        topic = self._topics.get(name)
        if topic is None:
            topic = self._open(name)
        if topic.partitions:
            self._refresh(topic)
        elif not topic.decided.is_set():
            await self._wait(topic, deadline)
        return topic

    async def stop(self) -> None:
        """Ask no more."""
        await self._chores.stop()

    def _open(self, name: str) -> Topic:
        topic = Topic(name)
        if len(self._topics) >= TOPICS_MAX:
            topic.reason = "topic"
            topic.decided.set()
            return topic
        self._topics[name] = topic
        self._chores.start("kafka:topic", lambda: self._find(topic), self._link.complain)
        return topic

    async def _wait(self, topic: Topic, deadline: float | None) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await topic.decided.wait()
        except TimeoutError:
            topic.reason = "unavailable"

    def _refresh(self, topic: Topic) -> None:
        """Take notice when an operator has added partitions."""
        now = self._count_partitions(topic.name)
        if now and now != topic.partitions:
            topic.partitions = now
            self._on_change(topic)

    def _count_partitions(self, name: str) -> int:
        producer = self._link.producer
        found = producer.client.cluster.partitions_for_topic(name) if producer is not None else None
        return len(found) if found else 0

    async def _find(self, topic: Topic) -> None:
        while not topic.partitions:
            await self._link.wait_up(None)
            await self._ask(topic)
            if topic.partitions or topic.reason != "unavailable":  # else a broker is still to be waited for
                topic.decided.set()
            if not topic.partitions:
                await asyncio.sleep(ASK_AGAIN_S)
        topic.reason = ""
        self._on_change(topic)

    async def _ask(self, topic: Topic) -> None:
        producer = self._link.producer
        if producer is None:
            return
        try:
            topic.partitions = len(await producer.partitions_for(topic.name))
        except UnknownTopicOrPartitionError:
            # also raised when no broker answers at all: ask whether one does
            reached = await producer.client.force_metadata_update()
            topic.reason = "topic" if reached else "unavailable"
            if reached:
                self._link.complain(f"topic {topic.name} does not exist, and the broker does not create it")
        except TopicAuthorizationFailedError:
            topic.reason = "auth"
            self._link.complain(f"topic {topic.name}: this user may not use it")
        except (KafkaError, OSError, TimeoutError) as error:
            topic.reason = "unavailable"
            self._link.complain(f"topic {topic.name}: {type(error).__name__}: {error}")
