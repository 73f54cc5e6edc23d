"""Reads the source of a started pipeline to its end: slices of packets and, between them, the reporters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from otus_core.components import CaptureStats
from otus_core.errors import CaptureError
from otus_core.model.frames import FrameBatch
from otus_core.pipeline.call import drain_order
from otus_core.pipeline.counters import KERNEL_COUNTERS, ResumePoint
from otus_core.pipeline.slots import ProcessorSlot
from otus_core.pipeline.turns import ROUNDS_MAX
from otus_core.worker.course import Course
from otus_core.worker.sampling import Sampler
from otus_core.worker.starting import Running

SLICE_FRAMES, SLICE_NS = 512, 2_000_000
"""A slice of a live source is this long at most, so that reporters and control are served."""
WAITING_FRAMES, WAITING_NS = 2048, 5_000_000
"""A slice of a source that waits for us: nothing is lost meanwhile, and what is between two slices costs as much as 30
frames.
"""
IDLE_S = 0.02
"""How often a source without a descriptor is asked again: a frame waits 10 ms on average, and 50 calls a second cost
nothing.
"""
STATS_EVERY_S = 0.5
"""The kernel counts the packets of a socket in 32 bits, and begins anew when it is asked (packet(7)): none may
overflow.
"""
DRAIN_LIVE_S = 5.0
"""What a stopped live source still holds is read for at most this long, and reporters get as long again."""
PATIENCE_S = 1.5
"""So long full buffers hold up what is told at the end, where other workers wait: they meet within three seconds."""


class Reading:
    """The way of one source's packets, from ``open`` to ``close``."""

    def __init__(self, running: Running, course: Course) -> None:
        self._assembly = running.assembly
        self._source = running.assembly.source
        self._pipeline = running.pipeline
        self._deliveries = running.deliveries
        self._course = course
        self._live = running.assembly.config.capture.declaration.live
        self._slice = (SLICE_FRAMES, SLICE_NS) if self._live else (WAITING_FRAMES, WAITING_NS)
        self._rereads = self._source.rereads
        self._sampler = Sampler(running, course)
        self._resume_point = ResumePoint(running.assembly.accounts, running.assembly.roster)
        self._stats_at = 0.0
        self._idle_since: float | None = None

    def open(self) -> None:
        """Open the source, where an earlier worker left off. What it reports is kept; after a fatal fault the run
        ends.
        """
        place, accounts = self._course.place, self._assembly.accounts
        try:
            # Counters outlive their worker, so these are of one that died.
            if accounts["frames_read"]:
                earlier = CaptureStats(*(accounts[name] for name in KERNEL_COUNTERS))
                # Those that were read again do not count: the source counts each of its frames once.
                self._source.resume(accounts["frames_read"] - accounts["frames_again"], earlier)
            self._source.open(place.shard, place.shards, place.descriptors)
            if self._rereads:
                self._resume_point.note()
        except CaptureError as error:
            self._course.note_fault(error)
            if error.fatal:
                self._course.end()

    async def read_all(self) -> None:
        """Read until the source ends or the run is to end; what a live source holds then is read too."""
        while not self._course.ends:
            batch = await self._next()
            if batch is None:
                return
            if batch.count:
                await self._take(batch)
            else:
                await self._idle()
        if self._live:
            # What the kernel had taken in before the end counts as received; it is read, so that the sums close.
            self._source.halt()
            until = time.monotonic() + DRAIN_LIVE_S
            while time.monotonic() < until and (batch := await self._next()) is not None and batch.count:
                await self._take(batch)

    async def close(self) -> None:
        """Count what is held, and send what is left."""
        # Before the source is closed: only an open socket can be asked for its statistics (PACKET_STATISTICS,
        # packet(7)).
        self._sampler.book(self._source.stats())
        self._source.close()
        await self._finish()
        deadline = DRAIN_LIVE_S if self._live or self._course.ends else None
        for group in drain_order(self._deliveries):
            # Group by group: what one gives up at its end goes to its fallback, which must still take it.
            await asyncio.gather(*(delivery.drain(deadline) for delivery in group))

    async def _finish(self) -> None:
        """Have parsers, and then processors in their order, tell what is open; before one that routes finishes, what
        other workers routed to it has arrived, and what it routes in rounds.
        """
        routing = self._assembly.roster.routing
        patience = PATIENCE_S if routing and self._course.place.meet is not None else DRAIN_LIVE_S
        until = time.monotonic() + patience
        self._pipeline.finish()
        await self._carry_on(until)
        for at, slot in enumerate(self._pipeline.processors):
            if f"processor:{slot.breaker.name}" in routing:
                await self._meet_in_rounds(at, slot)
                until = time.monotonic() + patience
            self._pipeline.finish_processor(at)
            await self._carry_on(until)
        if routing:
            await self._meet("")
        for part in (*self._assembly.parsers, *self._assembly.processors):
            part.outbox.closed = True

    async def _carry_on(self, until: float) -> None:
        """Take what components tell; a run that is to stop waits for slow reporters only for a while."""
        while not self._pipeline.carry_on((self._live or self._course.ends) and time.monotonic() > until):
            await self._serve_others()
            if self._live or self._course.ends:
                await self._wait_for_room(until)

    async def _wait_for_room(self, until: float) -> None:
        """Wait for full buffers, and not longer."""
        for delivery in self._deliveries:
            if delivery.buffer.full:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, until - time.monotonic())):
                        await delivery.room()

    async def _meet_in_rounds(self, at: int, slot: ProcessorSlot) -> None:
        """Wait for what was routed to a processor; then have it route what is open, in as many rounds as that of any
        worker wants. After each, all has arrived.
        """
        name = slot.breaker.name
        if not await self._meet(name, slot.before_finish is not None):
            return
        rounds = self._pipeline.rounds(at)
        for n in range(ROUNDS_MAX + 1):
            if not await self._meet(f"{name} {n}", next(rounds, False)):
                break

    async def _meet(self, stage: str, more: bool = False) -> bool:
        return more if self._course.place.meet is None else await self._course.place.meet(stage, more)

    def take_routed(self, messages: Iterable[tuple[str, str, Any]]) -> None:
        """Take what components routed here from other workers: the component's kind and id, the key, the message."""
        pipeline = self._pipeline
        if self._live and not pipeline.clock:  # no packet has come here that could have set it
            pipeline.advance(time.time_ns())
        slots = {f"{slot.breaker.kind}:{slot.breaker.name}": slot for slot in (*pipeline.parsers, *pipeline.processors)}
        for name, key, message in messages:
            if name in slots:
                pipeline.take_routed(slots[name], key, message)
            else:  # this worker goes on without that component, which could not be started here
                self._assembly.routes.lose({name: 1})

    async def _next(self) -> FrameBatch | None:
        """Read once; a fault of the source is kept, and reading goes on unless it is fatal."""
        while True:
            try:
                return self._source.read()
            except CaptureError as error:
                self._course.note_fault(error)
                if error.fatal or self._course.ends:
                    return None
                await asyncio.sleep(0)  # a source of many faults holds up nobody

    async def _take(self, batch: FrameBatch) -> None:
        """Send one batch through the pipeline, slice by slice."""
        self._idle_since = None
        at = 0
        while at < batch.count:
            begun = time.monotonic()
            at = self._pipeline.process(batch, at, *self._slice)
            self._sampler.figures.took(time.monotonic() - begun)
            await self._serve_others()
            # The rest of a live batch has left the ring, and would be lost; of a file it is merely not read.
            if self._course.ends and not self._live:
                return

    async def _serve_others(self) -> None:
        """Serve the reporters, and whoever watches this worker."""
        for delivery in self._deliveries:
            delivery.kick()
        if self._rereads:
            self._resume_point.note()
        now = time.monotonic()
        if now - self._stats_at >= STATS_EVERY_S:
            self._stats_at = now
            self._sampler.sample()
        if self._pipeline.full and not (self._live or self._course.ends):
            for delivery in self._deliveries:
                if delivery.buffer.full:
                    await self._course.unless_ending(delivery.room())
        else:
            # Each delivery's task gets its turn of the event loop, and the channel too, before the next slice.
            await asyncio.sleep(0)

    async def _idle(self) -> None:
        """Nothing is ready: wait for the source, at most ``IDLE_S``, and let the packet clock go on when it is live."""
        now = time.monotonic()
        if self._live and self._pipeline.clock:
            if self._idle_since is not None:
                # While no packet comes, the packets' clock goes on with ours: else calls and fragments would never time
                # out.
                told_all = self._pipeline.advance(self._pipeline.clock + int((now - self._idle_since) * 1e9))
                while not told_all:
                    await self._serve_others()
                    told_all = self._pipeline.carry_on()
            self._idle_since = now
        await self._serve_others()
        descriptor = self._source.fileno()
        hint = self._source.wait_hint()
        pause = IDLE_S if hint is None else min(hint, IDLE_S)
        if descriptor is None:
            await asyncio.sleep(pause)
            return
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        try:
            loop.add_reader(descriptor, ready.set)
        except OSError:  # epoll takes no regular file
            await asyncio.sleep(pause)
            return
        try:
            async with asyncio.timeout(pause):
                await ready.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(descriptor)
