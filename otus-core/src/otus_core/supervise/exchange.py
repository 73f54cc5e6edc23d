"""What the workers of a task tell each other: it goes through their supervisor, which does not look into it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from otus_core.process.messages import Arrived, Met, Publish, PublishLost, Route, Routed, RouteLost
from otus_core.supervise.slot import WorkerSlot
from otus_core.supervise.taps import Taps

STAGES_MAX = 10_000
"""A worker has some stages for each processor that routes (``ROUNDS_MAX``); one under an attacker's control could make
up others.
"""


class Exchange:
    """Carries what workers publish and route, and lets them wait for each other at the stages of their end.

    ``taps`` are those who look in. ``secret`` decides which worker owns a key; it is the same as long as the task runs.
    """

    def __init__(self, slots: Sequence[WorkerSlot]) -> None:
        self._slots = slots
        # Unknown to those who send packets: they could otherwise choose Call-IDs that all belong to one worker.
        self.secret = os.urandom(16)
        self.taps = Taps(slots)
        self._arrived: dict[str, set[int]] = {}
        self._passed: set[str] = set()
        self._wanting: set[str] = set()

    def carry(self, slot: WorkerSlot, message: Publish | Route | Arrived) -> None:
        """Carry what one worker says to those whom it concerns.

        Raises LookupError for a worker that does not exist, and ValueError for one stage too many.
        """
        match message:
            case Publish():
                there = [one for one in self._slots if one is not slot and one.process is not None]
                # A worker that does not read loses what it is told, and whoever told it counts that: waiting for it
                # would hold up all.
                if missed := sum(not other.send(message) for other in there):
                    slot.send(PublishLost(missed * message.count))
            case Route(owner, counts, packed):
                if owner < 0:  # which Python would count from the end
                    raise LookupError(f"there is no worker {owner}")
                other = self._slots[owner]
                # One that is still being started has no component yet that could take it.
                if other.state != "running" or not other.send(Routed(packed)):
                    slot.send(RouteLost(counts))
            case Arrived(stage, more):
                if stage not in self._arrived and len(self._arrived) >= STAGES_MAX:
                    raise ValueError("more stages than a task can have")
                self._arrived.setdefault(stage, set()).add(slot.shard)
                if more:
                    self._wanting.add(stage)
                self.let_go_on()

    def let_go_on(self) -> None:
        """Let the workers go on from each stage at which all that are still there have arrived."""
        # Not those that died: they have nothing more to send.
        present = {slot.shard for slot in self._slots if slot.alive}
        for stage, shards in self._arrived.items():
            if present <= shards and stage not in self._passed:
                self._passed.add(stage)
                for slot in self._slots:
                    # Behind what was routed, which may have filled the channel: who hears nothing waits in vain.
                    slot.send(Met(stage, stage in self._wanting), needed=True)
