"""The command channel and the reporter ``kafka`` keep the contracts of their kinds, over a real broker."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from otus_core.testing.contract import CommandChannelContract, ReporterContract
from otus_kafka import envelope

from .broker import Broker
from .client import consume, make_topic, produce

pytestmark = pytest.mark.kafka


class TestKafkaChannel(CommandChannelContract):
    component = "kafka"

    @pytest.fixture(autouse=True)
    def _topics(self, broker: Broker, tmp_path: Path) -> None:
        self.broker = broker
        self.data_dir = str(tmp_path)
        self.commands, self.answers = make_topic(broker, 1), make_topic(broker, 1)
        self.config = {
            "brokers": [broker.bootstrap],
            "topic": self.commands,
            "response_topic": self.answers,
            "group_id": f"otus-{self.commands}",
            "auto_offset_reset": "earliest",
        }

    async def send(self, command: str, payload: dict[str, Any]) -> Mapping[str, Any]:
        request_id = f"r{time.monotonic_ns()}"
        value = envelope.make_command("test", command, payload, request_id, time.time())
        await asyncio.to_thread(produce, self.broker, self.commands, value)
        while True:
            for record in await asyncio.to_thread(consume, self.broker, self.answers):
                if record.json["request_id"] == request_id:
                    return dict(record.json)
            await asyncio.sleep(0.1)


class TestKafkaReporter(ReporterContract):
    component = "kafka"
    unreachable: ClassVar = {"brokers": ["127.0.0.1:1"], "topic": "nowhere"}

    @pytest.fixture(autouse=True)
    def _topic(self, broker: Broker) -> None:
        self.broker = broker
        self.topic = make_topic(broker, 1)
        self.config = {"brokers": [broker.bootstrap], "topic": self.topic}

    def arrived(self) -> int | None:
        return len(consume(self.broker, self.topic))

    @contextmanager
    def hanging(self) -> Iterator[dict[str, Any]]:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            yield {"brokers": [f"127.0.0.1:{deaf.getsockname()[1]}"], "topic": "nowhere"}
