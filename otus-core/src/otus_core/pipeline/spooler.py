"""Stands between one delivery and its spool: outputs become records, and every one of them is counted.

In: outputs that a reporter cannot send now. Out: ``Call``s with the oldest of them. Nothing is raised once ``open`` has
succeeded: a disk that cannot be written to leaves packets in memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from otus_core.model.accounts import Accounts
from otus_core.model.counter_names import name_of, of_reporter
from otus_core.model.output import OutputPacket
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.call import Call
from otus_core.pipeline.spool import Range, Spool, SpoolLimits, sync
from otus_core.pipeline.stored import restore, store

AT_ONCE = 512
"""As many as a slice of packets brings: they are encoded in one go, and this holds up the packets meanwhile."""
EXPIRE_EVERY_S = 1.0
"""Ages are given in seconds at the least."""
WRITE_AGAIN_S = 1.0
"""A disk that was full is tried again so often."""
SYNC_EVERY_S = 1.0
"""What is written is brought to the disk so often: a power cut costs about as much."""


class Spooler:
    """``is_active``: packets go to disk, because older ones are there or the destination is away."""

    def __init__(
        self,
        name: str,
        path: Path,
        worker: int,
        workers: int,
        limits: SpoolLimits,
        accounts: Accounts,
        on_error: Callable[[str, str, BaseException], None],
    ) -> None:
        self.is_active = False
        self._name = name
        self._accounts = accounts
        self._on_error = on_error
        self._calls: dict[int, Call] = {}
        self._spool = Spool(path, worker, workers, limits, on_lost=self._book_loss, on_gone=self._keep_in_memory)
        self._expire_at = self._write_at = self._sync_at = 0.0
        self._syncing: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Packets on disk that nobody is sending."""
        return self._spool.waiting

    @property
    def bytes_held(self) -> int:
        """Bytes on disk."""
        return self._spool.bytes_held

    def open(self) -> None:
        """Take up what an earlier process left, and count it. Raises SpoolError."""
        given = self._spool.open()
        found = self._spool.count
        known = self._accounts[of_reporter(self._name, "spooled")]  # of the worker before this one: counters outlive it
        self._accounts.set(of_reporter(self._name, "spooled"), found)
        self._count("spool_resent", given)
        if found > known:
            self._count("spool_found", found - known)
        elif found < known:
            self._count(name_of("dropped", "spool_damaged"), known - found)
        self.is_active = found > 0

    def close(self) -> None:
        """Let go of the spool; what is in it stays."""
        self._spool.close()

    def begin(self, calls: Sequence[Call]) -> None:
        """Take what is being sent to disk first: it is older than all else, and nobody knows whether it arrives."""
        # The disk was full a moment ago.
        if time.monotonic() < self._write_at:
            return
        for call in calls:
            records = [self._record(output) for output in call.batch]
            whole = [record for record in records if record is not None]
            if len(whole) < len(records) or not self._spool.fits(whole):
                continue
            written = self._write(whole)
            if written is None:
                return
            # They are with the reporter now. Should this process die, the next one sends them again: twice is better
            # than never.
            self._spool.give_out(written)
            self._count("in_flight", -len(whole))
            call.range = written
            self._calls[id(written)] = call
        self.is_active = True

    def spill(self, buffer: SendBuffer, give_up: Callable[[Sequence[OutputPacket], str], None] | None) -> None:
        """Take what is in the buffer to disk; ``give_up`` gets what there is no room for, where somebody else can take
        it.
        """
        now = time.monotonic()
        if now >= self._expire_at:
            self._expire_at = now + EXPIRE_EVERY_S
            self._spool.expire()
            self._end_if_empty()
        if now >= self._sync_at and self._syncing is None:
            self._sync_at = now + SYNC_EVERY_S
            self._sync()
        while self.is_active and buffer.count and now >= self._write_at:
            outputs = buffer.peek(AT_ONCE)
            records = [record for record in map(self._record, outputs) if record is not None]
            # Where the source cannot wait and nobody else takes them, the oldest on disk give way (``append``).
            if not self._spool.fits(records) and (buffer.waits or give_up is not None):
                if give_up is None or buffer.waits:
                    return  # the source waits until there is room
                give_up(buffer.take(len(outputs)), "spool_full")
                continue
            if records and self._write(records) is None:
                return
            # After they are on disk: a worker that dies in between has them twice, and not never.
            buffer.take(len(outputs))
            self._count(name_of("dropped", "spool_error"), len(outputs) - len(records))

    def _sync(self) -> None:
        """Have what was written brought to the disk, in a thread: it may take longer than packets can wait."""
        try:
            descriptors = self._spool.take_unsynced()
        except OSError as error:
            self._on_error("reporter", self._name, error)
            return
        if descriptors:
            self._syncing = asyncio.get_running_loop().run_in_executor(None, sync, descriptors)
            self._syncing.add_done_callback(self._end_sync)

    def _end_sync(self, done: asyncio.Future[None]) -> None:
        self._syncing = None
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._on_error("reporter", self._name, error)

    def keep(self, outputs: Sequence[OutputPacket]) -> list[OutputPacket]:
        """Take packets to disk that are no longer in the buffer; gives those that could not be."""
        left: list[OutputPacket] = []
        for start in range(0, len(outputs), AT_ONCE):
            part = outputs[start : start + AT_ONCE]
            records = [record for record in map(self._record, part) if record is not None]
            if not records or (self._spool.fits(records) and self._write(records) is not None):
                self._count(name_of("dropped", "spool_error"), len(part) - len(records))
            else:
                left += part
        return left

    def take(self, most: int) -> Call | None:
        """Give the oldest packets on disk, ``None`` when there are none."""
        while self.is_active:
            given = self._take(most)
            if given is None:
                return None
            batch = []
            for record in given.records:
                try:
                    batch.append(restore(record))
                except ValueError as error:
                    self._on_error("reporter", self._name, error)
                    given.segment.is_damaged = True
                    self._book_loss("spool_damaged", 1)
            given.records = []
            call = Call(batch, time.monotonic_ns(), range=given)
            self._calls[id(given)] = call
            if batch:
                return call
            self.settle(call)
        return None

    def holds(self, call: Call) -> bool:
        """Whether all that is left of a call is on disk as it was given out."""
        return call.is_on_disk and call.range is not None and len(call.batch) == call.range.seen

    def settle(self, call: Call) -> None:
        """Every packet of a call has its fate."""
        if call.range is not None:
            self._calls.pop(id(call.range), None)
            self._spool.settle(call.range)
            self._end_if_empty()

    def _take(self, most: int) -> Range | None:
        try:
            return self._spool.take(most)
        except OSError as error:
            self._on_error("reporter", self._name, error)
            return None

    def _end_if_empty(self) -> None:
        self.is_active = self._spool.count > 0

    def _write(self, records: Sequence[bytes]) -> Range | None:
        """Write records, ``None`` when the disk does not take them."""
        try:
            written = self._spool.append(records)
        except OSError as error:
            self._on_error("reporter", self._name, error)
            self._write_at = time.monotonic() + WRITE_AGAIN_S
            return None
        self._count("spooled", len(records))
        self._count("spool_written", len(records))
        return written

    def _record(self, output: OutputPacket) -> bytes | None:
        """Give an output as bytes, ``None`` where its payload or a label does not allow that: both are
        somebody else's.
        """
        try:
            return store(output)
        except Exception as error:
            self._on_error("reporter", self._name, error)
            return None

    def _book_loss(self, reason: str, n: int) -> None:
        self._count("spooled", -n)
        self._count(name_of("dropped", reason), n)

    def _keep_in_memory(self, given: Range) -> None:
        """What is being sent is only in memory from now on."""
        call = self._calls.pop(id(given), None)
        if call is not None:
            self._count("spooled", -len(call.batch))
            self._count("in_flight", len(call.batch))

    def _count(self, term: str, n: int) -> None:
        self._accounts.add(of_reporter(self._name, term), n)
