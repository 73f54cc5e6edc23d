"""What a node says without being asked: heartbeats, and changes of its tasks' states."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from otus_core import CommandHandler
from otus_kafka import envelope
from otus_kafka.settings import HeartbeatConfig

LOOK_EVERY_S = 1.0
GONE = "gone"

Send = Callable[[str, bytes], Awaitable[bool]]


class Reports:
    """Asks the daemon as any caller would, and sends what it hears."""

    def __init__(self, config: HeartbeatConfig, hostname: str, handler: CommandHandler, send: Send) -> None:
        self._config = config
        self._hostname = hostname
        self._handler = handler
        self._send = send
        self._states: dict[str, str] = {}

    async def run(self) -> None:
        """Report until cancelled."""
        due = time.monotonic()
        while True:
            status = (await self._handler("daemon_status", {})).get("result") or {}
            if self._config.events_topic:
                await self._events(status.get("tasks") or {})
            if self._config.topic and time.monotonic() >= due:
                due = time.monotonic() + self._config.interval
                await self._heartbeat(status)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _heartbeat(self, status: Mapping[str, Any]) -> None:
        stats = (await self._handler("daemon_stats", {})).get("result") or {}
        tasks = stats.get("tasks") or {}
        report = envelope.make_report(
            self._hostname,
            time.time(),
            otus_version=status.get("version", ""),
            uptime_sec=status.get("uptime_sec", 0),
            tasks=status.get("tasks") or {},
            drops={task_id: _drops(task.get("counters") or {}) for task_id, task in tasks.items()},
        )
        await self._send(self._config.topic, report)

    async def _events(self, states: Mapping[str, str]) -> None:
        """Tell of each task whose state is another one than before."""
        for task_id in sorted({*self._states, *states}):
            old, new = self._states.get(task_id, ""), states.get(task_id, GONE)
            if old == new:
                continue
            event = envelope.make_report(
                self._hostname, time.time(), event="task_state", task_id=task_id, old=old, new=new
            )
            if not await self._send(self._config.events_topic, event):
                return  # told when a broker is there again, as far as it is still true
            self._states[task_id] = new
            if new == GONE:
                del self._states[task_id]


def _drops(counters: Mapping[str, Any]) -> dict[str, int]:
    """Give what a task lost, by reason: in the kernel, and on the way to each reporter."""
    lost = {"kernel": int(counters.get("kernel_drop") or 0)}
    for name, terms in (counters.get("reporters") or {}).items():
        lost[f"reporter:{name}"] = sum((terms.get("dropped") or {}).values())
    return lost
