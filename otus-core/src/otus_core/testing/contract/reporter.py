"""The contract of reporters: whatever becomes of a message is said, and no destination holds anything up for ever."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import pytest

from otus_core.components import BaseReporter, ReportResult
from otus_core.errors import OtusError
from otus_core.model.output import OutputPacket
from otus_core.pipeline.fates import sort_out
from otus_core.plugins.component_hooks import CALLS, CALLS_MAX_S, hooks_of, seconds_of, strange_hooks
from otus_core.testing.contract.component import TRIES, Contract
from otus_core.testing.contract.messages import from_spool, odd_outputs, outputs

END_MAX_S = 30.0
"""Here a test is given up."""
LEAVES_MAX_S = 2.0
"""A call that is cancelled has so long to end; then the core leaves it alone, and cuts a reporter off that has eight of
them."""
STOP_MAX_S = 5.0
LEFT_MAX_S = 5.0
ANSWER_MAX_S = 0.5
BATCHES = 4
STEPS = 6
"""Turns of the event loop after which a call is cancelled: it is somewhere else at each."""


class Lines:
    """Stands where standard output stands."""

    isatty = False
    columns = 0

    def __init__(self) -> None:
        self.written = b""

    async def write(self, lines: bytes) -> None:
        """Take whole lines."""
        assert lines.endswith(b"\n"), f"these are no whole lines: {lines[-40:]!r}"
        self.written += lines


class ReporterContract(Contract):
    """What a reporter must do; ``config`` leads it to a destination of the test's own.

    What a test can say besides, so that more is tried: ``unreachable``, a configuration whose destination is not there;
    ``hanging`` and ``refusing``, destinations that misbehave; ``arrived``, how much the good one has received.
    """

    kind = "reporter"
    unreachable: Mapping[str, Any] | None = None

    def hanging(self) -> AbstractContextManager[dict[str, Any]]:
        """Open a destination that takes what is sent and never answers; gives the configuration that leads there."""
        pytest.skip("the test has no destination that hangs")

    def refusing(self) -> AbstractContextManager[dict[str, Any]]:
        """Open a destination that takes only a part of each batch; gives the configuration that leads there."""
        pytest.skip("the test has no destination that refuses a part")

    def arrived(self) -> int | None:
        """Give how many messages the destination has received, ``None`` where that is not known."""
        return None

    def make(self, data: Mapping[str, Any] | None = None) -> Any:
        """Construct and wire a new reporter; what it prints is in ``lines``."""
        made = self.declaration.load_factory()(self.settings(data))
        self.lines = Lines()
        made.wire(self.context(stdout=self.lines))
        return made

    def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        """Start a new reporter, report one batch, and stop it."""

        async def run(reporter: BaseReporter) -> ReportResult:
            result = await reporter.report(batch)
            await reporter.flush()
            return result

        result: ReportResult = self.running(run)
        return result

    def running(self, run: Callable[[Any], Coroutine[Any, Any, Any]], data: Mapping[str, Any] | None = None) -> Any:
        """Start a new reporter, have something done with it, and stop it, as a worker does.

        ``stop`` is called whatever happens, is bounded, and leaves nothing behind.
        """

        async def main() -> Any:
            others = asyncio.all_tasks()
            reporter: BaseReporter = self.make(data)
            self.check_status(reporter)
            try:
                await reporter.start()
                self.check_status(reporter)
                async with asyncio.timeout(END_MAX_S):
                    return await run(reporter)
            finally:
                await self.end(reporter.stop(), STOP_MAX_S, "stop()")
                self.check_status(reporter)
                await asyncio.sleep(0)
                left = [task.get_name() for task in asyncio.all_tasks() - others if not task.done()]
                assert not left, f"after stop() these tasks still run: {left}"

        return run_bounded(main())

    async def end(self, step: Coroutine[Any, Any, Any], within: float, what: str) -> None:
        """See to it that something ends in time, twice that on a machine that stands still."""
        done, _ = await asyncio.wait([asyncio.ensure_future(step)], timeout=2 * within)
        assert done, f"{what} takes more than {within:g} s"
        for one in done:
            one.result()

    def check_status(self, reporter: BaseReporter) -> None:
        """See to it that ``status`` is something that can be shown, at any time."""
        ask = getattr(reporter, "status", None)
        status = {} if ask is None else ask()
        assert isinstance(status, Mapping), f"status() gave {status!r}"
        json.dumps(dict(status))

    def check_result(self, result: Any, batch: Sequence[OutputPacket]) -> ReportResult:
        """See to it that every message of a batch has its fate, for a reason that is declared."""
        assert isinstance(result, ReportResult), f"report() gave {result!r}, not a ReportResult"
        fates = sort_out(result, len(batch))
        assert not fates.fault, fates.fault
        assert not batch or "invalid" not in fates.lost, "messages have no fate, or several"
        reasons = {*result.failed, *result.retry, *result.final}
        undeclared = reasons - set(self.declaration.failure_reasons)
        assert not undeclared, f"the declaration's failure_reasons lack {sorted(undeclared)}"
        return result

    def compare_with_arrived(self, results: Sequence[ReportResult], before: int | None) -> None:
        """Compare what was reported with what has arrived, where that is known."""
        after = self.arrived()
        if before is not None and after is not None:
            said = sum(result.reported for result in results)
            assert after - before == said, f"{said} messages were reported, and {after - before} have arrived"

    def test_every_message_of_a_batch_has_its_fate(self) -> None:
        """What is reported, failed, to be retried and final adds up to the batch, and is what has arrived."""
        batch, before = outputs(), self.arrived()
        self.compare_with_arrived([self.check_result(self.report(batch), batch)], before)

    def test_an_empty_batch_does_no_harm(self) -> None:
        """Nothing to report is nothing reported."""
        result = self.report([])
        assert (result.reported, dict(result.failed)) == (0, {})

    def test_one_batch_follows_the_other(self) -> None:
        """A reporter lives for many batches; each message of each has its fate."""
        batches = [outputs(n + 1) for n in range(BATCHES)]

        async def run(reporter: BaseReporter) -> list[ReportResult]:
            return [await reporter.report(batch) for batch in batches]

        self._check_all(run, batches)

    def test_as_many_calls_are_open_as_it_declares(self) -> None:
        """``max_in_flight`` calls at once do not wait for each other for ever, or mix up their batches."""
        batches = [outputs(n % 5 + 1) for n in range(self.declaration.max_in_flight * 2)]

        async def run(reporter: BaseReporter) -> list[ReportResult]:
            room = asyncio.Semaphore(self.declaration.max_in_flight)

            async def one(batch: list[OutputPacket]) -> ReportResult:
                async with room:
                    return await reporter.report(batch)

            return await asyncio.gather(*map(one, batches))

        self._check_all(run, batches)

    def _check_all(
        self,
        report_all: Callable[[BaseReporter], Coroutine[Any, Any, list[ReportResult]]],
        batches: Sequence[list[OutputPacket]],
    ) -> None:
        async def run(reporter: BaseReporter) -> list[ReportResult]:
            results = await report_all(reporter)
            await reporter.flush()
            return results

        before = self.arrived()
        results = self.running(run)
        for result, batch in zip(results, batches, strict=True):
            self.check_result(result, batch)
        self.compare_with_arrived(results, before)

    def test_odd_messages_have_their_fate(self) -> None:
        """Packets bring about any text in labels, and any time; nothing is raised, and the others get through."""
        odd, plain = odd_outputs(self._type()), outputs(2)

        async def run(reporter: BaseReporter) -> None:
            for what, output in odd.items():
                batch = [plain[0], output, plain[1]]
                try:
                    result = await reporter.report(batch)
                except Exception as error:
                    raise AssertionError(f"a message with {what}: {type(error).__name__}: {error}") from error
                self.check_result(result, batch)

        self.running(run)

    def test_messages_from_a_spool_are_as_good_as_others(self) -> None:
        """Of their payload only the JSON is left."""
        batch, before = from_spool(outputs()), self.arrived()
        self.compare_with_arrived([self.check_result(self.report(batch), batch)], before)

    def test_a_call_may_be_cancelled_anywhere(self) -> None:
        """As the core does after ``send_timeout``; the reporter goes on with the next batch."""
        batch = outputs()

        async def run(reporter: BaseReporter) -> None:
            for steps in range(STEPS):
                call = asyncio.ensure_future(reporter.report(batch))
                for _ in range(steps):
                    await asyncio.sleep(0)
                call.cancel()
                await self.end(asyncio.wait([call]), LEAVES_MAX_S, "a cancelled report()")
                if not call.cancelled():
                    self.check_result(call.result(), batch)
            self.check_result(await reporter.report(batch), batch)

        self.running(run)

    def test_it_can_be_stopped_before_it_has_started(self) -> None:
        """``stop`` is called once, also where ``start`` failed or was never called."""

        async def main() -> None:
            await self.end(self.make().stop(), STOP_MAX_S, "stop()")

        run_bounded(main())

    def test_nothing_is_left_behind(self) -> None:
        """No descriptor is left open after ``stop``."""
        self.report(outputs())
        before = _descriptors()
        self.report(outputs())
        until = time.monotonic() + LEFT_MAX_S  # a server in this process closes its side when it hears of the end
        while _descriptors() > before and time.monotonic() < until:
            time.sleep(0.02)
        assert _descriptors() <= before, "descriptors are left open"

    def test_a_destination_that_is_not_there_is_no_success(self) -> None:
        """An OSError, or a result in which nothing is reported; with retries of its own it may go on trying."""
        if self.unreachable is None:
            pytest.skip("the test names no destination that is not there")
        batch = outputs()

        async def run(reporter: BaseReporter) -> None:
            result = await self._try(reporter, batch)
            if result is not None:
                assert not self.check_result(result, batch).reported, "messages are reported that cannot have arrived"

        with suppress(OSError, OtusError):  # of start(), which may say so too
            self.running(run, self.unreachable)

    def test_a_destination_that_hangs_holds_up_nothing(self) -> None:
        """A call that is cancelled ends, and so does ``stop``; nothing that was not answered is reported."""
        batch = outputs()

        async def run(reporter: BaseReporter) -> None:
            for _ in range(2):
                result = await self._try(reporter, batch)
                if result is not None:
                    assert not self.check_result(result, batch).reported, (
                        "messages are reported that nobody acknowledged"
                    )

        with self.hanging() as config:
            self.running(run, config)

    def test_a_part_that_is_refused_is_named(self) -> None:
        """Which messages failed is said by their places: where only a number is known, they can go nowhere."""
        batch = outputs(10)

        async def run(reporter: BaseReporter) -> ReportResult:
            result: ReportResult = await reporter.report(batch)
            return result

        with self.refusing() as config:
            before = self.arrived()
            result = self.check_result(self.running(run, config), batch)
            self.compare_with_arrived([result], before)
        assert 0 < result.reported < len(batch), f"{result.reported} of {len(batch)} are reported"
        for where in (result.failed, result.retry):
            assert not [some for some in where.values() if isinstance(some, int)], "give places, not numbers"

    def test_hooks_are_taken_quickly(self) -> None:
        """A reporter that receives hooks takes a thousand of them without waiting: packets would wait too."""
        strange = list(strange_hooks(self.make()))
        assert not strange, strange

        async def run(reporter: BaseReporter) -> float:
            hooks = hooks_of(reporter)
            return 0.0 if hooks is None else seconds_of(hooks)

        took = min(self.running(run) for _ in range(TRIES))
        assert took <= CALLS_MAX_S, f"{CALLS} hooks took {took:.1f} s or more"

    async def _try(self, reporter: BaseReporter, batch: Sequence[OutputPacket]) -> ReportResult | None:
        """Call ``report`` where no good can come of it, and cancel it if it does not end; ``None`` for no result."""
        call = asyncio.ensure_future(reporter.report(batch))
        await asyncio.wait([call], timeout=ANSWER_MAX_S)
        call.cancel()
        await self.end(asyncio.wait([call]), LEAVES_MAX_S, "a cancelled report()")
        if call.cancelled():
            return None
        error = call.exception()
        assert error is None or isinstance(error, OSError), f"report() raises {type(error).__name__}: {error}"
        return None if error is not None else call.result()

    def _type(self) -> str:
        return self.declaration.payload_types[0] if self.declaration.payload_types else "sip"


def run_bounded(main: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end, without waiting for tasks that do not heed their cancellation."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=LEAVES_MAX_S))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
