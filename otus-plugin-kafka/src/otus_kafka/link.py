"""A producer that is connected in the background, comes back by itself, and is made anew when it went silent.

Out: ``ProducerLink.send`` ships one batch once and gives what became of it; ``reason`` says why nothing can be shipped.
Nothing here raises because a broker is down.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from otus_core import Chores, printable
from otus_kafka.client_log import LastLine, capture_client_log
from otus_kafka.connection import client_options, close_apart, explain, is_compiled
from otus_kafka.outcome import SENT, Outcome, judge
from otus_kafka.records import SealedBatch
from otus_kafka.settings import ClientConfig

BACKOFF_S = (0.2, 2.0)
"""First and longest pause between two attempts to connect."""
SILENT_S = 60.0
"""A client that failed for so long and had nothing acknowledged is made anew: it looks the brokers' names up only at
its start.
"""
CLOSE_S = 3.0
"""Then the client is left to itself, and a new one takes its place."""

log = structlog.get_logger("otus.kafka")


class ProducerLink:
    """The connection of one component to its cluster, for producing."""

    def __init__(self, config: ClientConfig, **producer_options: Any) -> None:
        self.producer: AIOKafkaProducer | None = None
        self.reason = "not connected yet"
        self.acknowledged = 0
        self._config = config
        self._producer_options = producer_options
        self._line = LastLine()
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._last_ack = 0.0
        self._chores = Chores()
        self._running = False

    def start(self) -> None:
        """Begin to connect. Raises PluginInitFailed for options that can never work."""
        capture_client_log()
        if not is_compiled():
            log.warning("kafka_client_slow", reason="aiokafka runs without its compiled parts; install a wheel of it")
        options = client_options(self._config) | self._producer_options
        self._running = True
        self._chores.start("kafka:link", lambda: self._run(options), self.complain)

    async def stop(self) -> None:
        """Disconnect, whatever is under way."""
        await self._chores.stop()
        self._running = False

    async def wait_up(self, deadline: float | None) -> bool:
        """Wait until there is a connected client, or until the deadline (of the loop's clock)."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._up.wait()
        except TimeoutError:
            return False
        return True

    async def send(self, batch: SealedBatch, topic: str, partition: int, deadline: float | None) -> Outcome:
        """Ship one batch once."""
        if not await self.wait_up(deadline):
            return Outcome("unavailable", self.reason)
        producer = self.producer
        assert producer is not None
        self._line.listen()
        try:
            async with asyncio.timeout(self._config.request_timeout * 1.5 + 1):
                await (await producer.send_batch(batch, topic, partition=partition))
        except Exception as error:  # the library raises more than KafkaError when a connection ends in the wrong moment
            outcome = judge(error)
            self._note_failure(producer, outcome, error)
            return outcome
        self.acknowledged += batch.record_count()
        self._last_ack = time.monotonic()
        self.reason = ""
        return SENT

    def complain(self, reason: str) -> None:
        """Note why something did not work, for the status."""
        self.reason = printable(reason, 300)

    def status(self) -> Mapping[str, Any]:
        """Say whether there is a connection, and the last reason why not."""
        state = "stopped" if not self._running else "connected" if self._up.is_set() else "connecting"
        return {"state": state, "reason": self.reason, "acknowledged": self.acknowledged}

    def _note_failure(self, producer: AIOKafkaProducer, outcome: Outcome, error: Exception) -> None:
        line = self._line.take()
        self.complain(explain(line, self._config) if line and outcome.unreached else outcome.text)
        silent = time.monotonic() - self._last_ack > SILENT_S
        # A bare KafkaError is the library's way to say that its sending task is dead.
        if (silent or type(error) is KafkaError) and producer is self.producer:
            log.warning("kafka_client_rebuilt", reason=self.reason)
            self._lost.set()

    async def _run(self, options: dict[str, Any]) -> None:
        """Connect, wait until the client is to be thrown away, and again."""
        self._line.listen()
        producer: AIOKafkaProducer | None = None
        try:
            while True:
                producer = await self._connect(options)
                self._lost.clear()
                self._last_ack = time.monotonic()
                self.producer = producer
                self.reason = ""
                self._up.set()
                log.debug("kafka_connected", brokers=self._config.brokers)
                await self._lost.wait()
                self._up.clear()
                log.debug("kafka_connection_given_up", brokers=self._config.brokers)
                await self._close(producer)
        finally:
            self._up.clear()
            self.producer = None
            if producer is not None:
                await self._close(producer)

    async def _connect(self, options: dict[str, Any]) -> AIOKafkaProducer:
        pause, longest = BACKOFF_S
        while True:
            producer = AIOKafkaProducer(**options)
            try:
                async with asyncio.timeout(self._config.request_timeout * 2):
                    await producer.start()
            except Exception as error:
                reason = self._line.take() or f"{type(error).__name__}: {error}"
                self.complain(explain(reason, self._config))
                log.warning("kafka_unreachable", brokers=self._config.brokers, reason=self.reason)
                await self._close(producer)
            except BaseException:
                await self._close(producer)
                raise
            else:
                _one_attempt(producer)
                return producer
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, longest)

    async def _close(self, producer: AIOKafkaProducer) -> None:
        """Close connections first: ``stop`` alone would wait for answers that may never come."""

        async def close() -> None:
            await producer.client.close()
            await producer.stop()

        await close_apart(close(), CLOSE_S)


def _one_attempt(producer: AIOKafkaProducer) -> None:
    """Make the library send a batch once and tell us: its own repetitions would hide whether an earlier one may have
    arrived.

    aiokafka has no public option for that (0.14): it repeats until ``request_timeout_ms`` is over.
    tests/kafka/test_library.py notices when this changes.
    """
    accumulator: Any = getattr(producer, "_message_accumulator", None)
    if hasattr(accumulator, "_batch_ttl"):
        accumulator._batch_ttl = 0
    else:
        log.warning("kafka_client_repeats", reason="this version of aiokafka cannot be kept from sending batches again")
