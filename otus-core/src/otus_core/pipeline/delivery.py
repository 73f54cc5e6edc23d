"""Carries one reporter's packets from its send buffer to the reporter, beside the pipeline.

In: a ``SendBuffer`` that the pipeline fills. Out: ``report`` calls, up to ``max_in_flight`` at a time, each with a timeout and retries unless the reporter has its own.
Every packet taken from the buffer ends as reported, moved to the fallback, or in one drop counter; nothing is raised.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

import attrs

from otus_core.components import BaseReporter, ReportResult
from otus_core.model.accounts import Accounts
from otus_core.model.output import OutputPacket
from otus_core.pipeline.buffer import SendBuffer

T = TypeVar("T")
BREAK_AFTER = 5
"""Whole batches that fail in a row before the circuit opens."""
BREAK_FOR_S = 10.0
BLOCKED_WARN_NS = 50_000_000
"""A reporter that keeps the thread for longer than this in one step is named in the log."""


@attrs.frozen(kw_only=True, eq=False)
class DeliveryLimits:
    """What bounds the delivery to one reporter; times are in seconds."""

    batch_size: int
    batch_timeout: float
    send_timeout: float
    max_retries: int
    max_in_flight: int
    own_retries: bool


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
        self.fallback: Delivery | None = None
        self._reporter = reporter
        self._accounts = accounts
        self._limits = limits
        self._on_error = on_error
        self._on_closed = on_closed
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = False
        self._closed = False
        self._failures = 0
        self._open_until = 0.0
        self._calls: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """The circuit's state: ``closed``, ``open``, or ``half_open`` while it is being tried again."""
        if self._failures < BREAK_AFTER:
            return "closed"
        return "open" if time.monotonic() < self._open_until else "half_open"

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

    async def room(self) -> None:
        """Wait until something has left a full buffer."""
        self._room.clear()
        self._wake.set()
        if self.buffer.full:
            await self._room.wait()

    async def drain(self, deadline: float | None) -> None:
        """Send what is left; what is not sent ``deadline`` seconds from now is counted as lost to the shutdown. No deadline: wait."""
        self._flushing = True
        self._wake.set()
        try:
            async with asyncio.timeout(deadline):
                if self._runner is not None:
                    await asyncio.shield(self._runner)
                await self._reporter.flush()
        except TimeoutError:
            pass
        except Exception as error:
            self._on_error("reporter", self.name, error)
        finally:
            await self._abandon()

    async def _abandon(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in (self._runner, *self._calls):
            if task is not None and not task.done():
                task.cancel()
        await asyncio.gather(*(t for t in (self._runner, *self._calls) if t is not None), return_exceptions=True)
        left = len(self.buffer.take(self.buffer.count))
        if left:
            self._count("dropped{shutdown}", left)

    def _due(self) -> None:
        self._timer = None
        self._wake.set()

    async def _run(self) -> None:
        while not (self._flushing and not self.buffer.count):
            if not self.buffer.count:
                self._wake.clear()
                await self._wake.wait()
                continue
            if self._held_open():
                await asyncio.sleep(0.05)
                continue
            await self._next_batch()
            if self.buffer.count < self._limits.batch_size and not self._flushing and not self.buffer.full:
                self._wake.clear()
                self.kick()
                await self._wake.wait()
        if self._calls:
            await asyncio.wait(self._calls)

    def _held_open(self) -> bool:
        """Whether the open circuit leaves the packets to the buffer, which drops them; a source that waits tries on instead."""
        return self.state == "open" and self.fallback is None and not self.buffer.waits and not self._flushing

    async def _next_batch(self) -> None:
        if len(self._calls) >= self._limits.max_in_flight:
            await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)
        batch = self.buffer.take(self._limits.batch_size)
        if not batch:
            return
        self._count("in_flight", len(batch))
        self._room.set()
        if self._limits.max_in_flight == 1:
            await self._send(batch)
            return
        call = asyncio.create_task(self._send(batch), name=f"report:{self.name}")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _send(self, batch: list[OutputPacket]) -> None:
        """See one batch to its end."""
        begun = time.monotonic_ns()
        ended = False
        try:
            if self._closed:
                self._count("dropped{shutdown}", len(batch))
            elif self.state == "open" and self.fallback is not None:
                self._move(batch)
            else:
                result = await self._report(batch)
                self._settle(batch, result)
            ended = True
        finally:
            if not ended:  # cancelled: the shutdown's deadline has passed
                self._count("dropped{shutdown}", len(batch))
            self._count("in_flight", -len(batch))
            self._accounts.add(f"{self.name}.batches")
            self._accounts.add(f"{self.name}.latency_ns", time.monotonic_ns() - begun)

    async def _report(self, batch: list[OutputPacket]) -> ReportResult | str:
        """Call the reporter until it gives a result, or give the reason why it did not."""
        own = self._limits.own_retries
        reason = "other"
        for attempt in range(1 if own else 1 + self._limits.max_retries):
            if attempt:
                self._accounts.add(f"{self.name}.retries")
            try:
                return await _timed(
                    self._reporter.report(batch), None if own else self._limits.send_timeout, self._blocked
                )
            except BrokenPipeError:
                self._closed = True
                self._on_closed(self.name)
                return "closed"
            except TimeoutError as error:
                reason = "ambiguous"
                self._on_error("reporter", self.name, error)
            except Exception as error:
                reason = "exception"
                self._on_error("reporter", self.name, error)
        return reason

    def _settle(self, batch: list[OutputPacket], result: ReportResult | str) -> None:
        """Count the fate of a batch."""
        if isinstance(result, str):
            self._failed(batch, result)
            return
        self._failures = 0
        reported = min(max(result.reported, 0), len(batch))
        self._count("reported", reported)
        left = len(batch) - reported
        for reason, n in result.failed.items():
            taken = min(max(n, 0), left)
            left -= taken
            self._fail(reason, taken)
        self._fail("other", left)

    def _failed(self, batch: list[OutputPacket], reason: str) -> None:
        if reason == "closed":
            self._count("dropped{shutdown}", len(batch))
            return
        self._accounts.add(f"errors{{reporter:{self.name}}}")
        self._failures += 1
        if self._failures >= BREAK_AFTER:
            self._open_until = time.monotonic() + BREAK_FOR_S
        if self.fallback is not None:
            self._move(batch)
        else:
            self._fail(reason, len(batch))

    def _fail(self, reason: str, n: int) -> None:
        if n:
            term = f"dropped{{report_error:{reason}}}"
            self._count(term if f"{self.name}.{term}" in self._accounts else "dropped{report_error:other}", n)

    def _move(self, batch: list[OutputPacket]) -> None:
        assert self.fallback is not None
        for output in batch:
            self.fallback.buffer.offer(output)
        self._count("moved_to_fallback", len(batch))
        self.fallback.kick()

    def _count(self, term: str, n: int) -> None:
        self._accounts.add(f"{self.name}.{term}", n)

    def _blocked(self, ns: int) -> None:
        self._accounts.add(f"{self.name}.blocked_ns", ns)
        if ns > BLOCKED_WARN_NS:
            self._on_error("reporter", self.name, RuntimeError(f"held the thread for {ns // 1_000_000} ms in one step"))


async def _timed(call: Coroutine[Any, Any, T], limit: float | None, spent: Callable[[int], None]) -> T:
    """Run a coroutine for ``limit`` seconds at most, and tell how long each of its steps kept the thread (ns). One that never waits needs no timer."""
    begun = time.monotonic_ns()
    try:
        waits_for = call.send(None)
    except StopIteration as end:
        done: T = end.value
        return done
    finally:
        spent(time.monotonic_ns() - begun)
    async with asyncio.timeout(limit):
        return await _rest(call, waits_for, spent)


@coroutine
def _rest(call: Coroutine[Any, Any, T], waits_for: Any, spent: Callable[[int], None]) -> Generator[Any, Any, T]:
    """Run a coroutine on that waits for something."""
    while True:
        try:
            yield waits_for
            step = call.send
            thrown: BaseException | None = None
        except BaseException as error:
            step, thrown = call.throw, error
        begun = time.monotonic_ns()
        try:
            waits_for = step(thrown)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            spent(time.monotonic_ns() - begun)
