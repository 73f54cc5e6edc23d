"""The command channel ``kafka`` keeps the contract of command channels, over a real broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from otus_core.testing.contract import CommandChannelContract
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
