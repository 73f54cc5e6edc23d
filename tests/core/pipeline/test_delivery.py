"""Delivery: every packet that leaves the buffer ends as reported, moved or dropped, whatever the reporter does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from otus_core import BaseReporter, OutputPacket, ReportResult
from otus_core.errors import StdoutClosed
from otus_core.model.accounts import Accounts
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.call import DeliveryLimits, drain_order
from otus_core.pipeline.counters import Roster, counter_names
from otus_core.pipeline.delivery import Delivery
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
            mark=7,
        )
        delivery.begin()
        return delivery

    def offer(self, n: int) -> None:
        for i in range(n):
            self.delivery.buffer.offer(OutputPacket(raw_payload=b"%d" % i))
        self.delivery.kick()

    def terms(self, name: str = "r") -> dict[str, int]:
        counters = self.accounts.snapshot()
        skipped = (
            "batches",
            "retries",
            "latency_ns",
            "blocked_ns",
            "bytes_queued",
            "oldest_ns",
            "spool_written",
            "spool_sent",
        )
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
        ([lambda b: ReportResult(4)], {}, {"reported": 4, "dropped{report_error:invalid}": 6}),
        ([lambda b: ReportResult(99, {"auth": 99})], {}, {"reported": 10}),
        ([lambda b: ReportResult(-3, {"auth": -2})], {}, {"dropped{report_error:invalid}": 10}),
        ([lambda b: None], {}, {"dropped{report_error:invalid}": 10}),
        ([lambda b: ReportResult(9, {"auth": [3, 3]})], {}, {"reported": 9, "dropped{report_error:auth}": 1}),
        ([lambda b: ReportResult(8, {"auth": [77, "x"]})], {}, {"reported": 8, "dropped{report_error:invalid}": 2}),
        ([lambda b: ReportResult(0, {"auth": object()})], {}, {"dropped{report_error:invalid}": 10}),
        ([asyncio.CancelledError()], {}, {"dropped{report_error:exception}": 10}),
        ([asyncio.CancelledError(), None], {}, {"reported": 10}),
        ([SystemExit(3)], {}, {"dropped{report_error:exception}": 10}),
        ([ConnectionRefusedError(), ConnectionRefusedError(), ConnectionRefusedError(), None], {}, {"reported": 10}),
        ([lambda b: ReportResult(retry={"busy": 10}), None], {}, {"reported": 10}),
        ([lambda b: ReportResult(7, retry={"busy": [1, 2, 3]}), None], {}, {"reported": 10}),
        ([lambda b: ReportResult(7, retry={"busy": 3}), None], {}, {"reported": 7, "dropped{report_error:other}": 3}),
        (
            [lambda b: ReportResult(5, {"auth": [0]}, {"busy": [1, 2]}, {"made up": 2}), None],
            {},
            {"reported": 7, "dropped{report_error:auth}": 1, "dropped{report_error:other}": 2},
        ),
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
        "gives nothing",
        "names one twice",
        "names what is not there",
        "gives what cannot be read",
        "raises what only a canceller raises",
        "raises that once",
        "exits",
        "destination away for a while",
        "busy once",
        "partly busy once",
        "partly busy, does not say which",
        "all kinds",
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


@pytest.mark.parametrize(
    ("step", "moved", "others"),
    [
        (lambda b: ReportResult(failed={"auth": 10}), range(10), {}),
        (lambda b: ReportResult(8, {"auth": [3, 7]}), (3, 7), {"reported": 8}),
        (
            lambda b: ReportResult(failed={"auth": 8}, final={"auth": [0, 1]}),
            range(2, 10),
            {"dropped{report_error:auth}": 2},
        ),
        (lambda b: ReportResult(8, {"auth": 2}), (), {"reported": 8, "dropped{report_error:auth}": 2}),
        (lambda b: ReportResult(retry={"busy": 10}), range(10), {}),
        (lambda b: None, range(10), {}),
        (ConnectionRefusedError(), range(10), {}),
        (asyncio.CancelledError(), range(10), {}),
        (1.0, range(10), {}),
    ],
    ids=["all", "some", "final", "nobody knows which", "busy", "nothing said", "away", "cancels", "hangs"],
)
def test_the_fallback_gets_what_the_reporter_gives_up(step: Any, moved: Sequence[int], others: dict[str, int]) -> None:
    async def scenario() -> None:
        spare = Scripted(None)
        bench = Bench(Scripted(step))
        bench.delivery.fallback = bench.make("spare", spare, False, 100, {})
        bench.offer(10)
        await bench.delivery.drain(5.0)
        await bench.delivery.fallback.drain(5.0)
        to_spare = {"moved_to_fallback": len(moved)} if moved else {}
        assert bench.terms() == {"offered": 10, **others, **to_spare}
        assert [raw for batch in spare.batches for raw in batch] == [b"%d" % place for place in moved]

    run(scenario)


def test_results_that_failed_open_the_circuit_as_exceptions_do() -> None:
    async def scenario() -> None:
        reporter = Scripted(lambda batch: ReportResult(failed={"auth": len(batch)}))
        bench = Bench(reporter)
        bench.delivery.fallback = bench.make("spare", Scripted(None), False, 1000, {})
        bench.offer(100)
        await bench.delivery.drain(5.0)
        assert bench.delivery.state == "open"
        assert len(reporter.batches) == 5
        assert bench.terms() == {"offered": 100, "moved_to_fallback": 100}
        await bench.delivery.fallback.drain(5.0)

    run(scenario)


def test_messages_that_nobody_could_send_say_nothing_of_the_destination() -> None:
    async def scenario() -> None:
        bench = Bench(Scripted(lambda batch: ReportResult(final={"auth": len(batch)})))
        bench.offer(100)
        await bench.delivery.drain(5.0)
        assert bench.delivery.state == "closed"
        assert bench.terms() == {"offered": 100, "dropped{report_error:auth}": 100}

    run(scenario)


def test_what_a_full_buffer_has_no_room_for_goes_to_the_fallback_too() -> None:
    async def scenario() -> None:
        spare = Scripted(None)
        bench = Bench(Scripted(100.0), live=True, capacity=20, own_retries=True)
        bench.delivery.fallback = bench.make("spare", spare, True, 1000, {})
        bench.offer(10)
        while not bench.accounts["r.in_flight"]:
            await asyncio.sleep(0.005)
        bench.offer(100)
        await bench.delivery.drain(0.1)
        await bench.delivery.fallback.drain(5.0)
        assert bench.terms() == {"offered": 110, "moved_to_fallback": 110}
        assert sum(map(len, spare.batches)) == 110

    run(scenario)


def test_a_call_within_its_time_is_not_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long ``send_timeout`` is, and however often the buffer is looked at meanwhile."""
    monkeypatch.setattr("otus_core.pipeline.delivery.LEAVE_AFTER_S", 0.05)

    async def scenario() -> None:
        bench = Bench(Scripted(0.4), send_timeout=60.0)
        bench.offer(10)
        while not bench.accounts["r.reported"]:
            bench.delivery.kick()
            await asyncio.sleep(0.01)
        await bench.delivery.drain(5.0)
        assert (bench.terms(), bench.errors) == ({"offered": 10, "reported": 10}, [])

    run(scenario)


def test_how_long_the_oldest_call_is_under_way() -> None:
    async def scenario() -> None:
        bench = Bench(Scripted(0.1), send_timeout=60.0)
        assert bench.delivery.oldest_ns == 0
        bench.offer(10)
        begun = time.monotonic_ns()
        while not bench.delivery.oldest_ns:
            await asyncio.sleep(0.001)
        assert 0 < bench.delivery.oldest_ns <= time.monotonic_ns() - begun
        await bench.delivery.drain(5.0)
        assert bench.delivery.oldest_ns == 0

    run(scenario)


@pytest.mark.parametrize("max_in_flight", [1, 3])
def test_a_reporter_that_does_not_heed_cancellation_is_left_and_delivery_goes_on(
    max_in_flight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otus_core.pipeline.delivery.LEAVE_AFTER_S", 0.2)

    class Stubborn(Scripted):
        async def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
            self.batches.append([output.raw_payload for output in batch])
            while len(self.batches) == 1:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(100)
            return ReportResult(len(batch))

    async def scenario() -> None:
        bench = Bench(Stubborn(None), max_in_flight=max_in_flight)
        bench.offer(10)
        while bench.terms().get("dropped{report_error:ambiguous}") != 10:
            await asyncio.sleep(0.01)
            bench.delivery.kick()
        assert any("although it was cancelled" in error for error in bench.errors)
        bench.offer(20)
        await bench.delivery.drain(5.0)
        assert bench.terms() == {"offered": 30, "dropped{report_error:ambiguous}": 10, "reported": 20}

    run(scenario)


def test_nothing_is_given_up_while_the_destination_is_away_and_order_stays() -> None:
    async def scenario() -> None:
        away = [True]

        def step(batch: Sequence[OutputPacket]) -> ReportResult:
            if away[0]:
                raise ConnectionRefusedError
            return ReportResult(len(batch))

        reporter = Scripted(step)
        bench = Bench(reporter, live=True, capacity=1000)
        bench.offer(500)
        while bench.delivery.state == "closed":
            await asyncio.sleep(0.01)
        refused = len(reporter.batches)
        away[0] = False
        await bench.delivery.drain(30.0)
        assert bench.terms() == {"offered": 500, "reported": 500}
        sent = [raw for batch in reporter.batches[refused:] for raw in batch]
        assert sent == [b"%d" % n for n in range(500)]

    run(scenario)


def test_deliveries_are_drained_after_those_that_hand_over_to_them() -> None:
    async def scenario() -> None:
        bench = Bench(Scripted(None))
        first, second, third = bench.delivery, *(bench.make("spare", Scripted(None), True, 9, {}) for _ in range(2))
        first.fallback, second.fallback = second, third
        assert list(drain_order([third, first, second])) == [[first], [second], [third]]
        for delivery in (first, second, third):
            await delivery.drain(1.0)

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
        bench = Bench(Scripted(StdoutClosed()))
        bench.offer(30)
        await bench.delivery.drain(5.0)
        assert bench.closed == ["r"]
        assert bench.terms() == {"offered": 30, "dropped{shutdown}": 30}

    run(scenario)


def test_a_broken_pipe_of_the_reporters_own_is_an_error_of_its_own() -> None:
    async def scenario() -> None:
        bench = Bench(Scripted(BrokenPipeError("its own"), None))
        bench.offer(30)
        await bench.delivery.drain(5.0)
        assert (bench.closed, bench.errors) == ([], ["its own"])
        assert bench.terms() == {
            "offered": 30,
            "reported": 30,
        }

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


def test_when_the_source_has_ended_what_moves_is_waited_for_and_what_stalls_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five batches of half a second take longer than a reporter may stand still; one that stands still for good is
    given up.
    """
    monkeypatch.setattr("otus_core.pipeline.call.STALLED_S", 2.0)

    async def scenario() -> None:
        slow = Bench(Scripted(0.5), send_timeout=1.0)
        hung = Bench(Scripted(2 * PATIENCE_S), own_retries=True)
        slow.offer(50)
        hung.offer(10)
        await asyncio.gather(slow.delivery.drain(None), hung.delivery.drain(None))
        assert slow.terms() == {"offered": 50, "reported": 50}
        assert hung.terms() == {"offered": 10, "dropped{shutdown}": 10}

    run(scenario)
