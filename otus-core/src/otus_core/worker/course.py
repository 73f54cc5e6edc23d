"""What the parts of a worker share while it runs: whether it is to end, how it went, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from otus_core.errors import CaptureError
from otus_core.process.connections import Connection
from otus_core.values import define
from otus_core.worker.assembly import Assembly, Place
from otus_core.worker.status import Status, Told

if TYPE_CHECKING:
    from otus_core.process.messages import Tapped

FAULTS_MAX = 100
"""Kept of one run of ``otus run``; the parent of several workers keeps 1,000 of all."""
T = TypeVar("T")


class Parent:
    """Whoever runs a worker, as the worker sees it: each method is one thing that it tells, from its event loop. This
    one does not listen.
    """

    def tell_started(self, assembly: Assembly) -> None:
        """The components run, but for those that could not be started and may be left out."""

    def tell_fault(self, error: CaptureError) -> None:
        """The source reports something that it could not read."""

    def ask_descriptors(self) -> None:
        """The source needs new descriptors, which ``Worker.take_descriptors`` takes."""

    def tell_trouble(self, reason: str) -> None:
        """Nothing comes in, for this reason; empty when something may come again."""

    def tell_reporters(self, statuses: Mapping[str, Status]) -> None:
        """What the reporters tell of their destinations has changed: all of it."""

    def tell_components(self, told: Told) -> None:
        """What components say of themselves has changed: all of it."""

    def tell_connections(self, connections: Sequence[Connection]) -> None:
        """This process's own connections have changed: all of them."""

    def tell_tapped(self, tapped: Tapped) -> None:
        """There is something to show to somebody who looks in."""


@define(eq=False)
class Outcome:
    """How a run ended. ``faults`` are what the source reported."""

    faults: list[CaptureError] = attrs.field(factory=list)
    stopped: bool = False


@define(eq=False)
class Course:
    """One run. ``reopening``: new descriptors have been asked for, and have not come yet."""

    place: Place
    parent: Parent
    outcome: Outcome = attrs.field(factory=Outcome)
    reopening: bool = False
    _ending: asyncio.Event = attrs.field(factory=asyncio.Event)

    @property
    def ends(self) -> bool:
        """Whether the run is to end."""
        return self._ending.is_set()

    def end(self) -> None:
        """Have the run end, soon and well."""
        self._ending.set()

    def note_fault(self, error: CaptureError) -> None:
        """Keep what the source reported, and tell it; after a fatal one the run ends."""
        # A source may be damaged in as many places as it has bytes.
        if len(self.outcome.faults) < FAULTS_MAX:
            self.outcome.faults.append(error)
        self.parent.tell_fault(error)

    async def unless_ending(self, step: Coroutine[Any, Any, T]) -> T | None:
        """Await a step, unless the run is to end before: see ``unless``."""
        return await unless(self._ending, step)


async def unless(ending: asyncio.Event, step: Coroutine[Any, Any, T]) -> T | None:
    """Await a step; gives ``None``, having cancelled it, when the event comes before it has come to its own end.

    Raises what the step raises.
    """
    doing = asyncio.ensure_future(step)
    comes = asyncio.ensure_future(ending.wait())
    await asyncio.wait({doing, comes}, return_when=asyncio.FIRST_COMPLETED)
    comes.cancel()
    if doing.done():
        return doing.result()
    doing.cancel()
    # cancel() only asks for the end: what the step has in its finally clauses is waited for.
    await asyncio.gather(doing, return_exceptions=True)
    return None
