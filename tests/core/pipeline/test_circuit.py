"""A reporter's circuit: how many failures open it, for how long, and what may be tried meanwhile."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otus_core.pipeline import circuit as module
from otus_core.pipeline.circuit import OPEN_S, PAUSE_S, Circuit, pause_before
from otus_core.pipeline.fates import Fates, fail_all

FAILED = fail_all(3, "auth")


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def fail(circuit: Circuit, times: int) -> None:
    for _ in range(times):
        circuit.begin()
        circuit.judge(FAILED)


def test_five_failures_in_a_row_open_it(clock: Clock) -> None:
    circuit = Circuit()
    fail(circuit, 4)
    assert (circuit.state, circuit.lets_through) == ("closed", True)
    fail(circuit, 1)
    assert (circuit.state, circuit.lets_through) == ("open", False)


@pytest.mark.parametrize("fates", [Fates(reported=1, failed={1: "x"})], ids=["something was taken"])
def test_success_begins_the_count_anew(clock: Clock, fates: Fates) -> None:
    circuit = Circuit()
    fail(circuit, 4)
    circuit.judge(fates)
    fail(circuit, 4)
    assert circuit.state == "closed"


def test_a_batch_of_which_nothing_could_be_sent_anyway_says_nothing(clock: Clock) -> None:
    circuit = Circuit()
    fail(circuit, 4)
    circuit.judge(Fates(lost={"bad": 3}))
    fail(circuit, 1)
    assert circuit.state == "open"


def test_half_open_it_lets_one_batch_at_a_time_through(clock: Clock) -> None:
    circuit = Circuit()
    fail(circuit, 5)
    clock.now += OPEN_S[0]
    assert (circuit.state, circuit.lets_through) == ("half_open", True)
    circuit.begin()
    assert (circuit.state, circuit.lets_through) == ("half_open", False)
    circuit.judge(Fates(lost={"bad": 3}))  # nothing is known yet: the next one may try
    assert circuit.lets_through
    circuit.begin()
    circuit.judge(FAILED)
    assert (circuit.state, circuit.lets_through) == ("open", False)
    clock.now += OPEN_S[1]
    circuit.begin()
    circuit.judge(Fates(reported=3))
    assert (circuit.state, circuit.lets_through) == ("closed", True)


def test_it_stays_open_longer_each_time_up_to_a_bound(clock: Clock) -> None:
    """Each pause is between half and all of a time that doubles: many nodes do not come at once, and none comes at
    once.
    """
    circuit = Circuit()
    fail(circuit, 4)
    for longest in (0.5, 1.0, 2.0, 4.0, 4.0, 4.0):
        fail(circuit, 1)
        begun = clock.now
        clock.now = begun + longest / 2 - 0.001
        assert circuit.state == "open"
        clock.now = begun + longest
        assert circuit.state == "half_open"


@pytest.mark.parametrize(
    ("attempt", "longest"), [(0, 0.1), (1, 0.2), (2, 0.4), (4, 1.6), (5, 2.0), (40, 2.0), (10**9, 2.0)]
)
def test_pauses_between_tries_double_up_to_a_bound(attempt: int, longest: float) -> None:
    drawn = [pause_before(attempt, PAUSE_S) for _ in range(200)]
    assert all(longest / 2 <= pause <= longest for pause in drawn)
    assert max(drawn) - min(drawn) > longest / 8
