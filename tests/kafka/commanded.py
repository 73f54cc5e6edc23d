"""A command channel in this process, with a handler that only notes what it is asked to do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from otus_core import Context
from otus_kafka import envelope
from otus_kafka.channel import KafkaChannel
from otus_kafka.settings import KafkaChannelConfig
from tests.patience import PATIENCE_S

from .broker import Broker
from .client import consume, make_topic, produce

HOST = "edge-1"
INSTANCE = "1234"
KEY = bytes(range(32))
Work = Callable[["Node"], Awaitable[None]]


class Node:
    """A channel and what it was asked to do."""

    def __init__(self, broker: Broker, folder: Path, **options: Any) -> None:
        self.broker = broker
        self.commands, self.answers = options.pop("topic", "") or make_topic(broker, 1), make_topic(broker, 1)
        self.executed: list[tuple[str, Mapping[str, Any]]] = []
        self.pause = 0.0
        self._folder = folder
        self._config = KafkaChannelConfig(
            brokers=[options.pop("address", broker.bootstrap)],
            topic=self.commands,
            response_topic=self.answers,
            group_id=f"otus-{self.commands}",
            auto_offset_reset="earliest",
            **options,
        )
        self.channel = self._make()

    def _make(self) -> KafkaChannel:
        channel = KafkaChannel(self._config)
        channel.wire(Context(task_id="", agent_id=HOST, hostname=HOST, instance=INSTANCE, data_dir=str(self._folder)))
        return channel

    async def handle(self, command: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        await asyncio.sleep(self.pause)
        self.executed.append((command, payload))
        if command == "fail":
            return {"error": {"code": -32602, "message": "task_id: there is no task 'x'"}}
        return {"result": {"command": command, "number": len(self.executed)}}

    def run(self, work: Work) -> None:
        """Do something while the channel runs; a new channel each time, as after a restart."""

        async def main() -> None:
            self.channel = self._make()
            await self.channel.start(self.handle)
            try:
                async with asyncio.timeout(4 * PATIENCE_S):
                    await work(self)
            finally:
                await self.channel.stop()

        asyncio.run(main())

    def send(self, command: str = "task_list", **about: Any) -> bytes:
        signed_with = about.pop("key", None)
        message = {
            "version": "v1",
            "target": HOST,
            "command": command,
            "timestamp": envelope.rfc3339(time.time() + about.pop("ahead", 0)),
            "request_id": f"r{time.monotonic_ns()}",
            "payload": {},
            **about,
        }
        value = json.dumps({name: it for name, it in message.items() if it is not None}).encode()
        self.produce(value, {envelope.SIGNATURE_HEADER: envelope.sign(signed_with, value)} if signed_with else None)
        return value

    def produce(self, value: bytes, headers: dict[str, bytes] | None = None) -> None:
        produce(self.broker, self.commands, value, headers=headers)

    async def counted(self, **wanted: int) -> dict[str, int]:
        """Wait until the channel has counted so much."""
        names = {name.replace("refused_", "refused:"): n for name, n in wanted.items()}
        until = time.monotonic() + PATIENCE_S
        while True:
            counts = self.channel.status()["commands"]
            if all(counts.get(name, 0) >= n for name, n in names.items()):
                return dict(counts)
            assert time.monotonic() < until, (names, self.channel.status())
            await asyncio.sleep(0.05)

    def answered(self) -> list[dict[str, Any]]:
        records = consume(self.broker, self.answers)
        assert {record.key for record in records} <= {HOST}
        return [record.json for record in records]
