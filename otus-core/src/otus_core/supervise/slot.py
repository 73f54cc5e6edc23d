"""One worker of a task, as its supervisor sees it: process, channel, descriptors, counters, and its
history of crashes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

import attrs

from otus_core.chores import count_failures
from otus_core.log import Logger
from otus_core.model.accounts import Accounts
from otus_core.model.text import printable
from otus_core.pipeline.counters import STATUSES, Roster
from otus_core.process.channel import Channel
from otus_core.process.messages import FromWorker, ToWorker
from otus_core.values import define
from otus_core.worker.status import STATUS_TEXT_MAX, Status, complaint

log = Logger("otus.supervisor")

RESTART_PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""At first none: frames that come meanwhile wait in the ring, which is full soon. Who dies again and again gets less of
the machine.
"""
STABLE_AFTER_S = 60.0
"""Longer than the longest pause: a worker that dies each time after a few seconds gets the longer and longer pauses,
and one that ran for a minute begins anew with none.
"""
BLAME_OPENS_AFTER = 3
"""Crashes in a row blamed on one component that open its circuit."""
BLAME_OPEN_FOR_S = 60.0
"""As long as a worker itself cuts off a component that took the one before it down (``CIRCUIT_OPEN_S`` in
worker/worker).
"""
LEFT_OUT_MAX = 100
"""Components that a worker may tell of as left out, and characters of each."""
CHORE_MAX = 64
"""Characters of a chore's name that a worker may tell."""
PAGE_BYTES = os.sysconf("SC_PAGESIZE")


def _tell_state(slot: WorkerSlot, _field: object, state: str) -> str:
    if state != slot.state:
        log.debug("worker_state", task=slot.task, worker=slot.shard, pid=slot.pid, old=slot.state, new=state)
    return state


@define(kw_only=True)
class WorkerSlot:
    """``state``: starting, running, waiting (for its interface), restarting, ended, failed; ``reason`` says why it is
    not running.

    ``trouble`` says why nothing comes in although it runs, or why it is not there yet; ``reporters`` is what its
    reporters tell of their destinations, ``components`` what components say of themselves; ``told`` is the version of
    our own connections that it was told to leave out.
    """

    shard: int
    accounts: Accounts
    roster: Roster
    task: str = ""
    state: str = attrs.field(default="starting", on_setattr=_tell_state)
    reason: str = ""
    trouble: str = ""
    reporters: dict[str, Status] = attrs.field(factory=dict)
    components: dict[str, dict[str, str]] = attrs.field(factory=dict)
    told: int = -1
    process: subprocess.Popen[bytes] | None = None
    channel: Channel[FromWorker] | None = None
    descriptors: list[int] = attrs.field(factory=list)
    renewing: bool = False
    restarts: int = 0
    restart_at: float = 0.0
    rss_at: float = 0.0
    left_out: tuple[str, ...] = ()
    said_end: bool = False
    said_error: str = ""
    was_running: bool = False
    kill_reason: str = ""
    _all: Roster = attrs.field(init=False, default=attrs.Factory(lambda slot: slot.roster, takes_self=True))
    _ever_started: set[str] = attrs.field(factory=set)
    _begun: float = 0.0
    _in_a_row: int = 0
    _died_at: int = 0
    _blames: list[str] = attrs.field(factory=list)
    _opened: dict[str, float] = attrs.field(factory=dict)

    @property
    def alive(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    @property
    def is_slow_to_start(self) -> bool:
        """Whether it is being started, and has not said what it waits for."""
        return self.state == "starting" and not self.trouble and self.alive

    @property
    def pid(self) -> int | None:
        """The process, or ``None``."""
        return None if self.process is None else self.process.pid

    def begin(self, process: subprocess.Popen[bytes], channel: Channel[FromWorker]) -> None:
        """A process has been started for this worker."""
        self.process, self.channel = process, channel
        self.state, self.reason, self.kill_reason = "starting", "", ""
        # Once a worker has run, a start that fails is one more crash, after which it is tried again, and ends no task.
        self.said_end, self.said_error, self.was_running = False, "", self.restarts > 0
        self.trouble, self.told = "", -1
        self.reporters, self.components = {}, {}
        self._begun = time.monotonic()

    def start(self, reporters: Sequence[str], left_out: Sequence[str] = ()) -> None:
        """The worker runs; these of its reporters could be started, and it goes on without those left out."""
        self.left_out = tuple(printable(str(name), LEFT_OUT_MAX) for name in left_out[:LEFT_OUT_MAX])
        # What an earlier process sent stays counted, and a later one may have more
        self._ever_started.update(reporters)
        kept = {name: reasons for name, reasons in self._all.reporters.items() if name in self._ever_started}
        self.roster = attrs.evolve(self._all, reporters=kept)
        self.state, self.was_running, self.trouble = "running", True, ""
        self._begun = time.monotonic()  # its first beat is still to come, and getting up was no silence

    def send(self, message: ToWorker, *, needed: bool = False) -> bool:
        """Tell the worker something; false if there is none, or it has not read what it was told for too long (if that
        is ``needed``, it waits with the rest).
        """
        return self.channel is not None and self.alive and self.channel.send(message, needed=needed)

    def count_chore(self, name: str, failures: int) -> None:
        """Take how often a chore of the worker has failed since it last told."""
        count_failures(printable(name, CHORE_MAX), max(0, failures))

    def take_statuses(self, statuses: dict[str, Status]) -> None:
        """Take how the destinations of the worker's reporters are."""
        for name, status in statuses.items():
            why, before = complaint(status), complaint(self.reporters.get(name, {}))
            if why and not before:
                log.warning("reporter_does_not_answer", task=self.task, worker=self.shard, reporter=name, reason=why)
            elif before and not why:
                log.info("reporter_answers", task=self.task, worker=self.shard, reporter=name)
        self.reporters = statuses

    def take_components(self, said: Mapping[str, tuple[str, str]]) -> None:
        """Take what components of the worker say of themselves. Raises ValueError for a status that there is not."""
        # Names and states from closed sets alone: they become label values of metrics, and a worker may be under the
        # control of whoever sent it a packet.
        names = set(self._all.components)
        self.components = {
            name: {"status": STATUSES[STATUSES.index(status)], "reason": str(why)[:STATUS_TEXT_MAX]}
            for name, (status, why) in said.items()
            if name in names
        }

    def silent_for(self, now: float) -> float:
        """Seconds since the worker's loop last turned."""
        # The worker writes its CLOCK_MONOTONIC, which is the same for all processes of a machine (clock_gettime(2)).
        return now - max(self.accounts["heartbeat_ns"] / 1e9, self._begun)

    def rss(self) -> int:
        """Resident memory in bytes that is the worker's own: not files, not the ring. 0 when the process is gone."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as statm:
                _size, resident, shared, *_ = statm.read().split()
                # Pages of files and of shared memory are in both numbers (proc(5), statm): the ring of a socket and the
                # counters, which are no leak of the worker's.
                return (int(resident) - int(shared)) * PAGE_BYTES
        except (OSError, ValueError):
            return 0

    def kill(self, reason: str = "") -> None:
        """End the process at once."""
        if self.process is not None:
            self.kill_reason = reason
            self.process.kill()
            # SIGKILL cannot be caught (signal(7)); the process keeps its number until somebody has waited for it.
            self.process.wait()

    def forget_process(self) -> None:
        """The process has ended."""
        if self.channel is not None:
            self.channel.close()
        self.process = self.channel = None
        self.renewing = False

    def blame(self, components: Sequence[str]) -> str:
        """Give the component that was running when the worker died, or empty; three in a row open its circuit."""
        mark = self.accounts["running"]
        self.accounts.set("running", 0)
        blamed = components[mark - 1] if 0 < mark <= len(components) else ""
        # Only when all of the last ones are the same: a component that merely ran when the kernel took memory back is
        # not cut off for it.
        self._blames = [*self._blames[-BLAME_OPENS_AFTER + 1 :], blamed]
        if blamed and self._blames == [blamed] * BLAME_OPENS_AFTER:
            self._opened[blamed] = time.monotonic() + BLAME_OPEN_FOR_S
            self._blames = []
        return blamed

    def reads_again(self, status: int) -> bool:
        """Whether the next worker reads again what this one had not brought to an end: it was killed from outside,
        which is no fault of a frame.

        The kernel's killer of those that take too much memory is outside too: who dies again before it has come further
        has a frame that is at fault.
        """
        counters = self.accounts.snapshot()
        at, before = counters["frames_read"] - counters["frames_again"], self._died_at
        if status != -signal.SIGKILL or self.kill_reason or not counters["resume_slot"] or at <= before:
            return False
        self._died_at = at
        return True

    def open_circuits(self) -> list[str]:
        """Give the components that the next process must not use for a while."""
        now = time.monotonic()
        self._opened = {name: until for name, until in self._opened.items() if until > now}
        return list(self._opened)

    def schedule_restart(self, reason: str) -> None:
        """Restart at once after a stable time, with growing pauses after crashes in a row."""
        now = time.monotonic()
        self._in_a_row = 0 if now - self._begun > STABLE_AFTER_S else self._in_a_row + 1
        # The first crash after a stable time has number 0, and no pause; so has the first in a row.
        pause = RESTART_PAUSES_S[min(max(self._in_a_row - 1, 0), len(RESTART_PAUSES_S) - 1)]
        self.state, self.reason, self.restart_at = "restarting", reason, now + pause

    def replace_descriptors(self, descriptors: Sequence[int]) -> None:
        """Hold these duplicates of the capture's descriptors instead of those so far."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = list(descriptors)
