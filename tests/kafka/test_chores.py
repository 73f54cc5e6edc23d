"""Each long-lived asyncio task of the plugin is killed once, by what a library leaks or by a defect: it comes back, is
counted, and its work goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from otus_core.chores import failures
from otus_kafka import envelope, lanes
from otus_kafka.answers import Answers
from otus_kafka.channel import KafkaChannel
from otus_kafka.lanes import Lane
from otus_kafka.link import ProducerLink
from otus_kafka.namesakes import Namesakes
from otus_kafka.reports import Reports
from otus_kafka.settings import HeartbeatConfig
from otus_kafka.topics import TopicBook
from tests.patience import PATIENCE_S

from .broker import Broker
from .client import consume, make_topic, produce
from .commanded import HOST, Node
from .outputs import reporter, sip

pytestmark = pytest.mark.kafka
DEATHS = [asyncio.CancelledError, RuntimeError]
"""The first is what aiokafka leaks; nobody has asked the task to end."""


class Death:
    """Ends the chore that comes by first, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cls: type, name: str, error: type[BaseException]) -> None:
        self.died = False
        inner: Any = getattr(cls, name)

        async def die_once(*arguments: Any, **options: Any) -> Any:
            if not self.died:
                self.died = True
                raise error("killed on purpose")
            return await inner(*arguments, **options)

        monkeypatch.setattr(cls, name, die_once)


async def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def seen(broker: Broker, topic: str, count: int = 1) -> None:
    end = time.monotonic() + PATIENCE_S
    while len(await asyncio.to_thread(consume, broker, topic)) < count:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def commands_go_on(n: Node) -> None:
    n.send("before")
    n.send("after")
    await until(lambda: any(command == "after" for command, _ in n.executed))


async def refusals_go_on(n: Node) -> None:
    for _ in range(3):
        n.produce(b'{"command": "task_create", "task": {}}')
    await n.counted(answers_sent=1)


async def heartbeats_go_on(n: Node) -> None:
    await seen(n.broker, n.channel._config.heartbeat.topic, 2)


async def events_go_on(n: Node) -> None:
    n.channel.otus_task_state_changed("t", "starting", "failed", "why")
    await seen(n.broker, n.channel._config.heartbeat.events_topic)


async def watching_goes_on(n: Node) -> None:
    beat = envelope.make_report(HOST, time.time(), instance="another")

    async def speak() -> None:
        while True:  # it is heard from when the watching has begun again
            await asyncio.to_thread(produce, n.broker, n.channel._config.heartbeat.topic, beat, HOST.encode())

    speaking = asyncio.create_task(speak())
    await until(lambda: n.channel.status()["namesakes"])
    speaking.cancel()
    await asyncio.gather(speaking, return_exceptions=True)


CHANNEL: list[tuple[str, type, str, Callable[[Node], Awaitable[None]]]] = [
    ("kafka:commands", KafkaChannel, "_poll", commands_go_on),
    ("kafka:execution", KafkaChannel, "_run", commands_go_on),
    ("kafka:refusals", Answers, "_write", refusals_go_on),
    ("kafka:heartbeat", Reports, "_beat", heartbeats_go_on),
    ("kafka:events", Reports, "_look", events_go_on),
    ("kafka:namesakes", Namesakes, "_watch", watching_goes_on),
    ("kafka:link", ProducerLink, "_connect", heartbeats_go_on),
]


@pytest.mark.parametrize(("chore", "cls", "name", "goes_on"), CHANNEL, ids=[row[0] for row in CHANNEL])
def test_the_channels_tasks_come_back(
    broker: Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chore: str,
    cls: type,
    name: str,
    goes_on: Callable[[Node], Awaitable[None]],
) -> None:
    beats = HeartbeatConfig(topic=make_topic(broker, 1), interval=1.0, events_topic=make_topic(broker, 1))
    one = Node(broker, tmp_path, heartbeat=beats)
    death, before = Death(monkeypatch, cls, name, asyncio.CancelledError), failures().get(chore, 0)

    async def work(n: Node) -> None:
        await goes_on(n)
        await until(lambda: failures()[chore] > before)
        assert death.died and failures()[chore] == before + 1

    one.run(work)


REPORTER: list[tuple[str, type, str]] = [
    ("kafka:lane", ProducerLink, "send"),
    ("kafka:lane", Lane, "_deliver"),
    ("kafka:topic", TopicBook, "_ask"),
    ("kafka:link", ProducerLink, "_connect"),
]


@pytest.mark.parametrize("error", DEATHS, ids=lambda error: error.__name__)
@pytest.mark.parametrize(("chore", "cls", "name"), REPORTER, ids=[f"{row[0]}, {row[2]}" for row in REPORTER])
def test_the_reporters_tasks_come_back_and_nothing_is_lost(
    broker: Broker,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    chore: str,
    cls: type,
    name: str,
    error: type[BaseException],
) -> None:
    Death(monkeypatch, cls, name, error)
    before = failures().get(chore, 0)

    async def main() -> Mapping[str, Any]:
        async with reporter(broker.bootstrap, topic=topic, partition_by="none") as made:
            async with asyncio.timeout(PATIENCE_S):
                result = await made.report([sip(n) for n in range(50)])
            assert (result.reported, dict(result.failed)) == (50, {})
            return made.status()

    status = asyncio.run(main())
    assert failures()[chore] == before + 1
    assert status["held_bytes"] == 0
    assert len(consume(broker, topic)) == 50


def test_a_batch_that_ends_its_lane_each_time_does_not_block_it(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, left = ProducerLink.send, [lanes.FAULTS_MOST]

    async def send(self: ProducerLink, *arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("killed on purpose")
        return await inner(self, *arguments)

    monkeypatch.setattr(ProducerLink, "send", send)

    async def main() -> None:
        async with reporter(broker.bootstrap, topic=topic, partition_by="flow") as made, asyncio.timeout(PATIENCE_S):
            first = await made.report([sip(0)])
            assert first.failed == {"ambiguous": [0]}
            assert (await made.report([sip(1)])).reported == 1

    asyncio.run(main())
