"""Carries one reporter's packets from its send buffer to the reporter, beside the pipeline.

In: a ``SendBuffer`` that the pipeline fills. Out: ``report`` calls, up to ``max_in_flight`` at a time. Every packet
taken from the buffer ends as reported, moved to the fallback, or in one drop counter, whatever the reporter does;
nothing is raised. With a spool, packets go to disk while the destination is away, and come from it until it is empty.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from otus_core.chores import Chores, report_failure
from otus_core.components import BaseReporter
from otus_core.errors import StdoutClosed
from otus_core.model.accounts import Accounts
from otus_core.model.counter_names import name_of, of_reporter
from otus_core.model.output import OutputPacket
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.call import SPOOL_AFTER_NS, Call, DeliveryLimits, end_tasks, follows_a_retry, patience
from otus_core.pipeline.circuit import Circuit, pause_before
from otus_core.pipeline.fates import Fates, by_reason, fail_all
from otus_core.pipeline.guard import Guard

if TYPE_CHECKING:
    from otus_core.pipeline.spooler import Spooler

LEAVE_AFTER_S = 2.0
"""A call that goes on for so long after it was cancelled is left to itself: it does not heed cancellation."""
LEFT_MAX = 8
"""Calls that were left and still run; with so many the reporter is cut off until one of them ends."""
CHORE = "worker:delivery"


class Delivery:
    """The way from one send buffer to its reporter."""

    def __init__(
        self,
        name: str,
        reporter: BaseReporter,
        buffer: SendBuffer,
        accounts: Accounts,
        limits: DeliveryLimits,
        *,
        on_error: Callable[[str, str, BaseException], None],
        on_closed: Callable[[str], None],
        mark: int,
        waited: Callable[[], int] = lambda: 0,
        spooler: Spooler | None = None,
    ) -> None:
        self.name, self.buffer = name, buffer
        self._fallback: Delivery | None = None
        self._reporter = reporter
        self._accounts, self._limits = accounts, limits
        self._on_error, self._on_closed = on_error, on_closed
        self._spooler, self._circuit = spooler, Circuit()
        send_timeout = None if limits.own_retries else limits.send_timeout
        self._guard = Guard(name, reporter, send_timeout, accounts, on_error, mark, waited)
        self._wake, self._room, self._slot = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = self._closed = False
        self._calls: list[Call] = []
        self._left: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._chores, self._looked_at = Chores(), 0.0
        self._stalled_s, self.ends_at = patience(limits, spooled=spooler is not None), math.inf

    @property
    def fallback(self) -> Delivery | None:
        """Who gets what this reporter gives up, and what its buffer has no room for."""
        return self._fallback

    @fallback.setter
    def fallback(self, other: Delivery | None) -> None:
        self._fallback = other
        self.buffer.overflow_to(None if other is None else other.buffer)

    @property
    def state(self) -> str:
        """The circuit's state: ``closed``, ``open``, or ``half_open`` while it is being tried again."""
        return "open" if self._is_cut_off else self._circuit.state

    @property
    def oldest_ns(self) -> int:
        """How long the oldest call has been under way (ns): nothing else tells that one with own retries hangs."""
        return time.monotonic_ns() - self._calls[0].begun_ns if self._calls else 0

    @property
    def spool_bytes(self) -> int:
        """What the spool takes on disk."""
        return 0 if self._spooler is None else self._spooler.bytes_held

    def begin(self) -> None:
        """Start taking packets from the buffer. A fault of our own does not end that for good: it is begun again."""
        self._runner = self._chores.start(CHORE, self._run, reporter=self.name)

    def kick(self) -> None:
        """Look at the buffer: called after every slice of packets."""
        if self._spooler is not None:
            self._spill(self._spooler)
        held = self._held
        if held >= self._limits.batch_size or (held and self.buffer.full):
            self._wake.set()
        elif held and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._limits.batch_timeout, self._due)
        if self._calls and not self._limits.own_retries:
            self._leave_those_that_hang()

    @property
    def _held(self) -> int:
        """Packets that wait to be sent."""
        return self.buffer.count + (0 if self._spooler is None else self._spooler.waiting)

    def _spill(self, spooler: Spooler) -> None:
        """Take packets to disk while the destination is away, and for as long as older ones are there."""
        away = self.buffer.full or self._circuit.state != "closed" or self.oldest_ns > SPOOL_AFTER_NS
        if away and not spooler.is_active:
            spooler.begin(self._calls)
        if spooler.is_active:
            spooler.spill(self.buffer, None if self._fallback is None else self._give_up)
            self._room.set()

    async def room(self) -> None:
        """Wait until something has left a full buffer."""
        self._room.clear()
        self._wake.set()
        if self.buffer.full:
            await self._room.wait()

    async def drain(self, deadline: float | None) -> None:
        """Send what is left; what has not been sent within ``deadline`` seconds (``None``: for as long as something
        moves), or until ``ends_at``, which may be set meanwhile, goes to the fallback, or is lost.
        """
        self._flushing = True
        self._wake.set()
        work = asyncio.create_task(self._finish(), name=f"drain:{self.name}")
        before, moved = -1, time.monotonic()
        self.ends_at = math.inf if deadline is None else moved + deadline
        while not work.done():
            await asyncio.wait({work}, timeout=0.1)
            if self._calls and not self._limits.own_retries:
                self._leave_those_that_hang()
            if self._spooler is not None:
                self._spill(self._spooler)
            now, under_way = time.monotonic(), self._held + sum(len(call.batch) for call in self._calls)
            if under_way != before:
                before, moved = under_way, now
            if now >= self.ends_at or now - moved >= self._stalled_s:
                break
        await end_tasks((work,))
        await self._abandon()

    async def _finish(self) -> None:
        while self._runner is not None and not self._runner.done():
            await asyncio.wait({self._runner}, timeout=1.0)  # another one may take its place
        await self._guard.flush()

    async def _abandon(self) -> None:
        """End what is under way, and count what is left."""
        if self._timer is not None:
            self._timer.cancel()
        await end_tasks((self._runner, *(call.task for call in self._calls), *self._left))
        for call in list(self._calls):  # those that do not heed cancellation
            self._leave(call, "shutdown")
        left = self.buffer.take(self.buffer.count)
        if self._spooler is not None:
            left = self._spooler.keep(left)
            self._spooler.close()
        self._give_up(left, "shutdown")

    def _due(self) -> None:
        self._timer = None
        self._wake.set()

    async def _run(self) -> None:
        while self._runner is asyncio.current_task():
            if not self._held:
                if self._flushing:
                    break
                self._wake.clear()
                await self._wake.wait()
                continue
            if self._waits_for_destination:
                await asyncio.sleep(0.05)
                continue
            await self._next_batch()
            if self._held < self._limits.batch_size and not self._flushing and not self.buffer.full:
                self._wake.clear()
                self.kick()
                await self._wake.wait()
        while self._calls and self._runner is asyncio.current_task():
            await self._free_slot()

    @property
    def _waits_for_destination(self) -> bool:
        """Whether packets stay in the buffer while the circuit is open; a source that waits tries on instead."""
        if self._is_cut_off:
            return self._fallback is None or self._spooler is not None
        tries_on = self._flushing or (self._spooler is None and (self._fallback is not None or self.buffer.waits))
        return not tries_on and not self._circuit.lets_through

    @property
    def _is_cut_off(self) -> bool:
        return len(self._left) >= LEFT_MAX

    async def _free_slot(self) -> None:
        self._slot.clear()
        await self._slot.wait()

    async def _next_batch(self) -> None:
        while len(self._calls) >= self._limits.max_in_flight or any(call.is_retried for call in self._calls):
            await self._free_slot()  # nothing overtakes what has to be sent again
        call = self._next_call()
        self._room.set()
        if call is None:
            return
        hands_over = self._fallback is not None and self._spooler is None
        if hands_over and (self._is_cut_off or not self._circuit.lets_through):
            self._end_part(call, call.batch, "circuit_open")
            return
        self._calls.append(call)
        if self._limits.max_in_flight == 1:
            call.task = self._runner
            await self._send(call)
        else:
            call.task = asyncio.create_task(self._send(call), name=f"report:{self.name}")

    def _next_call(self) -> Call | None:
        """Take the oldest packets: those on disk are older than those in the buffer."""
        if self._spooler is not None:
            call = self._spooler.take(self._limits.batch_size)
            if call is not None:
                return call
        batch = self.buffer.take(self._limits.batch_size)
        self._count("in_flight", len(batch))
        return Call(batch, time.monotonic_ns()) if batch else None

    async def _send(self, call: Call) -> None:
        """See one batch to its end."""
        try:
            await self._see_through(call)
        except Exception as error:  # a fault of our own: its packets are not to wait for ever
            report_failure(CHORE, error, reporter=self.name)
            if not call.left:
                self._end_part(call, call.batch, "exception")
                call.batch = []
        finally:
            if not call.left:  # else everything was counted when it was left
                if call.batch:  # cancelled: the shutdown's deadline has passed
                    self._cut_short(call)
                self._forget(call)

    async def _see_through(self, call: Call) -> None:
        attempt = 0
        while call.batch:
            fates = await self._ask(call)
            if call.left:
                return
            if fates is None:  # nobody reads any more
                self._count(name_of("dropped", "shutdown"), len(call.batch))
                self._under_way(call, -len(call.batch))
                call.batch = []
                return
            reasons = self._settle(call, fates)
            if not call.batch:
                return
            if self._is_last(fates, attempt):
                for reason, outputs in reasons.items():
                    self._end_part(call, outputs, reason)
                call.batch = []
                return
            self._count("retries", 1)
            call.is_retried = True
            await asyncio.sleep(pause_before(attempt))
            while follows_a_retry(call, self._calls):
                await self._free_slot()
            attempt += 1

    def _is_last(self, fates: Fates, attempt: int) -> bool:
        """Whether nothing is tried again after this: what did not arrive is held, unless somebody else takes it."""
        if fates.waits and (self._fallback is None or self._spooler is not None):
            return False
        return attempt >= (0 if self._limits.own_retries else self._limits.max_retries)

    async def _ask(self, call: Call) -> Fates | None:
        """Call the reporter once; ``None``: nobody reads any more."""
        if self._closed:
            return None
        self._circuit.begin()
        call.asked_at = time.monotonic()
        try:
            return await self._guard.ask(call.batch)
        except StdoutClosed:
            self._closed = True
            self._on_closed(self.name)
            return None
        finally:
            call.asked_at = 0.0

    def _settle(self, call: Call, fates: Fates) -> dict[str, list[OutputPacket]]:
        """Count what is known; gives what is to be tried again by its reason, which is what remains in the call."""
        if fates.fault:
            self._on_error("reporter", self.name, RuntimeError(fates.fault))
        if fates.is_failure or fates.fault:
            self._accounts.add(name_of("errors", "reporter", self.name))
        self._circuit.judge(fates)
        batch = call.batch
        self._count("reported", fates.reported)
        if fates.reported == len(batch) and call.range is None:  # as nearly always: nothing is left to sort out
            self._under_way(call, -len(batch))
            call.batch = []
            return {}
        for reason, n in fates.lost.items():
            self._fail(reason, n)
        again = by_reason(batch, fates.retry)
        call.batch = [batch[place] for place in sorted(fates.retry)]
        self._under_way(call, len(call.batch) - len(batch))
        if call.range is not None:
            self._count("spool_sent", fates.reported)
        for reason, outputs in by_reason(batch, fates.failed).items():
            self._give_up(outputs, reason)
        return again

    def _leave_those_that_hang(self) -> None:
        """Have done with calls that go on although they were cancelled after their time."""
        now = time.monotonic()
        if now - self._looked_at < LEAVE_AFTER_S / 2:
            return
        since_last, self._looked_at = now - self._looked_at, now
        for call in list(self._calls):
            late = call.asked_at and now - call.asked_at - self._limits.send_timeout
            # A machine that stood still has run no timer yet: the loop must have turned meanwhile.
            if late > LEAVE_AFTER_S and since_last < LEAVE_AFTER_S:
                self._on_error("reporter", self.name, RuntimeError("report() does not end although it was cancelled"))
                self._circuit.judge(fail_all(len(call.batch), "ambiguous"))
                self._leave(call, "ambiguous")

    def _leave(self, call: Call, reason: str) -> None:
        """Count a call's packets now, and let another call take its place."""
        call.left = True
        if reason == "shutdown":
            self._cut_short(call)
        else:
            self._end_part(call, call.batch, reason)
            call.batch = []
        self._forget(call)
        task = call.task
        if task is not None:
            self._left.add(task)
            task.add_done_callback(self._left.discard)
            task.cancel()
            if task is self._runner and reason != "shutdown":
                self.begin()

    def _forget(self, call: Call) -> None:
        if call in self._calls:
            self._calls.remove(call)
        self._slot.set()
        if self._spooler is not None and not call.batch:
            self._spooler.settle(call)
        self._count("batches", 1)
        self._count("latency_ns", time.monotonic_ns() - call.begun_ns)

    def _cut_short(self, call: Call) -> None:
        """The shutdown's deadline has passed: what a spool holds stays there, the rest goes there or is given up."""
        if self._spooler is not None and self._spooler.holds(call):
            return
        outputs, call.batch = call.batch, []
        self._under_way(call, -len(outputs))
        self._give_up(outputs if self._spooler is None else self._spooler.keep(outputs), "shutdown")

    def _end_part(self, call: Call, outputs: Sequence[OutputPacket], reason: str) -> None:
        self._under_way(call, -len(outputs))
        self._give_up(outputs, reason)

    def _under_way(self, call: Call, n: int) -> None:
        self._count("spooled" if call.is_on_disk else "in_flight", n)

    def _give_up(self, outputs: Sequence[OutputPacket], reason: str) -> None:
        """Hand packets to the fallback, or count them as dropped."""
        fallback = self._fallback
        if fallback is None:
            self._fail(reason, len(outputs))
        elif outputs:
            for output in outputs:
                fallback.buffer.offer(output)
            self._count("moved_to_fallback", len(outputs))
            fallback.kick()

    def _fail(self, reason: str, n: int) -> None:
        term = name_of("dropped", *(() if reason == "shutdown" else ("report_error",)), reason)
        is_known = of_reporter(self.name, term) in self._accounts  # a reporter may say anything
        self._count(term if is_known else name_of("dropped", "report_error", "other"), n)

    def _count(self, term: str, n: int) -> None:
        self._accounts.add(of_reporter(self.name, term), n)
