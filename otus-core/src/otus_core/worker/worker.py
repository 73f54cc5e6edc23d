"""Runs one assembled pipeline: starts it, reads its source, and stops it.

In: an ``Assembly``. Out: an ``Outcome``. A live source is never held up by a reporter; a source that can wait is.
``stop`` may be called at any time and ends the run well: what the source still holds is read, reporters are flushed.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from otus_core.chores import Chores
from otus_core.errors import CaptureError
from otus_core.pipeline.breaker import Breaker
from otus_core.pipeline.delivery import Delivery
from otus_core.process.connections import Connection
from otus_core.worker import assembly as phases
from otus_core.worker.assembly import Assembly, Node, Place
from otus_core.worker.course import Course, Outcome, Parent
from otus_core.worker.reading import DRAIN_LIVE_S, Reading
from otus_core.worker.starting import Running, start

if TYPE_CHECKING:
    from otus_core.worker.taps import Taps

BEAT_EVERY_S = 0.2
"""A fraction of the 1.5 s after which a silent worker counts as stuck (``supervise/supervisor``)."""
COLLECT_AFTER = (100_000, 20, 50)
"""Containers made and not given back before cycles are looked for: a full send buffer is no leak, a plugin's cycles are
found all the same.
"""
CIRCUIT_OPEN_S = 60.0
"""Then it is tried again: what took a worker down may have been a packet of that minute."""


class Worker:
    """One pipeline on one core.

    ``parent`` is told how the run goes. ``open_circuits`` are the components, by ``kind:id``, that took earlier workers
    down: they are cut off for a while.
    """

    def __init__(
        self,
        assembly: Assembly,
        node: Node,
        place: Place,
        parent: Parent | None = None,
        open_circuits: Collection[str] = (),
    ) -> None:
        self.assembly = assembly
        self._node = node
        self._place = place
        self._course = Course(place, parent or Parent())
        self._open_circuits = open_circuits
        self._deliveries: Sequence[Delivery] = ()
        self._breakers: Sequence[Breaker] = ()
        self._reading: Reading | None = None
        self._chores = Chores()
        self._running: Running | None = None
        self._taps: Taps | None = None

    def stop(self) -> None:
        """End the run well, soon."""
        self._course.outcome.stopped = True
        self._course.end()
        for delivery in self._deliveries:  # a file may be read already, and its last messages under way
            delivery.ends_at = min(delivery.ends_at, time.monotonic() + DRAIN_LIVE_S)

    def give_up(self, component: str) -> None:
        """End the run, soon and well, and do not give this component, by ``kind:id``, any packet more."""
        self._cut_off((component,))
        self._course.end()

    def take_peer_messages(self, messages: Sequence[tuple[str, Any]]) -> None:
        """Take what components published in a sibling worker: each message behind the name of whom it is for."""
        parts = {part.spec.id: part.component for part in self.assembly.parsers}
        takers = {name: part.on_peer_message for name, part in parts.items() if hasattr(part, "on_peer_message")}
        takers["flows"] = self.assembly.flows._apply
        for name, message in messages:
            try:
                takers[name](message)
            except BaseException as error:
                self._place.on_error("parser", name, error)

    def take_routed(self, messages: Iterable[tuple[str, str, Any]]) -> None:
        """Take what components routed here from other workers: the component's kind and id, the key, the message."""
        if self._reading is not None:
            self._reading.take_routed(messages)

    def take_descriptors(self, descriptors: Sequence[int]) -> None:
        """Go on with new descriptors for the source."""
        self._course.reopening = False
        try:
            self.assembly.source.reopen(descriptors)
        except CaptureError as error:
            self._course.note_fault(error)

    def exclude(self, connections: Sequence[Connection]) -> None:
        """Leave out Otus's own connections."""
        self.assembly.source.exclude(connections)

    def taps(self) -> Taps | None:
        """Give what shows messages to those who look in; ``None`` while the pipeline does not run."""
        if self._taps is None and self._running is not None:
            from otus_core.worker.taps import Taps  # few runs are looked into, and of one process none

            accounts, schemas = self.assembly.accounts, phases.schemas_of(self.assembly.config)
            tell = self._course.parent.tell_tapped
            self._taps = Taps(self._running.pipeline, lambda: accounts["kept"], schemas, tell)
        return self._taps

    async def run(self) -> Outcome:
        """Start the components, read the source to its end or until ``stop``, and stop the components.

        Raises TaskStartFailed.
        """
        thresholds = gc.get_threshold()
        # Modules and declarations live as long as the process (gc.freeze(): they go to a generation that is never
        # looked at).
        gc.freeze()  # what is there now stays: it need not be looked at again
        gc.set_threshold(*COLLECT_AFTER)
        try:
            starting = start(self.assembly, self._node, self._place, self._lose_output)
            running = await self._course.unless_ending(starting)
            if running is not None:
                await self._read(running)
        finally:
            await phases.stop(self.assembly)
            await self._chores.stop()  # not before: who stops slowly is not hung
            gc.set_threshold(*thresholds)
            gc.unfreeze()
        return self._course.outcome

    async def _read(self, running: Running) -> None:
        self._deliveries = running.deliveries
        self._breakers = running.pipeline.breakers
        reading = self._reading = Reading(running, self._course)
        self._running = running
        try:
            # Before the first packet: the one that took the last worker down may be the next that is read.
            self._cut_off(self._open_circuits)
            self._chores.start("worker:heartbeat", self._beat)
            reading.open()
            self._course.parent.tell_started(self.assembly)
            await reading.read_all()
        finally:
            await reading.close()
            self._running = None
            if self._taps is not None:
                await self._taps.stop()

    def _cut_off(self, components: Collection[str]) -> None:
        for breaker in self._breakers:
            if f"{breaker.kind}:{breaker.name}" in components:
                breaker.open_for(CIRCUIT_OPEN_S)

    def _lose_output(self, _reporter: str) -> None:
        """Standard output is gone: nobody listens any more."""
        self._course.end()

    async def _beat(self) -> None:
        """Show the parent that this loop turns."""
        while True:
            self.assembly.accounts.set("heartbeat_ns", time.monotonic_ns())
            await asyncio.sleep(BEAT_EVERY_S)
