"""One task of the daemon: what is stored of it, its workers while it has some, and who waits for its start."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import attrs

from otus_core.chores import Chores
from otus_core.supervise.levels import fill_levels
from otus_core.supervise.store import StoredTask
from otus_core.supervise.supervisor import TaskSupervisor
from otus_core.task.spec import TaskConfig
from otus_core.task.state import State
from otus_core.values import define

RETRY_FIRST_S, RETRY_MOST_S = 1.0, 60.0
"""The pause after the first failed start; each further one doubles it, up to the longest."""


@define(kw_only=True, eq=False)
class Task:
    """One task of the daemon.

    ``config`` and ``supervisor`` are those of the last start, and ``None`` before it; ``stamps`` tell the files of
    passwords and keys that it found. ``attempt`` holds how the start that is under way, or the last one, came out: the
    reason why it failed, or empty. ``unusable`` says why this daemon can do nothing with it. ``next_try_ns`` is 0 where
    no further start is due.
    """

    stored: StoredTask
    config: TaskConfig | None = None
    supervisor: TaskSupervisor | None = None
    degraded: bool = False
    unusable: str = ""
    stamps: tuple[tuple[str, int, int], ...] = ()
    next_try_ns: int = 0
    keeper: Chores | None = None
    attempt: asyncio.Future[str] = attrs.field(factory=lambda: asyncio.get_running_loop().create_future())
    wake: asyncio.Event = attrs.field(factory=asyncio.Event)
    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    @property
    def state(self) -> State:
        """Where the task is in its life."""
        return self.stored.state

    def expect(self) -> None:
        """A start is due: who waits from now on waits for that one."""
        if self.attempt.done():
            self.attempt = asyncio.get_running_loop().create_future()

    def conclude(self, reason: str) -> None:
        """Tell those who wait for the start how it came out."""
        if not self.attempt.done():
            self.attempt.set_result(reason)

    def restart(self) -> bool:
        """Have the keeper start it now; says whether it has one."""
        if self.keeper is None:
            return False
        self.expect()
        self.wake.set()
        return True

    def fill(self) -> float:
        """Give the fill level of its fullest send buffer, 0 to 1."""
        if self.supervisor is None or self.config is None:
            return 0.0
        return max(fill_levels(self.supervisor, self.config).values(), default=0.0)


def pauses_between_starts() -> Iterator[float]:
    """Give the pauses between the starts of a task that fails: each up to half as long again, so that tasks that failed
    together do not return together.
    """
    pause = RETRY_FIRST_S
    while True:
        yield pause * random.uniform(1.0, 1.5)
        # Doubled without the random part, which would grow along.
        pause = min(pause * 2, RETRY_MOST_S)
