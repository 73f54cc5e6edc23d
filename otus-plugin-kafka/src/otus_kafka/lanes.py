"""The way of batches to one partition, one after the other, so that their order stays.

A batch leaves when it is full, when it holds ``batch_size`` messages and nothing is under way, or when
``flush_interval`` has passed; while one is under way the next one grows. So batches are small when there is little to
do, and large when brokers are slow.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence

import attrs
import structlog

from otus_core import Chores
from otus_kafka.batch import HEADER_BYTES, BatchWriter
from otus_kafka.link import ProducerLink
from otus_kafka.outcome import Outcome
from otus_kafka.records import SealedBatch, compressor, make_writer, seal
from otus_kafka.settings import KafkaReporterConfig

BACKOFF_S = (0.1, 1.0)
"""First and longest pause before a batch is sent again."""
SLOW_CODECS = ("gzip", "lz4", "zstd")
"""snappy is not among them: it gives up size for speed."""
FAULTS_MOST = 3
"""After as many faults of ours on one batch it is given up: the batches behind it must not wait for ever."""
BESIDE_BYTES = 32 * 1024
"""Larger batches of the slow codecs are compressed in a thread: a megabyte takes gzip some 15 ms."""

log = structlog.get_logger("otus.kafka")


class Ticket:
    """One call of ``report``: how many of its messages are still under way, and what became of the others."""

    __slots__ = ("done", "failed", "left", "reported")

    def __init__(self, size: int) -> None:
        self.left = size
        self.reported = 0
        self.failed: dict[str, list[int]] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._check()

    def succeed(self, count: int) -> None:
        """So many messages are acknowledged."""
        self.left -= count
        self.reported += count
        self._check()

    def fail(self, reason: str, places: Sequence[int]) -> None:
        """These messages are given up."""
        self.left -= len(places)
        self.failed.setdefault(reason, []).extend(places)
        self._check()

    def _check(self) -> None:
        if self.left <= 0 and not self.done.done():
            self.done.set_result(None)


class Room:
    """How many encoded bytes are held, and the wait until there are fewer."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._fewer = asyncio.Event()

    def take(self, size: int) -> None:
        """Count bytes that are held now."""
        self.held += size

    def give(self, size: int) -> None:
        """Count bytes that are let go."""
        self.held -= size
        self._fewer.set()

    async def wait(self) -> None:
        """Wait until less than the limit is held."""
        while self.held >= self.limit:
            self._fewer.clear()
            await self._fewer.wait()


@attrs.define
class _Parcel:
    """A batch that nothing more is added to, until its fate is known."""

    writer: BatchWriter
    size: int
    deadline: float | None
    sealed: SealedBatch | None = None
    attempts: int = 0
    ambiguous: bool = False
    faults: int = 0


class Road:
    """What all lanes of a reporter share."""

    def __init__(self, config: KafkaReporterConfig, link: ProducerLink) -> None:
        self.config = config
        self.link = link
        self.room = Room(config.max_buffer_bytes)
        self.compress = compressor(config.compression, config.compression_level)
        self.lanes: list[Lane] = []
        self.chores = Chores()
        self.patience: float | None = config.delivery_timeout

    def deadline(self) -> float | None:
        """Give the time (of the loop's clock) until which what comes now may wait for a broker; ``None``: as long as it
        takes.
        """
        return None if self.patience is None else asyncio.get_running_loop().time() + self.patience

    def flush(self) -> None:
        """Let everything go without waiting for more."""
        for lane in self.lanes:
            lane.flush()

    async def stop(self) -> None:
        """Give up what is left."""
        await self.chores.stop()
        for lane in self.lanes:
            lane.abandon()

    async def sealed(self, writer: BatchWriter) -> SealedBatch:
        """Compress a batch: at once, or beside the loop where that takes long."""
        codec = self.config.compression
        if codec in SLOW_CODECS and writer.size > BESIDE_BYTES:
            return await asyncio.to_thread(seal, writer, codec, self.compress)
        return seal(writer, codec, self.compress)


class Lane:
    """One partition of one topic."""

    def __init__(self, road: Road, topic: str, partition: int, limit: Limit) -> None:
        self.writer: BatchWriter | None = None
        self.limit = limit
        self._is_busy = False
        self._has_chore = False
        self._wake = asyncio.Event()
        self._road = road
        self._topic = topic
        self._partition = partition
        self._ready: deque[_Parcel] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = False
        self._batch_size = road.config.batch_size
        road.lanes.append(self)

    def next_writer(self, now_ms: int) -> BatchWriter:
        """Let the batch that is here go, and begin another."""
        self._close()
        self.writer = make_writer(self._road.config.compression, now_ms)
        return self.writer

    def poke(self) -> None:
        """Look whether something can leave, after messages were added."""
        writer = self.writer
        if self._is_busy:
            return
        if self._ready or (writer is not None and writer.count >= self._batch_size):
            self._go()
        elif writer is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._road.config.flush_interval, self._time_is_up)

    def flush(self) -> None:
        """Let what is here leave."""
        if self.writer is not None:
            self._due = True
            if not self._is_busy:
                self._go()

    def abandon(self) -> None:
        """Count everything as stopped."""
        self._close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._ready:
            self._settle(self._ready.popleft(), "stopped")

    def _time_is_up(self) -> None:
        self._timer = None
        self.flush()

    def _close(self) -> None:
        writer = self.writer
        if writer is None:
            return
        writer.finish()
        self.writer = None
        self._due = False
        self._ready.append(_Parcel(writer, writer.size, self._road.deadline()))
        self._road.room.take(writer.size)

    def _go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_busy = True
        self._wake.set()
        if not self._has_chore:
            self._has_chore = True
            self._road.chores.start("kafka:lane", self._carry, self._road.link.complain)

    async def _carry(self) -> None:
        """Deliver what is ready, then what has grown meanwhile, until cancelled."""
        while True:
            while (parcel := self._next()) is not None:
                try:
                    await self._deliver(parcel)
                except BaseException:
                    self._note_fault(parcel)
                    raise
            self._is_busy = False
            self.poke()
            await self._wake.wait()
            self._wake.clear()

    def _next(self) -> _Parcel | None:
        """Give the batch that is to leave now; it stays the first of those that are ready."""
        writer = self.writer
        if not self._ready and writer is not None and (self._due or writer.count >= self._batch_size):
            self._close()
        return self._ready[0] if self._ready else None

    def _note_fault(self, parcel: _Parcel) -> None:
        """Give up a batch that has ended this lane's work again and again, so that those behind it get through."""
        parcel.faults += 1
        parcel.ambiguous = True  # it may have been on its way
        if parcel.faults >= FAULTS_MOST and self._ready and self._ready[0] is parcel:
            self._ready.popleft()
            self._settle(parcel, "ambiguous")

    async def _deliver(self, parcel: _Parcel) -> None:
        """See the first batch to its end. It stays the first meanwhile, so that ``abandon`` finds it."""
        try:
            parcel.sealed = parcel.sealed or await self._road.sealed(parcel.writer)
        except Exception as error:  # a compressor's: these messages are lost, those behind them are not
            log.warning("kafka_batch_not_made", topic=self._topic, reason=repr(error))
            self._ready.popleft()
            self._settle(parcel, "encode")
            return
        parcel.writer.let_go()
        pause, longest = BACKOFF_S
        while True:
            outcome = await self._road.link.send(parcel.sealed, self._topic, self._partition, parcel.deadline)
            if outcome.split and parcel.sealed.record_count() > 1:
                self._split(parcel)
                return
            if self._final(parcel, outcome):
                break
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # not all nodes at once
            pause = min(pause * 2, longest)
        self._ready.popleft()
        self._settle(parcel, "ambiguous" if outcome.reason and parcel.ambiguous else outcome.reason)

    def _final(self, parcel: _Parcel, outcome: Outcome) -> bool:
        parcel.ambiguous |= outcome.reason == "ambiguous"
        if not outcome.again:
            return True
        parcel.attempts += not outcome.unreached
        late = parcel.deadline is not None and asyncio.get_running_loop().time() >= parcel.deadline
        most = self._road.config.max_attempts
        return late or (most is not None and parcel.attempts >= most)

    def _settle(self, parcel: _Parcel, reason: str) -> None:
        start = 0
        for ticket, count in parcel.writer.shares:
            assert isinstance(ticket, Ticket)
            if reason:
                ticket.fail(reason, parcel.writer.places(start, count))
            else:
                ticket.succeed(count)
            start += count
        self._road.room.give(parcel.size)

    def _split(self, parcel: _Parcel) -> None:
        """Put two batches in the place of one that is too large for the broker, and make smaller ones from now on."""
        assert parcel.sealed is not None
        self.limit.shrink(parcel.size, self._topic)
        bodies = parcel.sealed.records()
        owners = [ticket for ticket, count in parcel.writer.shares for _ in range(count)]
        places = parcel.writer.places(0, len(owners))
        middle = len(bodies) // 2
        now_ms = int(time.time() * 1000)
        self._ready.popleft()
        self._road.room.give(parcel.size)
        for part in (slice(middle, None), slice(0, middle)):
            writer = make_writer(self._road.config.compression, now_ms)
            for owner, body, place in zip(owners[part], bodies[part], places[part], strict=True):
                if writer.owner is not owner:
                    writer.give_to(owner)
                writer.append(body, place)
            writer.finish()
            self._ready.appendleft(_Parcel(writer, writer.size, parcel.deadline))
            self._road.room.take(writer.size)


class Lanes:
    """The lanes of one topic."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = list(lanes)
        self._turn = 0

    def next(self) -> int:
        """Give the places of the lanes in turn."""
        self._turn = (self._turn + 1) % len(self.lanes)
        return self._turn


class Limit:
    """How large the batches of one topic may be."""

    def __init__(self, size: int) -> None:
        self.bytes = size - HEADER_BYTES

    def shrink(self, size: int, topic: str) -> None:
        """A batch of this size was refused."""
        # Halved, because the broker's answer does not say what it would take (max.message.bytes of the topic).
        smaller = max(size // 2, 1024)
        if smaller < self.bytes:
            self.bytes = smaller
            log.warning("kafka_batches_too_large", topic=topic, now_at_most=smaller, action=LARGE_ADVICE)


LARGE_ADVICE = "set max_message_bytes to the topic's max.message.bytes"
