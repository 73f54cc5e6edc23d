"""What a node says: answers to commands, to what is no command, heartbeats and events; signed where the node has a key.

Refusals are answered beside the reading of commands and at a bounded rate: who sends nonsense must not hold up who does
not.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from otus_kafka import envelope
from otus_kafka.envelope import Refused
from otus_kafka.link import ProducerLink
from otus_kafka.rate import Bucket

WITHIN_S = 10.0
"""For one record, from the wait for a connection to its acknowledgement: an answer that is older helps nobody."""
QUIET = frozenset({"rate", "unsigned", "signature", "too_large", "busy", "report"})
"""Refusals that are not answered: who floods us, or is not who he says, gets no work out of us."""
REFUSALS_RATE, REFUSALS_BURST = 1.0, 20.0
"""A second, and at once: whoever writes nonsense learns what is wrong, and gets no more than that out of a node."""
REFUSALS_WAITING = 40
"""So many answers to refused records wait while the brokers are slow; further ones are withheld."""

log = structlog.get_logger("otus.kafka")


@attrs.frozen(kw_only=True)
class Speaker:
    """Who speaks: the node's name, the process (``instance``), and the key that it signs with."""

    hostname: str
    instance: str
    key: bytes | None = None

    def headers(self, value: bytes, kind: str) -> list[tuple[str, bytes]]:
        """Name the schema, and sign where there is a key."""
        signature = [] if self.key is None else [(envelope.SIGNATURE_HEADER, envelope.sign(self.key, value))]
        return [(envelope.SCHEMA_HEADER, envelope.SCHEMAS[kind]), *signature]


class Answers:
    """Sends what the node has to say. ``say`` logs at a bounded rate."""

    def __init__(
        self, speaker: Speaker, topic: str, link: ProducerLink | None, counts: Counter[str], say: Callable[..., None]
    ) -> None:
        self.speaker = speaker
        self._topic = topic
        self._link = link
        self._counts = counts
        self._say = say
        self._refusals: asyncio.Queue[tuple[Refused, Mapping[str, Any]]] = asyncio.Queue(REFUSALS_WAITING)
        self._bucket = Bucket(REFUSALS_RATE, REFUSALS_BURST)

    async def answer(self, command: str, request_id: str, answer: Mapping[str, Any]) -> None:
        """Answer a command that was executed; one without a ``request_id`` wants no answer."""
        if request_id and self._topic:
            await self._write(command, request_id, answer)

    def refuse(self, refused: Refused, record: ConsumerRecord) -> None:
        """Have a refused record answered, if it is to be answered at all and not too many are."""
        if not self._topic or refused.reason in QUIET or not (refused.request_id or refused.incomplete):
            return
        if refused.target not in ("", envelope.EVERYBODY, self.speaker.hostname):
            return
        if not self._bucket.take() or self._refusals.full():
            self._counts["answers_withheld"] += 1
            return
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        problem = envelope.error(envelope.INVALID_REQUEST, refused.text)["error"]
        self._refusals.put_nowait((refused, {"error": {**problem, "data": {"record": place}}}))

    async def answer_refusals(self) -> None:
        """Answer refused records until cancelled."""
        while True:
            refused, answer = await self._refusals.get()
            await self._write(refused.command, refused.request_id, answer)

    async def _write(self, command: str, request_id: str, answer: Mapping[str, Any]) -> None:
        speaker = self.speaker
        value = envelope.make_answer(speaker.hostname, command, request_id, answer, time.time(), speaker.instance)
        sent = await self.send(self._topic, value, "answer")
        about = {"channel": "kafka", "topic": self._topic, "request_id": request_id, "command": command}
        log.debug("answer_written" if sent else "answer_not_written", **about, bytes=len(value))
        self._counts["answers_sent" if sent else "answers_lost"] += 1

    async def send(self, topic: str, value: bytes, kind: str) -> bool:
        """Send one record (an ``answer``, ``heartbeat`` or ``event``), with our name as its key; says whether a broker
        has it.
        """
        link = self._link
        if link is None:
            return False
        try:
            async with asyncio.timeout(WITHIN_S):
                # Both bounds are needed: the wait knows the connection alone, and the outer one also the broker's
                # answer.
                if not await link.wait_up(asyncio.get_running_loop().time() + WITHIN_S) or link.producer is None:
                    return False
                key, headers = self.speaker.hostname.encode(), self.speaker.headers(value, kind)
                await link.producer.send_and_wait(topic, value, key=key, headers=headers)
                return True
        except (KafkaError, TimeoutError, OSError) as error:
            self._say("answer_lost", topic=topic, error=f"{type(error).__name__}: {error}")
            return False
