"""Runs one assembled pipeline: slices of packets and, between them, the reporters.

In: an ``Assembly``. Out: an ``Outcome``. A live source is never held up by a reporter; a source that can wait is.
``stop`` may be called at any time and ends the run well: what the source still holds is read, reporters are flushed.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import attrs

from otus_core.chores import Chores
from otus_core.components import CaptureStats
from otus_core.errors import CaptureError
from otus_core.log import Logger
from otus_core.model.frames import FrameBatch
from otus_core.model.text import told
from otus_core.pipeline.call import drain_order
from otus_core.pipeline.counters import CIRCUIT_STATES, KERNEL_COUNTERS, note_resume, unaccounted
from otus_core.process.connections import Connection, Gathered
from otus_core.worker import assembly as phases
from otus_core.worker.assembly import Assembly, Node, Part, Place
from otus_core.worker.figures import SliceFigures
from otus_core.worker.status import Status, status_of, words

log = Logger("otus.worker")

SLICE_FRAMES = 512
SLICE_NS = 2_000_000
"""A slice of packets is this long at most, so that reporters and control are served."""
IDLE_S = 0.02
STATS_EVERY_S = 0.5
BEAT_EVERY_S = 0.2
COLLECT_AFTER = (100_000, 20, 50)
"""Containers made and not given back before cycles are looked for: a full send buffer is no leak, a plugin's cycles are
found all the same.
"""
CIRCUIT_OPEN_S = 60.0
DRAIN_LIVE_S = 5.0
"""What a stopped live source still holds is read for at most this long, and reporters get as long again."""
FAULTS_MAX = 100


@attrs.define(eq=False)
class Outcome:
    """How a run ended. ``faults`` are what the source reported; ``closed`` tells that standard output went away."""

    faults: list[CaptureError] = attrs.field(factory=list)
    closed: bool = False
    stopped: bool = False


class Worker:
    """One pipeline on one core."""

    def __init__(self, assembly: Assembly, node: Node, place: Place) -> None:
        self.assembly = assembly
        self.outcome = Outcome()
        self._node = node
        self._place = place
        self._live = assembly.config.capture.declaration.live
        self._rereads = self._live and bool(getattr(assembly.capturer.component, "rereads", False))
        self._stopping = False
        self._wake = asyncio.Event()
        self._chores = Chores()
        self._stats_at = 0.0
        self._idle_since: float | None = None
        self._booked = CaptureStats()
        self._reopening = False
        self._trouble = ""
        self._told: dict[str, Status] = {}
        self._figures = SliceFigures(assembly.accounts.snapshot())
        self._circuits: dict[str, str] = {}
        self._connections = Gathered()
        self.open_circuits: Sequence[str] = ()
        self.on_started: Callable[[], None] = lambda: None
        self.on_fault: Callable[[CaptureError], None] = lambda _fault: None
        self.on_want_descriptors: Callable[[], object] | None = None
        self.on_trouble: Callable[[str], object] = lambda _trouble: None
        self.on_reporters: Callable[[dict[str, Status]], object] | None = None
        self.on_connections: Callable[[list[Connection]], object] | None = None

    def stop(self) -> None:
        """End the run well, soon."""
        self.outcome.stopped = True
        self._halt()
        for delivery in self.assembly.deliveries:  # a file may be read already, and its last messages under way
            delivery.ends_at = min(delivery.ends_at, time.monotonic() + DRAIN_LIVE_S)

    def closed(self, _reporter: str) -> None:
        """Standard output is gone: nobody listens any more."""
        self.outcome.closed = True
        self._halt()

    def take_peer_messages(self, messages: Sequence[tuple[str, Any]]) -> None:
        """Take what components published in a sibling worker: each message behind the name of whom it is for."""
        takers = {part.spec.id: part.component.on_peer_message for part in self.assembly.parsers}
        takers["flows"] = self.assembly.flows.apply
        for name, message in messages:
            try:
                takers[name](message)
            except Exception as error:
                self._place.on_error("parser", name, error)

    def take_descriptors(self, descriptors: Sequence[int]) -> None:
        """Go on with new descriptors for the source."""
        self._reopening = False
        try:
            self.assembly.source.reopen(descriptors)
        except CaptureError as error:
            self._fault(error)

    def exclude(self, connections: Sequence[Connection]) -> None:
        """Leave out Otus's own connections."""
        try:
            self.assembly.source.exclude(connections)
        except Exception as error:
            log.warning("exclude_failed", error=told(error))

    def _halt(self) -> None:
        self._stopping = True
        self._wake.set()

    async def run(self) -> Outcome:
        """Start the components, read the source to its end or until ``stop``, and stop the components.

        Raises TaskStartFailed.
        """
        assembly = self.assembly
        started = False
        thresholds = gc.get_threshold()
        gc.freeze()  # what is there now stays: it need not be looked at again
        gc.set_threshold(*COLLECT_AFTER)
        try:
            if not await self._unless_stopped(phases.start(assembly, self._node, self._place)):
                return self.outcome
            started = True
            self._open_circuits()
            self._chores.start("worker:heartbeat", self._beat)
            self._open()
            self.on_started()
            await self._read_all()
        finally:
            if started:
                await self._close()
            await phases.stop(assembly)
            await self._chores.stop()  # not before: who stops slowly is not hung
            gc.set_threshold(*thresholds)
            gc.unfreeze()
        return self.outcome

    def _open_circuits(self) -> None:
        """Cut off the components that took earlier workers down."""
        assert self.assembly.pipeline is not None
        for breaker in self.assembly.pipeline.breakers:
            if f"{breaker.kind}:{breaker.name}" in self.open_circuits:
                breaker.open_for(CIRCUIT_OPEN_S)

    def _open(self) -> None:
        place, accounts = self._place, self.assembly.accounts
        try:
            if accounts["frames_read"]:
                earlier = CaptureStats(*(accounts[name] for name in KERNEL_COUNTERS))
                self.assembly.source.resume(accounts["frames_read"] - accounts["frames_again"], earlier)
            self.assembly.source.open(place.shard, place.shards, place.descriptors)
            if self._rereads:
                note_resume(accounts, self.assembly.roster)
        except CaptureError as error:
            self._fault(error)
            if error.fatal:
                self._stopping = True

    async def _read_all(self) -> None:
        source = self.assembly.source
        while not self._stopping:
            batch = self._next()
            if batch is None:
                return
            if batch.count:
                await self._take(batch)
            else:
                await self._idle()
        if self._live:
            source.halt()
            until = time.monotonic() + DRAIN_LIVE_S
            while time.monotonic() < until and (batch := self._next()) is not None and batch.count:
                await self._take(batch)

    def _next(self) -> FrameBatch | None:
        """Read once; a fault of the source is kept, and reading goes on unless it is fatal."""
        while True:
            try:
                return self.assembly.source.read()
            except CaptureError as error:
                self._fault(error)
                if error.fatal:
                    return None

    def _fault(self, error: CaptureError) -> None:
        if len(self.outcome.faults) < FAULTS_MAX:
            self.outcome.faults.append(error)
        self.on_fault(error)

    async def _take(self, batch: FrameBatch) -> None:
        """Send one batch through the pipeline, slice by slice."""
        pipeline = self.assembly.pipeline
        assert pipeline is not None
        self._idle_since = None
        at = 0
        while at < batch.count:
            begun = time.monotonic()
            at = pipeline.process(batch, at, SLICE_FRAMES, SLICE_NS)
            self._figures.took(time.monotonic() - begun)
            await self._between()
            if self._stopping and not self._live:
                return

    async def _between(self) -> None:
        """Serve the reporters, and whoever watches this worker."""
        assembly = self.assembly
        assert assembly.pipeline is not None
        for delivery in assembly.deliveries:
            delivery.kick()
        if self._rereads:
            note_resume(assembly.accounts, assembly.roster)
        now = time.monotonic()
        if now - self._stats_at >= STATS_EVERY_S:
            self._stats_at = now
            self._look_at_source()
            self._tell_of_reporters()
        if assembly.pipeline.full and not self._stopping:
            for delivery in assembly.deliveries:
                if delivery.buffer.full:
                    await self._unless_stopped(delivery.room())
        else:
            await asyncio.sleep(0)

    async def _unless_stopped(self, step: Coroutine[Any, Any, None]) -> bool:
        """Await a step; gives False, having cancelled it, when the run is stopped first.

        Raises what the step raises.
        """
        doing = asyncio.ensure_future(step)
        stopped = asyncio.ensure_future(self._wake.wait())
        await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if doing.done():
            doing.result()
            return True
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        return False

    async def _idle(self) -> None:
        """Nothing is ready: wait for the source, at most ``IDLE_S``, and let the packet clock go on when it is live."""
        assembly = self.assembly
        assert assembly.pipeline is not None
        now = time.monotonic()
        if self._live and assembly.pipeline.clock:
            if self._idle_since is not None:
                assembly.pipeline.advance(assembly.pipeline.clock + int((now - self._idle_since) * 1e9))
            self._idle_since = now
        await self._between()
        descriptor = assembly.source.fileno()
        hint = assembly.source.wait_hint()
        pause = IDLE_S if hint is None else min(max(hint, 0.0), IDLE_S)
        if descriptor is None:
            await asyncio.sleep(pause)
            return
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(descriptor, ready.set)
        try:
            async with asyncio.timeout(pause):
                await ready.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(descriptor)

    def _look_at_source(self) -> None:
        source = self.assembly.source
        self._book_stats(source.stats())
        if self.on_want_descriptors is not None and not self._reopening and source.wants_descriptors():
            self._reopening = True
            self.on_want_descriptors()
        if self._live:
            self._tell(words(source.trouble() or ""))

    def _tell(self, trouble: str) -> None:
        """Tell the parent what has changed: why nothing comes in, and which connections are ours."""
        if trouble != self._trouble:
            self._trouble = trouble
            self.on_trouble(trouble)
        if self.on_connections is not None and self._connections.look():
            self.on_connections(self._connections.all())

    def _tell_of_reporters(self) -> None:
        """Tell the parent how the destinations are, where that has changed."""
        if self.on_reporters is None:
            return
        told = {part.spec.id: self._status_of(part) for part in self.assembly.reporters}
        if told != self._told:
            self._told = told
            self.on_reporters(told)

    def _status_of(self, part: Part) -> Status:
        try:
            return status_of(part.component)
        except Exception as error:
            self._place.on_error("reporter", part.spec.id, error)
            return {}

    def _book_stats(self, stats: CaptureStats) -> None:
        """Add what the source counted since the last look: the counters outlive this worker, its source does not."""
        accounts, last = self.assembly.accounts, self._booked if self._live else stats
        self._booked = stats
        for name, now, before in zip(KERNEL_COUNTERS, attrs.astuple(stats), attrs.astuple(last), strict=True):
            accounts.add(name, now - before)
        accounts.set("flows", len(self.assembly.flows))
        accounts.set("progress_ppm", int(1e6 * (self.assembly.source.progress() or 0.0)))
        self._book_states()
        # Told from here, where no packet is halfway: whoever reads the counters from outside may see one between two of
        # them.
        counters = accounts.snapshot()
        accounts.set("unaccounted", unaccounted(counters, self.assembly.roster))
        self._figures.tell(time.monotonic(), counters)

    def _book_states(self) -> None:
        """Show each component's circuit, and what each buffer holds."""
        assembly = self.assembly
        assert assembly.pipeline is not None
        states = {f"{breaker.kind}:{breaker.name}": breaker.state for breaker in assembly.pipeline.breakers}
        states |= {f"reporter:{delivery.name}": delivery.state for delivery in assembly.deliveries}
        for name, state in states.items():
            assembly.accounts.set(f"state{{{name}}}", CIRCUIT_STATES.index(state))
            if state != self._circuits.get(name, "closed"):
                log.debug("circuit", component=name, old=self._circuits.get(name, "closed"), new=state)
        self._circuits = states
        for delivery in assembly.deliveries:
            assembly.accounts.set(f"{delivery.name}.bytes_queued", delivery.buffer.bytes_held)
            assembly.accounts.set(f"{delivery.name}.oldest_ns", delivery.oldest_ns)
            assembly.accounts.set(f"{delivery.name}.spool_bytes", delivery.spool_bytes)

    async def _beat(self) -> None:
        """Show the parent that this loop turns."""
        while True:
            self.assembly.accounts.set("heartbeat_ns", time.monotonic_ns())
            await asyncio.sleep(BEAT_EVERY_S)

    async def _close(self) -> None:
        """The source has ended: count what is held, send what is left."""
        assembly = self.assembly
        assert assembly.pipeline is not None
        self._book_stats(assembly.source.stats())
        try:
            assembly.source.close()
        except Exception as error:
            log.warning("capture_close_failed", error=told(error))
        assembly.pipeline.finish()
        deadline = DRAIN_LIVE_S if self._live or self._stopping else None
        for group in drain_order(assembly.deliveries):
            await asyncio.gather(*(delivery.drain(deadline) for delivery in group))
