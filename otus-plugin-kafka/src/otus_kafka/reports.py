"""What a node says without being asked: heartbeats, and changes of its tasks' states."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import attrs

from otus_core import CommandHandler, calling
from otus_kafka import envelope
from otus_kafka.answers import Answers
from otus_kafka.settings import HeartbeatConfig

LOOK_EVERY_S = 1.0
"""How soon it is noticed that a task is gone, of which no hook tells."""
GONE = "gone"
EVENTS_WAITING = 1000
"""Changes that wait for a broker; of more the oldest are lost, and counted."""


@attrs.frozen
class Change:
    """A task went from one state to another."""

    task_id: str
    old: str
    new: str
    reason: str


class Reports:
    """Asks the daemon as any caller would, takes the changes that it is told of, and sends both."""

    def __init__(
        self, config: HeartbeatConfig, node_ip: str, handler: CommandHandler, answers: Answers, counts: Counter[str]
    ) -> None:
        self._config = config
        self._node_ip = node_ip
        self._handler = handler
        self._answers = answers
        self._counts = counts
        self._states: dict[str, str] = {}
        self._changes: deque[Change] = deque()
        self._more = asyncio.Event()
        self._began = False

    def note_change(self, task_id: str, old: str, new: str, reason: str) -> None:
        """Take a change, to be sent soon."""
        if len(self._changes) >= EVENTS_WAITING:
            self._changes.popleft()
            self._counts["events_lost"] += 1
        self._changes.append(Change(task_id, old, new, reason))
        self._more.set()

    async def tell_changes(self) -> None:
        """Send changes in their order until cancelled, beginning with the states that tasks have already."""
        while True:
            await self._look()
            self._more.clear()
            while self._changes:
                change = self._changes[0]
                if self._states.get(change.task_id) != change.new and not await self._tell(change):
                    break  # no broker: what waits is told in its order when one is there again
                if self._changes and self._changes[0] is change:
                    self._changes.popleft()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._more.wait()

    async def _look(self) -> None:
        """Find the tasks that were there before us, and those that are there no more."""
        rows = {row["task_id"]: row for row in (await self._ask("task_status")).get("tasks") or ()}
        waiting = {change.task_id for change in self._changes}
        if not self._began:
            for task_id in sorted(set(rows) - waiting):
                self.note_change(task_id, "", rows[task_id]["state"], rows[task_id].get("reason") or "")
            self._began = True
        for task_id in sorted(set(self._states) - set(rows) - waiting):
            self.note_change(task_id, self._states[task_id], GONE, "")

    async def _tell(self, change: Change) -> bool:
        speaker = self._answers.speaker
        event = envelope.make_report(
            speaker.hostname, time.time(), instance=speaker.instance, event="task_state", **attrs.asdict(change)
        )
        if not await self._answers.send(self._config.events_topic, event, "event"):
            return False
        self._states[change.task_id] = change.new
        if change.new == GONE:
            del self._states[change.task_id]
        return True

    async def beat(self) -> None:
        """Send heartbeats until cancelled."""
        due = time.monotonic()
        while True:
            await self._beat()
            # From when it was due: otherwise each beat would come later by what the one before took.
            due = max(due + self._config.interval, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _beat(self) -> None:
        status, stats = await self._ask("daemon_status"), await self._ask("daemon_stats")
        speaker, tasks = self._answers.speaker, stats.get("tasks") or {}
        report = envelope.make_report(
            speaker.hostname,
            time.time(),
            instance=speaker.instance,
            node_ip=self._node_ip,
            otus_version=status.get("version", ""),
            versions=status.get("versions") or {},
            uptime_sec=status.get("uptime_sec", 0),
            tasks=status.get("tasks") or {},
            drops={task_id: _drops(task.get("counters") or {}) for task_id, task in tasks.items()},
        )
        await self._answers.send(self._config.topic, report, "heartbeat")

    async def _ask(self, command: str) -> Mapping[str, Any]:
        with calling({"principal": "heartbeat"}, routine=True):
            return (await self._handler(command, {})).get("result") or {}


def _drops(counters: Mapping[str, Any]) -> dict[str, int]:
    """Give what a task lost, by reason: in the kernel, and on the way to each reporter."""
    lost = {"kernel": int(counters.get("kernel_drop") or 0)}
    for name, terms in (counters.get("reporters") or {}).items():
        lost[f"reporter:{name}"] = sum((terms.get("dropped") or {}).values())
    return lost
