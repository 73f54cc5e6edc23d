"""What the workers of a task tell each other: it goes through their supervisor, which does not look into it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from otus_core.supervise.slot import WorkerSlot


class Exchange:
    """Carries what workers publish and route, and lets them wait for each other at the stages of their end.

    ``secret`` decides which worker owns a key; it is the same as long as the task runs.
    """

    def __init__(self, slots: Sequence[WorkerSlot]) -> None:
        self._slots = slots
        self.secret = os.urandom(16)
        self._arrived: dict[str, set[int]] = {}
        self._passed: set[str] = set()

    def carry(self, slot: WorkerSlot, kind: str, *told: Any) -> None:
        """Carry one message. Raises TypeError, ValueError or LookupError for one that cannot be understood."""
        if kind == "publish":
            for other in (one for one in self._slots if one is not slot):
                other.send((kind, *told))
        elif kind == "route":
            owner, counts, packed = told
            if not self._slots[owner].send((kind, packed)):
                slot.send(("route_lost", counts))
        else:
            (stage,) = told
            self._arrived.setdefault(stage, set()).add(slot.shard)
            self.let_go_on()

    def let_go_on(self) -> None:
        """Let the workers go on from each stage at which all that are still there have arrived."""
        present = {slot.shard for slot in self._slots if slot.alive}
        for stage, shards in self._arrived.items():
            if present <= shards and stage not in self._passed:
                self._passed.add(stage)
                for slot in self._slots:
                    slot.send(("met", stage))
