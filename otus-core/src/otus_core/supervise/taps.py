"""Those who look in on a running task: what its workers show them, until the task ends or nobody looks any more.

A worker's lines wait for their reader in a bounded queue. What a reader who is too slow has no room for is lost to him
alone: neither the worker nor the task is held up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs

from otus_core.errors import OtusError
from otus_core.model.text import printable
from otus_core.process.messages import REFUSAL_MAX, Tap, Tapped, Untap
from otus_core.supervise.slot import WorkerSlot
from otus_core.values import define

# Each costs every worker of the task a comparison for each message that it looks at.
TAPS_MAX = 8
"""Of one task at a time."""
WAITING_MAX = 1 << 20
"""Bytes of lines that wait for one reader."""
TELL_EVERY_S = 0.5
"""Also when there is nothing: how many messages were skipped is news, and a reader that has gone is noticed."""


@define(eq=False)
class Viewer:
    """One who looks in. Iterating gives what there is, at least every ``TELL_EVERY_S``, as plain data: ``lines``, and
    how many messages were ``seen``, ``shown`` and ``skipped`` since the last time; at the end, ``ended`` with the
    reason.
    """

    tap: Tap
    _lines: bytearray = attrs.field(factory=bytearray)
    _counts: dict[str, int] = attrs.field(factory=lambda: {"seen": 0, "shown": 0, "skipped": 0})
    _ended: str | None = None
    _more: asyncio.Event = attrs.field(factory=asyncio.Event)

    def take(self, tapped: Tapped) -> None:
        """Take what a worker shows."""
        if tapped.refusal:
            self.end(printable(tapped.refusal, REFUSAL_MAX))
            return
        has_room = len(self._lines) + len(tapped.lines) <= WAITING_MAX
        self._counts["seen"] += max(0, tapped.seen)
        self._counts["shown"] += tapped.shown if has_room else 0
        self._counts["skipped"] += tapped.skipped + (0 if has_room else tapped.shown)
        if has_room and tapped.lines:
            self._lines += tapped.lines
            self._more.set()

    def end(self, why: str) -> None:
        """There is nothing more to see."""
        self._ended = self._ended or why
        self._more.set()

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            if not self._more.is_set():
                try:
                    async with asyncio.timeout(TELL_EVERY_S):
                        await self._more.wait()
                except TimeoutError:
                    pass
            self._more.clear()
            text = self._lines.decode("utf-8", "replace")
            told = {**self._counts, "lines": text}
            self._lines.clear()
            self._counts = dict.fromkeys(self._counts, 0)
            if self._ended is not None:
                yield {**told, "ended": self._ended}
                return
            yield told


class Taps:
    """All who look in on one task."""

    def __init__(self, slots: Sequence[WorkerSlot]) -> None:
        self._slots = slots
        self._viewers: dict[int, Viewer] = {}
        self._number = 0

    def open(self, *, expression: str, form: str, columns: int, colour: bool, rate: int) -> Viewer:
        """Let somebody look in. Raises OtusError where too many do."""
        if len(self._viewers) >= TAPS_MAX:
            raise OtusError(f"{TAPS_MAX} look in on this task already")
        self._number += 1
        share = max(1, rate // len(self._slots))
        tap = Tap(self._number, expression, form, columns, colour, share)
        viewer = self._viewers[tap.number] = Viewer(tap)
        for slot in self._slots:
            slot.send(tap)
        return viewer

    def close(self, viewer: Viewer) -> None:
        """Somebody looks no more."""
        if self._viewers.pop(viewer.tap.number, None) is not None:
            for slot in self._slots:
                slot.send(Untap(viewer.tap.number))

    def join(self, slot: WorkerSlot) -> None:
        """A worker has been started: it is looked in on like the others."""
        for viewer in self._viewers.values():
            slot.send(viewer.tap)

    def hear(self, tapped: Tapped) -> None:
        """Take what a worker shows."""
        viewer = self._viewers.get(tapped.number)
        if viewer is not None:
            viewer.take(tapped)

    def end(self, why: str) -> None:
        """The task has ended."""
        for viewer in self._viewers.values():
            viewer.end(why)
