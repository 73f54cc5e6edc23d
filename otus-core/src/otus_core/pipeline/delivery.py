"""Carries one reporter's packets from its send buffer to the reporter, beside the pipeline.

In: a ``SendBuffer`` that the pipeline fills. Out: ``report`` calls, up to ``max_in_flight`` at a time. Every packet taken from the buffer ends as reported, moved to the
fallback, or in one drop counter, whatever the reporter does; nothing is raised.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from otus_core.components import BaseReporter
from otus_core.model.accounts import Accounts
from otus_core.model.output import OutputPacket
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.circuit import Circuit, pause_before
from otus_core.pipeline.fates import Fates, all_failed, by_reason
from otus_core.pipeline.guard import Guard

LEAVE_AFTER_S = 2.0
"""A call that goes on for so long after it was cancelled is left to itself: it does not heed cancellation."""
LEFT_MAX = 8
"""Calls that were left and still run; with so many the reporter is cut off until one of them ends."""
STALLED_S = 30.0
"""Once a source has ended, its reporters are waited for while something is reported now and then."""
ABANDON_S = 1.0


@attrs.frozen(kw_only=True, eq=False)
class DeliveryLimits:
    """What bounds the delivery to one reporter; times are in seconds."""

    batch_size: int
    batch_timeout: float
    send_timeout: float
    max_retries: int
    max_in_flight: int
    own_retries: bool


@attrs.define(eq=False)
class Call:
    """One batch on its way. ``batch`` is what is left of it: packets whose fate is not known."""

    batch: list[OutputPacket]
    begun_ns: int
    asked_at: float = 0.0
    task: asyncio.Task[None] | None = None
    left: bool = False


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
    ) -> None:
        self.name = name
        self.buffer = buffer
        self._fallback: Delivery | None = None
        self._reporter = reporter
        self._accounts = accounts
        self._limits = limits
        self._on_error = on_error
        self._on_closed = on_closed
        self._circuit = Circuit()
        self._guard = Guard(name, reporter, None if limits.own_retries else limits.send_timeout, accounts, on_error)
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._slot = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = False
        self._closed = False
        self._calls: list[Call] = []
        self._left: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._looked_at = 0.0

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
        """How long the oldest call that is under way has been (ns): of a reporter that retries by itself nothing else tells that it hangs."""
        return time.monotonic_ns() - self._calls[0].begun_ns if self._calls else 0

    def begin(self) -> None:
        """Start taking packets from the buffer."""
        self._runner = asyncio.create_task(self._run(), name=f"delivery:{self.name}")

    def kick(self) -> None:
        """Look at the buffer: called after every slice of packets."""
        held = self.buffer.count
        if held >= self._limits.batch_size or (held and self.buffer.full):
            self._wake.set()
        elif held and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._limits.batch_timeout, self._due)
        if self._calls and not self._limits.own_retries:
            self._leave_those_that_hang()

    async def room(self) -> None:
        """Wait until something has left a full buffer."""
        self._room.clear()
        self._wake.set()
        if self.buffer.full:
            await self._room.wait()

    async def drain(self, deadline: float | None) -> None:
        """Send what is left. What has not been sent ``deadline`` seconds from now goes to the fallback, or is lost to the shutdown.

        No deadline: wait for as long as something moves.
        """
        self._flushing = True
        self._wake.set()
        work = asyncio.create_task(self._finish(), name=f"drain:{self.name}")
        begun = moved = time.monotonic()
        before = -1
        while not work.done():
            await asyncio.wait({work}, timeout=0.1)
            if self._calls and not self._limits.own_retries:
                self._leave_those_that_hang()
            now, under_way = time.monotonic(), self.buffer.count + sum(len(call.batch) for call in self._calls)
            if under_way != before:
                before, moved = under_way, now
            if (deadline is not None and now - begun >= deadline) or now - moved >= self._stalled_s:
                break
        await _end((work,))
        await self._abandon()

    @property
    def _stalled_s(self) -> float:
        return max(STALLED_S, 2 * self._limits.send_timeout)

    async def _finish(self) -> None:
        """Wait until everything has been sent."""
        while self._runner is not None and not self._runner.done():
            await asyncio.wait({self._runner}, timeout=1.0)  # another one may take its place
        try:
            await self._reporter.flush()
        except Exception as error:
            self._on_error("reporter", self.name, error)

    async def _abandon(self) -> None:
        """End what is under way, and count what is left."""
        if self._timer is not None:
            self._timer.cancel()
        await _end((self._runner, *(call.task for call in self._calls), *self._left))
        for call in list(self._calls):  # those that do not heed cancellation
            self._leave(call, "shutdown")
        left = self.buffer.take(self.buffer.count)
        self._give_up(left, "shutdown")

    def _due(self) -> None:
        self._timer = None
        self._wake.set()

    async def _run(self) -> None:
        while self._runner is asyncio.current_task() and not (self._flushing and not self.buffer.count):
            if not self.buffer.count:
                self._wake.clear()
                await self._wake.wait()
                continue
            if self._waits_for_destination:
                await asyncio.sleep(0.05)
                continue
            await self._next_batch()
            if self.buffer.count < self._limits.batch_size and not self._flushing and not self.buffer.full:
                self._wake.clear()
                self.kick()
                await self._wake.wait()
        while self._calls and self._runner is asyncio.current_task():
            await self._free_slot()

    @property
    def _waits_for_destination(self) -> bool:
        """Whether packets stay in the buffer while the circuit is open; a source that waits tries on instead."""
        if self._is_cut_off:
            return self._fallback is None
        tries_on = self._fallback is not None or self.buffer.waits or self._flushing
        return not tries_on and not self._circuit.lets_through

    @property
    def _is_cut_off(self) -> bool:
        return len(self._left) >= LEFT_MAX

    async def _free_slot(self) -> None:
        self._slot.clear()
        await self._slot.wait()

    async def _next_batch(self) -> None:
        while len(self._calls) >= self._limits.max_in_flight:
            await self._free_slot()
        batch = self.buffer.take(self._limits.batch_size)
        self._room.set()
        if not batch:
            return
        self._count("in_flight", len(batch))
        if self._fallback is not None and (self._is_cut_off or not self._circuit.lets_through):
            self._count("in_flight", -len(batch))
            self._give_up(batch, "circuit_open")
            return
        call = Call(batch, time.monotonic_ns())
        self._calls.append(call)
        if self._limits.max_in_flight == 1:
            call.task = self._runner
            await self._send(call)
        else:
            call.task = asyncio.create_task(self._send(call), name=f"report:{self.name}")

    async def _send(self, call: Call) -> None:
        """See one batch to its end."""
        try:
            await self._see_through(call)
        finally:
            if not call.left:  # else everything was counted when it was left
                if call.batch:  # cancelled: the shutdown's deadline has passed
                    self._end_part(call, call.batch, "shutdown")
                self._forget(call)

    async def _see_through(self, call: Call) -> None:
        attempt = 0
        while call.batch:
            fates = await self._ask(call)
            if call.left:
                return
            if fates is None:  # nobody reads any more
                self._count("dropped{shutdown}", len(call.batch))
                self._count("in_flight", -len(call.batch))
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
            self._accounts.add(f"{self.name}.retries")
            await asyncio.sleep(pause_before(attempt))
            attempt += 1

    def _is_last(self, fates: Fates, attempt: int) -> bool:
        """Whether nothing is tried again after this. What surely did not arrive is held for as long as the destination is away, unless somebody else takes it."""
        if fates.waits and self._fallback is None:
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
        except BrokenPipeError:
            self._closed = True
            self._on_closed(self.name)
            return None
        finally:
            call.asked_at = 0.0

    def _settle(self, call: Call, fates: Fates) -> dict[str, list[OutputPacket]]:
        """Count what is known; gives what is to be tried again by its reason, which is what remains in the call."""
        if fates.fault:
            self._on_error("reporter", self.name, RuntimeError(fates.fault))
        self._judge(fates)
        batch = call.batch
        self._count("reported", fates.reported)
        for reason, n in fates.lost.items():
            self._fail(reason, n)
        failed = by_reason(batch, fates.failed)
        again = by_reason(batch, fates.retry)
        call.batch = [batch[place] for place in sorted(fates.retry)]
        self._count("in_flight", len(call.batch) - len(batch))
        for reason, outputs in failed.items():
            self._give_up(outputs, reason)
        return again

    def _judge(self, fates: Fates) -> None:
        """Tell the circuit."""
        if fates.is_failure or fates.fault:
            self._accounts.add(f"errors{{reporter:{self.name}}}")
        if fates.is_success:
            self._circuit.succeed()
        elif fates.is_failure:
            self._circuit.fail()
        else:
            self._circuit.give_up_probe()

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
                self._judge(all_failed(len(call.batch), "ambiguous"))
                self._leave(call, "ambiguous")

    def _leave(self, call: Call, reason: str) -> None:
        """Count a call's packets now, and let another call take its place."""
        call.left = True
        self._end_part(call, call.batch, reason)
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
        self._accounts.add(f"{self.name}.batches")
        self._accounts.add(f"{self.name}.latency_ns", time.monotonic_ns() - call.begun_ns)

    def _end_part(self, call: Call, outputs: Sequence[OutputPacket], reason: str) -> None:
        self._count("in_flight", -len(outputs))
        self._give_up(outputs, reason)

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
        if reason == "shutdown":
            self._count("dropped{shutdown}", n)
        elif n:
            term = f"dropped{{report_error:{reason}}}"
            self._count(term if f"{self.name}.{term}" in self._accounts else "dropped{report_error:other}", n)

    def _count(self, term: str, n: int) -> None:
        self._accounts.add(f"{self.name}.{term}", n)


def drain_order(deliveries: Iterable[Delivery]) -> Iterator[list[Delivery]]:
    """Give the deliveries in groups: each after all those that hand over to it."""
    left = list(deliveries)
    while left:
        awaited = {id(delivery.fallback) for delivery in left}
        group = [delivery for delivery in left if id(delivery) not in awaited]
        yield group
        left = [delivery for delivery in left if delivery not in group]


async def _end(tasks: Iterable[asyncio.Task[None] | None]) -> None:
    """Cancel tasks and wait for them, no longer than for a moment: a reporter may not heed it."""
    running = {task for task in tasks if task is not None and not task.done()}
    for task in running:
        task.cancel()
    if running:
        done, _ = await asyncio.wait(running, timeout=ABANDON_S)
        for task in done:
            with contextlib.suppress(BaseException):
                task.exception()
