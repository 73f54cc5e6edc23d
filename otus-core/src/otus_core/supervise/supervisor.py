"""Runs a task as worker processes: spawns them, watches them, restarts them, carries messages between them.

In: a ``TaskConfig`` and the ``Node``. Out: the counters of all workers, which live in shared memory and survive them,
and their states. One supervisor a task, on the event loop of its owner (``otus run`` or the daemon), never blocking it.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import subprocess
import time
from contextlib import suppress

from otus_core.chores import Chores
from otus_core.errors import CaptureError, TaskStartFailed
from otus_core.log import Logger
from otus_core.model.accounts import Accounts
from otus_core.pipeline.counters import book_crash, summary
from otus_core.process.channel import NONSENSE
from otus_core.process.messages import FROM_WORKER, Descriptors, Exclude, FromWorker, InitWorker, LogLevel, Stop
from otus_core.process.spawn import spawn
from otus_core.supervise.acquire import Acquirer
from otus_core.supervise.exchange import Exchange
from otus_core.supervise.hearing import Hearing
from otus_core.supervise.slot import WorkerSlot
from otus_core.supervise.surroundings import Surroundings
from otus_core.task.spec import TaskConfig
from otus_core.worker.assembly import names_of, roster_of

log = Logger("otus.supervisor")

WATCH_EVERY_S = 0.1
"""A dead worker is to be back within a second, and most of that is what a new process takes."""
STUCK_AFTER_S = 1.5
HUNG_AFTER_S = 3.0
"""A worker is silent for so long before it is replaced; before that it counts as stuck."""
LATE_S = 1.0
"""A pause so much too long tells that this process stood still, its workers too: their silence counts from there."""
START_WITHIN_S = 60.0
"""Plugins are imported, from a disk that may be cold, and capture files opened."""
STOP_WITHIN_S = 15.0
"""A worker itself has five seconds to read what its source still holds, and five for its reporters."""
EXIT_WITHIN_S = 0.1
"""A worker's channel is closed by its end (exit(2) closes descriptors), so that waiting for it takes no time."""
RSS_EVERY_S = 1.0
ACQUIRE_AGAIN_S = 0.5
"""An interface that comes back is to be captured within two seconds."""


class TaskSupervisor:
    """One task's workers."""

    def __init__(self, config: TaskConfig, around: Surroundings) -> None:
        self.config = config
        self.roster = roster_of(config)
        self.error = ""
        self.setbacks = 0
        self._told = ""
        self._around = around
        self._log_level = around.log_level
        self._live = config.capture.declaration.live
        self._names = names_of(config)
        # Eight bytes a counter, and whole pages: no two workers write to one page.
        self._size = -(-8 * len(self._names) // mmap.PAGESIZE) * mmap.PAGESIZE
        # Memory that a worker shares and does not take along when it dies: what it counted can still be booked.
        self._memory_fd = os.memfd_create(f"otus-{config.id}", os.MFD_CLOEXEC)
        os.ftruncate(self._memory_fd, self._size * config.workers)
        self._memory = mmap.mmap(self._memory_fd, self._size * config.workers)
        self.slots = [self._slot(shard) for shard in range(config.workers)]
        self._acquirer = Acquirer(config, around) if config.capture.declaration.privileged else None
        self._exchange = Exchange(self.slots)
        self._hearing = Hearing(config, around, self._exchange, self._note_change)
        self.faults, self.taps = self._hearing.faults, self._exchange.taps
        self._chores = Chores()
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        self._stopping = False
        self._awake_since = 0.0

    def _slot(self, shard: int) -> WorkerSlot:
        view = memoryview(self._memory)[shard * self._size : (shard + 1) * self._size]
        return WorkerSlot(task=self.config.id, shard=shard, accounts=Accounts(self._names, view), roster=self.roster)

    @property
    def restarts(self) -> int:
        """How often a worker of this task had to be started again."""
        return sum(slot.restarts for slot in self.slots)

    @property
    def waiting_for(self) -> str:
        """Why the task is not capturing everywhere, or empty."""
        reasons = (slot.reason if slot.state in ("waiting", "restarting") else slot.trouble for slot in self.slots)
        return next((reason for reason in reasons if reason), "")

    @property
    def is_stuck(self) -> bool:
        """Whether a worker that should run is silent and nothing has been done about it yet."""
        now = time.monotonic()
        return any(
            slot.state == "running" and slot.alive and self._silence(slot, now) > STUCK_AFTER_S for slot in self.slots
        )

    def counters(self, shard: int | None = None) -> dict[str, int]:
        """Give the counters of one worker, or of all of them added."""
        slots = self.slots if shard is None else [self.slots[shard]]
        snapshots = [slot.accounts.snapshot() for slot in slots]
        return {name: sum(snapshot[name] for snapshot in snapshots) for name in self._names}

    def progress(self) -> float | None:
        """Give how far the slowest worker is, 0 to 1: each reads all of the source. ``None`` while it does not know."""
        return min(slot.accounts["progress_ppm"] for slot in self.slots) / 1e6 or None

    def summary(self, shard: int | None = None) -> dict[str, object]:
        """Give the identity's terms of one worker, or of the task."""
        return summary(self.counters(shard), self.slots[0].roster)

    async def start(self) -> None:
        """Start all workers; returns when each runs, or says what it waits for. Raises TaskStartFailed: none runs."""
        self._chores.start("task:watch", self._watch, task=self.config.id)
        try:
            for slot in self.slots:
                await self._launch(slot)
        except OSError as error:  # no memory, no descriptor, no process to be had
            self.error = self.error or _refusal(error)
        try:
            async with asyncio.timeout(START_WITHIN_S):
                while not self.error and any(slot.state == "starting" and not slot.trouble for slot in self.slots):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self.error = self.error or f"a worker did not start within {START_WITHIN_S:.0f} s"
        if self.error:
            await self.stop()
            raise TaskStartFailed(f"task {self.config.id}: {self.error}")

    async def wait(self) -> None:
        """Wait until every worker has ended."""
        await self._ended.wait()

    async def stop(self, within: float = STOP_WITHIN_S) -> None:
        """Stop the workers well; those still there after ``within`` seconds are killed, what they held is counted."""
        self._begin_to_stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._ended.wait()
        for slot in self.slots:
            if slot.alive:
                log.warning("worker_killed", task=self.config.id, worker=slot.shard, reason="did not stop in time")
                slot.kill()
            self._look_at(slot)  # also who ended in the last moment
        await self._chores.stop()
        self._end()

    def set_log_level(self, level: str) -> None:
        """Have the workers log from this level on, those that are still to be started too."""
        self._log_level = level
        for slot in self.slots:
            slot.send(LogLevel(level))

    def abandon_output(self) -> None:
        """Nobody reads standard output any more: end the task well."""
        self._begin_to_stop()

    def _begin_to_stop(self) -> None:
        self._stopping = True
        for slot in self.slots:
            slot.send(Stop())
            if not slot.alive and slot.state not in ("ended", "failed"):
                slot.state = "ended"  # it waits to be started, which nobody will do any more
        self._note_change()

    async def _launch(self, slot: WorkerSlot) -> None:
        """Get a worker's descriptors if it needs any, and start its process. Raises OSError."""
        if self._acquirer is not None and not slot.descriptors:
            slot.state = "starting"  # not waiting any more: nobody else is to launch it
            descriptors, refusal = await self._acquirer.acquire(slot.shard, self.config.workers)
            if refusal is not None:
                self._take_refusal(slot, refusal)
                return
            slot.replace_descriptors(descriptors)
        # The opener was waited for: the task may have been stopped meanwhile.
        if self._stopping:
            slot.replace_descriptors([])
        else:
            self._spawn(slot)

    def _take_refusal(self, slot: WorkerSlot, refusal: CaptureError) -> None:
        if refusal.fatal:
            slot.state = "failed"
            self.error = self.error or str(refusal)
            self._note_change()
            return
        self._wait_with(slot, "capture_waiting", str(refusal))

    def _wait_with(self, slot: WorkerSlot, event: str, reason: str) -> None:
        """Try to start a worker again soon; a reason that is still the same has been told."""
        if slot.reason != reason:
            log.warning(event, task=self.config.id, worker=slot.shard, reason=reason)
        slot.state, slot.reason = "waiting", reason
        slot.restart_at = time.monotonic() + ACQUIRE_AGAIN_S
        self._note_change()

    def _spawn(self, slot: WorkerSlot) -> None:
        with self._around.reserve.lend():
            output = self._around.merger.pipe()
            try:
                process, channel = spawn("otus_core.worker.child", FROM_WORKER)
            except OSError:
                os.close(output)
                raise
        slot.begin(process, channel)
        channel.on_message = lambda message, _descriptors: self._hear(slot, message)
        channel.on_closed = lambda why: self._lose(slot, process, why)
        try:
            channel.send(self._init(slot), (self._memory_fd, output, *slot.descriptors))
        finally:
            os.close(output)

    def _hear(self, slot: WorkerSlot, message: FromWorker) -> None:
        """Act on what a worker says; one that talks nonsense is not to be trusted any more, and is replaced."""
        try:
            self._hearing.hear(slot, message)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            self._count_setback(error)
            self._end_by_force(slot, NONSENSE)

    def _init(self, slot: WorkerSlot) -> InitWorker:
        around, cpus = self._around, self.config.cpu_affinity
        return InitWorker(
            task=self.config.source,
            plugins=dict(around.plugins),
            shard=slot.shard,
            shards=self.config.workers,
            hostname=around.node.hostname,
            node_ip=around.node.ip,
            tags=dict(around.node.tags),
            counters_size=self._size,
            isatty=around.isatty,
            columns=around.columns(),
            log_level=self._log_level,
            cpus=[cpus[slot.shard % len(cpus)]] if cpus else [],
            has_opener=self._acquirer is not None,
            user=around.user,
            open_circuits=slot.open_circuits(),
            secret=self._exchange.secret,
        )

    async def _watch(self) -> None:
        """Look after the workers as long as the task is there: what goes wrong in one turn is told and counted."""
        while True:
            await self._pause(WATCH_EVERY_S)
            try:
                self._look()
                if self._live:
                    self._tell_connections()
                for slot in self.slots:
                    await self._mend(slot)
            except Exception as error:
                self._count_setback(error)

    def _count_setback(self, error: Exception) -> None:
        """Count a turn that failed, and tell it once for as long as the next ones fail alike."""
        self.setbacks += 1
        told = f"{type(error).__name__}: {error}"
        if self._told != told:
            self._told = told
            log.error("supervision_failed", task=self.config.id, error=told)

    def _tell_connections(self) -> None:
        """Have the workers leave out what is Otus's own, all tasks' connections included."""
        gathered = self._around.connections
        gathered.look()
        for slot in self.slots:
            if slot.state == "running" and slot.told != gathered.version and slot.channel is not None:
                slot.told = gathered.version
                slot.channel.send(Exclude(gathered.all()))

    def _silence(self, slot: WorkerSlot, now: float) -> float:
        """Seconds for which the worker's loop has not turned while this one did."""
        return min(slot.silent_for(now), now - self._awake_since)

    async def _pause(self, seconds: float) -> None:
        begun = time.monotonic()
        await asyncio.sleep(seconds)
        if time.monotonic() - begun > seconds + LATE_S:
            self._awake_since = time.monotonic()

    def _look(self) -> None:
        now = time.monotonic()
        for slot in self.slots:
            self._look_at(slot)
            if slot.alive and slot.state == "running" and self._silence(slot, now) > HUNG_AFTER_S:
                self._end_by_force(slot, "hung")
            elif slot.is_slow_to_start and self._silence(slot, now) > START_WITHIN_S:
                self._end_by_force(slot, "did not start in time")
            elif slot.alive and now - slot.rss_at > RSS_EVERY_S:
                slot.rss_at = now
                if self.config.worker_max_rss and slot.rss() > self.config.worker_max_rss:
                    self._end_by_force(slot, "worker_max_rss")

    def _end_by_force(self, slot: WorkerSlot, reason: str) -> None:
        slot.kill(reason)
        self._look_at(slot)

    def _lose(self, slot: WorkerSlot, process: subprocess.Popen[bytes], why: str) -> None:
        """A worker's channel has ended: with its process, or because of what came over it."""
        if why:
            self._end_by_force(slot, why)
        with suppress(subprocess.TimeoutExpired):  # then the next look sees it
            process.wait(EXIT_WITHIN_S)
        self._look_at(slot)

    def _look_at(self, slot: WorkerSlot) -> None:
        """Notice a worker that has ended, book what it lost, and decide what becomes of it."""
        if slot.process is None or slot.process.poll() is None:
            return
        process, channel, status = slot.process, slot.channel, slot.process.returncode
        if channel is not None:
            # Its last words still lie in the socket, and without them a good end looks like a crash.
            channel.receive_rest()
        if slot.process is not process:  # its last words have had this looked at already
            return
        slot.forget_process()
        # Others may wait at the end of their source for this one, which will not arrive any more.
        self._exchange.let_go_on()
        self._hearing.forget_connections(slot)
        if slot.said_end:
            slot.state = "ended"
        elif slot.said_error and not slot.was_running:
            slot.state = "failed"
            self.error = self.error or slot.said_error
        else:
            self._book_crash(slot, status)
        self._note_change()

    def _book_crash(self, slot: WorkerSlot, status: int) -> None:
        # Before anything else: the next worker goes on counting in this same memory.
        again = slot.was_running and not self._stopping and slot.reads_again(status)
        for name, n in book_crash(slot.accounts.snapshot(), slot.roster, again=again).items():
            slot.accounts.add(name, n)
        blamed = slot.blame(roster_of(self.config).components)
        reason = slot.kill_reason or slot.said_error or (f"signal {-status}" if status < 0 else f"exit status {status}")
        log.error("worker_died", task=self.config.id, worker=slot.shard, reason=reason, blamed=blamed)
        if self._stopping:
            slot.state = "ended"
        # Of a file, a new worker would have to begin at the beginning, and would report everything twice.
        elif not self._live or not slot.was_running:
            slot.state = "failed"
            self.error = self.error or f"worker {slot.shard} died: {reason}" + (f" in {blamed}" if blamed else "")
        else:
            slot.schedule_restart(f"worker died: {reason}" + (f" in {blamed}" if blamed else ""))

    async def _mend(self, slot: WorkerSlot) -> None:
        """Start again what is due, renew descriptors whose interface came back; what is refused is tried again."""
        try:
            await self._start_or_renew(slot)
        except OSError as error:
            if slot.alive:
                self._count_setback(error)
            else:
                self.setbacks += 1
                self._wait_with(slot, "worker_waiting", _refusal(error))

    async def _start_or_renew(self, slot: WorkerSlot) -> None:
        if slot.state in ("restarting", "waiting") and not self._stopping:
            if time.monotonic() >= slot.restart_at:
                slot.restarts += slot.state == "restarting"
                await self._launch(slot)
        elif slot.renewing and self._acquirer and slot.alive and slot.channel is not None and not self._stopping:
            descriptors, refusal = await self._acquirer.acquire(slot.shard, self.config.workers)
            if refusal is None:
                slot.renewing = False
                slot.replace_descriptors(descriptors)
                slot.channel.send(Descriptors(), descriptors)

    def _note_change(self) -> None:
        """A worker's state has changed, or what it does for its task."""
        self._changed.set()
        if all(slot.state in ("ended", "failed") for slot in self.slots):
            self._end()
        self._around.on_change()

    def _end(self) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        self.taps.end(f"task {self.config.id} has ended" + (f": {self.error}" if self.error else ""))
        if self._acquirer is not None:
            self._acquirer.end()
        for slot in self.slots:
            slot.replace_descriptors([])
        # The mapping stays: the counters of a task that has ended are still asked for.
        os.close(self._memory_fd)
        self._around.on_change()


def _refusal(error: OSError) -> str:
    return f"the system refuses: {error.strerror or error}"
