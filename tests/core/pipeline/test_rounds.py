"""What a processor routes before it finishes: round by round, with a bound, and its faults are its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from otus_core import Record
from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.model.flows import FlowRegistry
from otus_core.pipeline import turns
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.counters import Roster, counter_names
from otus_core.pipeline.loop import Pipeline
from otus_core.pipeline.slots import Outbox, ProcessorSlot

ROSTER = Roster((), ("asks",), {"r": ()}, routing=("processor:asks",))


class Asks:
    """Goes as many rounds as it is told."""

    def __init__(self, outbox: Outbox, rounds: Any) -> None:
        self.outbox = outbox
        self.given = rounds
        self.gone = 0

    def process(self, output: Any) -> Any:
        return True

    def before_finish(self, now: int) -> Any:
        return self.rounds() if self.given is not None else None

    def rounds(self) -> Iterator[Any]:
        for given in self.given:
            self.gone += 1
            yield given() if callable(given) else given


class Bench:
    """A pipeline with one processor that routes."""

    def __init__(self, rounds: Any) -> None:
        self.accounts = Accounts(counter_names(ROSTER, COUNTERS))
        self.buffer = SendBuffer(self.accounts, "r", 100, 1 << 20, True)
        self.errors: list[str] = []
        outbox = Outbox("processor asks", ("made",))
        self.asks = Asks(outbox, rounds)
        self.pipeline = Pipeline(
            accounts=self.accounts,
            decoder=Decoder(self.accounts, DecoderConfig()),
            flows=FlowRegistry(),
            parsers=[],
            processors=[ProcessorSlot(self.accounts, "asks", self.asks, False, 1, outbox=outbox)],
            buffers=[self.buffer],
            task_id="t",
            agent_id="a",
            pipeline_id=0,
            on_error=lambda kind, name, error: self.errors.append(f"{kind} {name}: {error}"),
            live=False,
        )

    def go(self) -> int:
        return sum(self.pipeline.rounds(0))


@pytest.mark.parametrize("rounds", [None, (), (None,), (None,) * 5])
def test_it_goes_as_many_rounds_as_it_wants(rounds: Any) -> None:
    bench = Bench(rounds)
    assert bench.go() == len(rounds or ())
    assert (bench.errors, bench.accounts["cut_short{processor:asks}"]) == ([], 0)


def test_what_it_emits_meanwhile_goes_on() -> None:
    bench = Bench((lambda: bench.asks.outbox.emit(Record("made", 7, 1)), None))
    rounds = bench.pipeline.rounds(0)
    assert next(rounds) is True
    assert [output.payload for output in bench.buffer.take(10)] == [7]
    assert list(rounds) == [True]


def test_it_has_so_many_rounds_and_no_more() -> None:
    bench = Bench([None] * 1000)
    assert bench.go() == turns.ROUNDS_MAX
    assert bench.asks.gone == turns.ROUNDS_MAX + 1
    assert bench.accounts["cut_short{processor:asks}"] == 1
    assert "has not ended in 256 rounds" in bench.errors[0]


def test_it_has_so_much_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "ROUNDS_WITHIN_S", 0.0)
    bench = Bench([None] * 1000)
    assert bench.go() <= 1
    assert bench.accounts["cut_short{processor:asks}"] == 1


def test_what_it_raises_ends_its_rounds_alone() -> None:
    bench = Bench((None, lambda: 1 / 0, None))
    assert bench.go() == 1
    assert (bench.asks.gone, bench.errors) == (2, ["processor asks: division by zero"])
    assert bench.accounts["cut_short{processor:asks}"] == 1


def test_a_round_gives_nothing() -> None:
    bench = Bench((None, Record("made", 7, 1)))
    assert bench.go() == 1
    assert bench.errors == ["processor asks: before_finish gave Record: each yield stands for a round alone"]
