"""Delivery: every packet that leaves the buffer ends as reported, moved or dropped, whatever the reporter does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from otus_core import BaseReporter, OutputPacket, ReportResult
from otus_core.model.accounts import Accounts
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.counters import Roster, counter_names
from otus_core.pipeline.delivery import Delivery, DeliveryLimits
from tests.patience import PATIENCE_S, keeps

ROSTER = Roster((), (), {"r": ("auth",), "spare": ()}, frozenset({"spare"}))


class Scripted(BaseReporter):
    """Does with each batch what the script says; the last line is for all that follow."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.batches: list[list[bytes]] = []
        self.flushed = 0
        self.open = 0
        self.most_open = 0

    async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        self.batches.append([output.raw_payload for output in batch])
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
                return ReportResult(len(batch))
            return step(batch) if callable(step) else ReportResult(len(batch))
        finally:
            self.open -= 1

    async def flush(self) -> None:
        self.flushed += 1


class Bench:
    def __init__(self, reporter: BaseReporter, *, live: bool = False, capacity: int = 100, **limits: Any) -> None:
        self.accounts = Accounts(counter_names(ROSTER, ()))
        self.errors: list[str] = []
        self.closed: list[str] = []
        self.delivery = self.make("r", reporter, live, capacity, limits)

    def make(self, name: str, reporter: BaseReporter, live: bool, capacity: int, limits: dict[str, Any]) -> Delivery:
        chosen = {
            "batch_size": 10,
            "batch_timeout": 0.01,
            "send_timeout": 0.05,
            "max_retries": 1,
            "max_in_flight": 1,
            "own_retries": False,
            **limits,
        }
        delivery = Delivery(
            name,
            reporter,
            SendBuffer(self.accounts, name, capacity, 1 << 30, not live),
            self.accounts,
            DeliveryLimits(**chosen),
            on_error=lambda kind, who, error: self.errors.append(str(error)),
            on_closed=self.closed.append,
        )
        delivery.begin()
        return delivery

    def offer(self, n: int) -> None:
        for i in range(n):
            self.delivery.buffer.offer(OutputPacket(raw_payload=b"%d" % i))
        self.delivery.kick()

    def terms(self, name: str = "r") -> dict[str, int]:
        counters = self.accounts.snapshot()
        skipped = ("batches", "retries", "latency_ns", "blocked_ns", "bytes_queued")
        found = {k[len(name) + 1 :]: n for k, n in counters.items() if k.startswith(name + ".") and n}
        return {term: n for term, n in found.items() if term not in skipped}


def run(scenario: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))


def test_batches_go_out_by_size_and_by_time() -> None:
    async def scenario() -> None:
        reporter = Scripted(None)
        bench = Bench(reporter)
        bench.offer(25)
        while bench.accounts["r.reported"] < 25:
            await asyncio.sleep(0.005)
        assert [len(batch) for batch in reporter.batches] == [10, 10, 5]
        await bench.delivery.drain(1.0)
        assert reporter.flushed == 1
        assert bench.terms() == {"offered": 25, "reported": 25}

    run(scenario)


@pytest.mark.parametrize(
    ("script", "limits", "terms"),
    [
        ([ValueError("x"), None], {}, {"reported": 10}),
        ([ValueError("x")], {}, {"dropped{report_error:exception}": 10}),
        ([1.0, None], {}, {"reported": 10}),
        ([1.0], {}, {"dropped{report_error:ambiguous}": 10}),
        ([0.1], {"own_retries": True}, {"reported": 10}),
        ([ValueError("x")], {"own_retries": True}, {"dropped{report_error:exception}": 10}),
        ([lambda b: ReportResult(4, {"auth": 6})], {}, {"reported": 4, "dropped{report_error:auth}": 6}),
        ([lambda b: ReportResult(4, {"made up": 6})], {}, {"reported": 4, "dropped{report_error:other}": 6}),
        ([lambda b: ReportResult(4)], {}, {"reported": 4, "dropped{report_error:other}": 6}),
        ([lambda b: ReportResult(99, {"auth": 99})], {}, {"reported": 10}),
        ([lambda b: ReportResult(-3, {"auth": -2})], {}, {"dropped{report_error:other}": 10}),
    ],
    ids=[
        "retried",
        "raises for good",
        "slow once",
        "always too slow",
        "slow, retries by itself",
        "raises, retries by itself",
        "partly refused",
        "unknown reason",
        "forgets some",
        "claims too many",
        "claims nonsense",
    ],
)
def test_the_fate_of_a_batch_is_counted(script: list[Any], limits: dict[str, Any], terms: dict[str, int]) -> None:
    async def scenario() -> None:
        bench = Bench(Scripted(*script), **limits)
        bench.offer(10)
        await bench.delivery.drain(5.0)
        assert bench.terms() == {"offered": 10, **terms}

    run(scenario)


def test_what_fails_goes_to_the_fallback() -> None:
    async def scenario() -> None:
        spare = Scripted(None)
        bench = Bench(Scripted(ValueError("x")))
        bench.delivery.fallback = bench.make("spare", spare, False, 100, {})
        bench.offer(10)
        await bench.delivery.drain(5.0)
        await bench.delivery.fallback.drain(5.0)
        assert bench.terms() == {"offered": 10, "moved_to_fallback": 10}
        assert bench.terms("spare") == {"offered": 10, "reported": 10}
        assert sum(map(len, spare.batches)) == 10

    run(scenario)


def test_an_open_circuit_hands_over_at_once() -> None:
    async def scenario() -> None:
        reporter = Scripted(ValueError("x"))
        bench = Bench(reporter, max_retries=0)
        bench.delivery.fallback = bench.make("spare", Scripted(None), False, 1000, {})
        bench.offer(100)
        await bench.delivery.drain(5.0)
        assert bench.delivery.state == "open"
        assert len(reporter.batches) == 5
        assert bench.terms()["moved_to_fallback"] == 100
        await bench.delivery.fallback.drain(5.0)

    run(scenario)


def test_an_open_circuit_lets_a_live_buffer_drop_the_oldest() -> None:
    async def scenario() -> None:
        reporter = Scripted(ValueError("x"))
        bench = Bench(reporter, live=True, capacity=60, max_retries=0)
        bench.offer(50)
        while bench.delivery.state == "closed":
            await asyncio.sleep(0.005)
        calls = len(reporter.batches)
        bench.offer(200)
        await asyncio.sleep(0.1)
        assert len(reporter.batches) == calls
        assert bench.accounts["r.queued"] == 60
        assert bench.accounts["r.dropped{buffer_overflow}"] == 140
        await bench.delivery.drain(0.5)

    run(scenario)


def test_a_hung_reporter_does_not_outlive_the_deadline() -> None:
    async def scenario() -> float:
        bench = Bench(Scripted(100.0), own_retries=True)
        bench.offer(30)
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        await bench.delivery.drain(0.2)
        assert bench.terms() == {"offered": 30, "dropped{shutdown}": 30}
        return time.monotonic() - begun

    keeps(2.0, lambda: run(scenario))


def test_as_many_calls_are_open_as_declared() -> None:
    async def scenario() -> None:
        reporter = Scripted(0.03)
        bench = Bench(reporter, max_in_flight=3, send_timeout=5.0)
        bench.offer(100)
        await bench.delivery.drain(5.0)
        assert reporter.most_open == 3
        assert bench.terms() == {"offered": 100, "reported": 100}

    run(scenario)


def test_a_closed_destination_is_told_once_and_nothing_counts_as_an_error() -> None:
    async def scenario() -> None:
        bench = Bench(Scripted(BrokenPipeError()))
        bench.offer(30)
        await bench.delivery.drain(5.0)
        assert bench.closed == ["r"]
        assert bench.terms() == {"offered": 30, "dropped{shutdown}": 30}

    run(scenario)


def test_a_reporter_that_blocks_the_thread_is_named() -> None:
    def block(batch: Sequence[OutputPacket]) -> ReportResult:
        time.sleep(0.08)
        return ReportResult(len(batch))

    async def scenario() -> None:
        bench = Bench(Scripted(block))
        bench.offer(10)
        await bench.delivery.drain(5.0)
        assert bench.accounts["r.blocked_ns"] >= 80_000_000
        assert any("held the thread" in error for error in bench.errors)

    run(scenario)


def test_a_full_buffer_has_room_again_when_something_left_it() -> None:
    async def scenario() -> None:
        bench = Bench(Scripted(None), capacity=20)
        bench.offer(20)
        assert bench.delivery.buffer.full
        await bench.delivery.room()
        assert not bench.delivery.buffer.full
        await bench.delivery.drain(1.0)

    run(scenario)
