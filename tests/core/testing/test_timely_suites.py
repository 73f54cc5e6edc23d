"""The contract suites of parsers and processors pass good ones that speak over time, and fail each that breaks a rule
on purpose.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import otus_core
from otus_core import (
    CONSUMED,
    Context,
    DecodedPacket,
    FlowKey,
    OutputPacket,
    Parsed,
    ParseError,
    Parser,
    Processor,
    Record,
)
from otus_core.declarations import NoConfig
from otus_core.testing.contract import ParserContract, ProcessorContract, outputs
from tests.core.testing.suites import failing

SECOND = 10**9


class Counting(otus_core.BaseProcessor):
    """Counts messages by call, in the worker that owns the call; tells at intervals of a call that is quiet, and at the
    end of all.
    """

    tick_interval = 1.0

    def __init__(self, config: NoConfig) -> None:
        self.calls: dict[str, tuple[int, int]] = {}

    def wire(self, context: Context) -> None:
        self.emit = context.emit
        self.route = context.route

    def process(self, output: OutputPacket) -> Any:
        call = output.label("sip.call_id")
        if call is not None:
            self.route(call, {"at": output.timestamp})
        return True

    def on_route(self, key: str, message: Any) -> None:
        count, _ = self.calls.get(key, (0, 0))
        self.calls[key] = (count + 1, message["at"])

    def tick(self, now: int) -> Iterable[Record] | None:
        for call in [call for call, (_, last) in self.calls.items() if now - last > 3600 * SECOND]:
            self.emit(self.record(call))
            del self.calls[call]
        return None

    def finish(self, now: int) -> Iterable[Record] | None:
        return (self.record(call) for call in self.calls)

    def record(self, call: str) -> Record:
        count, last = self.calls[call]
        return Record("calls", {"messages": count}, last, labels={"calls.id": call}, key=call)


class Suite(ProcessorContract):
    def messages(self) -> list[OutputPacket]:
        return [output for output in outputs(5) for _ in range(2)]


class Asks(Counting):
    """Tells, of each call that is open in the end, who had the most messages: one worker knows, and is asked."""

    most = 0

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self.best: dict[str, int] = {}

    def on_route(self, key: str, message: Any) -> None:
        if key == "all":
            call, count = message
            self.most = max(self.most, count)
            self.route(call, self.most)
        elif type(message) is int:
            self.best[key] = message
        else:
            super().on_route(key, message)

    def before_finish(self, now: int) -> Iterator[None] | None:
        for _ in range(2):
            for call, (count, _) in self.calls.items():
                self.route("all", (call, count))
            yield

    def record(self, call: str) -> Record:
        count, last = self.calls[call]
        return Record("calls", {"messages": count, "most": self.best.get(call)}, last, key=call)


class AsksInTheEnd(Asks):
    """Does not wait for the answers."""

    def before_finish(self, now: int) -> Iterator[None] | None:
        for _ in super().before_finish(now) or ():
            pass
        return None


class AsksForSomething(Asks):
    def before_finish(self, now: int) -> Any:
        yield "an answer"


class AsksForEver(Asks):
    def before_finish(self, now: int) -> Iterator[None] | None:
        while True:
            yield


class Undeclared(Counting):
    def record(self, call: str) -> Record:
        return Record("mood", {}, 0)


class NoRecord(Counting):
    def finish(self, now: int) -> Any:
        return [{"call": 1}]


class EmitsInSilence(Counting):
    """Emits what is not declared, and catches what it is told."""

    def finish(self, now: int) -> Iterable[Record] | None:
        with contextlib.suppress(ValueError):
            self.emit(Record("mood", {}, 0))
        return None


class FinishesWithANumber(Counting):
    def finish(self, now: int) -> Any:
        return 7


class TooMany(Counting):
    def tick(self, now: int) -> Iterable[Record] | None:
        for _ in range(5000):
            self.emit(Record("calls", {}, now))
        return None


class NoInterval(Counting):
    tick_interval = 0.0


class TicksInText(Counting):
    tick_interval: Any = "1s"


class RoutesObjects(Counting):
    def process(self, output: OutputPacket) -> Any:
        self.route("x", output)
        return True


class RoutesToNumbers(Counting):
    def process(self, output: OutputPacket) -> Any:
        self.route(7, {})  # type: ignore[arg-type]
        return True


class RoutesMuch(Counting):
    def process(self, output: OutputPacket) -> Any:
        self.route("x", b"x" * 70_000)
        return True


class KeepsForItself(Counting):
    """Counts where the message is, not where its call is owned."""

    def process(self, output: OutputPacket) -> Any:
        call = output.label("sip.call_id")
        if call is not None:
            self.on_route(call, {"at": output.timestamp})
        return True


class WantsOrder(Counting):
    """A message may arrive after all that it belongs to."""

    def process(self, output: OutputPacket) -> Any:
        self.known = True
        return super().process(output)

    def on_route(self, key: str, message: Any) -> None:
        assert self.known
        super().on_route(key, message)


class HoldsOver(Counting):
    calls_of_all: dict[str, tuple[int, int]] = {}  # noqa: RUF012 - that is the fault

    def __init__(self, config: NoConfig) -> None:
        self.calls = self.calls_of_all


class TrustsTheClock(Counting):
    last = 0

    def tick(self, now: int) -> Iterable[Record] | None:
        assert now >= self.last, "time goes back"
        self.last = now
        return super().tick(now)


class NeedsAStart(Counting):
    def tick(self, now: int) -> Iterable[Record] | None:
        next(iter(self.calls))
        return None


class WantsText(Counting):
    def process(self, output: OutputPacket) -> Any:
        output.labels["sip.method"].encode("ascii")
        return super().process(output)


class WantsAscii(Counting):
    def process(self, output: OutputPacket) -> Any:
        (output.label("sip.method") or "").encode("ascii")
        return super().process(output)


class SaysMaybe(Counting):
    def process(self, output: OutputPacket) -> Any:
        return "yes"


class Rewrites(Counting):
    def process(self, output: OutputPacket) -> Any:
        if isinstance(output.payload, dict):
            output.payload["seen"] = True
            output.labels["x.n"] = 7  # type: ignore[assignment]
        return True


class TakesIn(Counting):
    def process(self, output: OutputPacket) -> Any:
        super().process(output)
        return CONSUMED


class WrongCounter(Counting):
    def wire(self, context: Context) -> None:
        super().wire(context)
        self.counter = context.counter

    def process(self, output: OutputPacket) -> Any:
        self.counter("moods")()
        return True


RECORDS = "test_records_are_as_declared"
PROCESSORS: dict[str, tuple[type[Counting], str]] = {
    "emits undeclared types": (Undeclared, RECORDS),
    "gives what is no record": (NoRecord, RECORDS),
    "emits in silence": (EmitsInSilence, RECORDS),
    "finishes with a number": (FinishesWithANumber, RECORDS),
    "emits too many": (TooMany, RECORDS),
    "has no interval": (NoInterval, "test_it_says_when_it_wants_to_tick"),
    "has its interval as text": (TicksInText, "test_it_says_when_it_wants_to_tick"),
    "routes objects": (RoutesObjects, RECORDS),
    "routes to a number": (RoutesToNumbers, RECORDS),
    "routes much": (RoutesMuch, RECORDS),
    "keeps for itself": (KeepsForItself, "test_the_number_of_workers_changes_nothing"),
    "wants order": (WantsOrder, "test_any_message_of_its_own_is_taken"),
    "does not wait for answers": (AsksInTheEnd, "test_the_number_of_workers_changes_nothing"),
    "asks for something": (AsksForSomething, RECORDS),
    "asks for ever": (AsksForEver, RECORDS),
    "holds something over": (HoldsOver, "test_it_begins_anew_when_it_is_made_anew"),
    "trusts the clock": (TrustsTheClock, "test_the_clock_may_say_anything"),
    "ticks only after a message": (NeedsAStart, "test_the_clock_may_say_anything"),
    "wants labels": (WantsText, "test_labels_may_be_missing"),
    "wants ASCII": (WantsAscii, "test_odd_messages_do_no_harm"),
    "says maybe": (SaysMaybe, "test_it_decides_and_leaves_payloads_alone"),
    "makes labels of numbers": (Rewrites, "test_it_decides_and_leaves_payloads_alone"),
    "counts what it does not declare": (WrongCounter, "test_it_decides_and_leaves_payloads_alone"),
}


def processor(component: type, **more: Any) -> Processor:
    about = {"name": "odd", "factory": component, "summary": "Odd", "produces": ("calls",), "routes": True}
    return Processor(**{**about, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("component", [Counting, TakesIn, Asks])
def test_a_good_processor_passes(component: type, tmp_path: Path) -> None:
    assert failing(Suite, processor(component), tmp_path) == set()


@pytest.mark.parametrize(("component", "expected"), PROCESSORS.values(), ids=PROCESSORS)
def test_each_rule_that_a_processor_breaks_is_found(component: type, expected: str, tmp_path: Path) -> None:
    assert expected in failing(Suite, processor(component), tmp_path)


def test_a_processor_that_routes_and_does_not_say_so_is_found(tmp_path: Path) -> None:
    assert RECORDS in failing(Suite, processor(Counting, routes=False), tmp_path)


class Pings(otus_core.BaseParser):
    """Reads ``PING 7``; tells the sum at the end."""

    tick_interval = 1.0

    def __init__(self, config: NoConfig) -> None:
        self.sum = 0

    def wire(self, context: Context) -> None:
        self.emit = context.emit

    def can_handle(self, packet: DecodedPacket) -> bool:
        return packet.dst_port == 9999

    def handle(self, packet: DecodedPacket) -> Any:
        word, _, number = packet.payload.partition(b" ")
        if word != b"PING" or not number.isdigit() or len(number) > 9:
            raise ParseError("no ping")
        self.sum += int(number)
        return Parsed({"number": int(number)}, {"ping.number": number.decode("ascii")})

    def finish(self, now: int) -> Iterable[Record] | None:
        yield Record("sum", {"sum": self.sum}, now)


class ForgetsTheWord(Pings):
    def handle(self, packet: DecodedPacket) -> Any:
        return Parsed({}, {"ping.number": packet.payload[5:].decode("ascii")})


class Crashes(Pings):
    def handle(self, packet: DecodedPacket) -> Any:
        return Parsed({}, {"ping.number": str(int(packet.payload[5:]))})


class TellsBadly(Pings):
    def finish(self, now: int) -> Iterable[Record] | None:
        yield Record("total", {}, now)


class Sums(Pings):
    total = [0]  # noqa: RUF012 - that is the fault

    def finish(self, now: int) -> Iterable[Record] | None:
        self.total[0] += self.sum
        yield Record("sum", {"sum": self.total[0]}, now)


class Sleeps(Pings):
    def can_handle(self, packet: DecodedPacket) -> bool:
        time.sleep(0.001)
        return super().can_handle(packet)


class Moody(Pings):
    turn = False

    def can_handle(self, packet: DecodedPacket) -> bool:
        self.turn = not self.turn
        return self.turn


class WantsItsFlows(Pings):
    def on_flow_end(self, key: FlowKey, context: Any) -> None:
        raise KeyError(key)


class LabelsAnything(Pings):
    def handle(self, packet: DecodedPacket) -> Any:
        super().handle(packet)
        return Parsed({}, {"number": "7"})


class Reuses(Pings):
    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self.labels: dict[str, str] = {}

    def handle(self, packet: DecodedPacket) -> Any:
        number = packet.payload[5:].decode("ascii", "replace")
        self.labels["ping.number"] = number or "-"
        return Parsed({}, self.labels)


PARSERS: dict[str, tuple[type[Pings], str]] = {
    "reads anything": (ForgetsTheWord, "test_mutations_do_no_harm"),
    "raises its own errors": (Crashes, "test_every_prefix_of_a_sample_does_no_harm"),
    "emits undeclared types": (TellsBadly, RECORDS),
    "holds something over": (Sums, "test_it_begins_anew_when_it_is_made_anew"),
    "is slow to say no": (Sleeps, "test_can_handle_is_pure_and_quick"),
    "says now yes, now no": (Moody, "test_can_handle_is_pure_and_quick"),
    "knows every flow": (WantsItsFlows, "test_flows_may_end_that_it_does_not_know"),
    "names labels badly": (LabelsAnything, "test_each_sample_gives_what_it_should"),
    "gives what it changes later": (Reuses, "test_kept_results_stay_as_they_are"),
}


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    folder = tmp_path / "samples"
    folder.mkdir()
    (folder / "one.bin").write_bytes(b"PING 7")
    (folder / "one.json").write_text('[{"ping.number": "7"}]')
    (folder / "two.bin").write_bytes(b"PING 1234")
    return folder


def found_in(component: type, samples: Path) -> set[str]:
    declaration = Parser(name="ping", factory=component, payload_types=("ping", "sum"), ports=(9999,), summary="Pings")
    return failing(ParserContract, declaration, samples.parent, samples=samples)


def test_a_good_parser_passes(samples: Path) -> None:
    assert found_in(Pings, samples) == set()


@pytest.mark.parametrize(("component", "expected"), PARSERS.values(), ids=PARSERS)
def test_each_rule_that_a_parser_breaks_is_found(component: type, expected: str, samples: Path) -> None:
    assert expected in found_in(component, samples)
