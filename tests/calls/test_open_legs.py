"""Calls that are open at the end are shown to whoever looks for legs: by each worker, a few at a time."""

from __future__ import annotations

from typing import Any

import pytest

from otus_calls import desk
from tests.calls.bench import Bench, sdp

CALLER, SERVER, CALLEE = ("192.0.2.1", 5060), ("192.0.2.2", 5060), ("192.0.2.3", 5060)


def conversation(bench: Bench, n: int, *, answered: bool = True) -> None:
    """Two calls that a B2BUA made of one; the users and the moment say so."""
    users = (f"caller-{n}", f"called-{n}")
    for side, way in (("in", (CALLER, SERVER)), ("out", (SERVER, CALLEE))):
        same: dict[str, Any] = {"call": f"{side}-{n}", "users": users, "branch": f"z9hG4bK{side}{n}", "after": 0.001}
        bench.send("INVITE sip:bob@example.com", way=way, body=sdp(way[0][0], 4000 + n), **same)
        if answered:
            bench.send("SIP/2.0 200 OK", way=way[::-1], tags=("f1", "t1"), body=sdp(way[1][0], 4000 + n), **same)


def found(bench: Bench) -> dict[str, Any]:
    return {call["call_id"]: call["legs"] for call in bench.finish()}


def linked(legs: dict[str, Any]) -> set[tuple[str, str]]:
    return {(call, one["call_id"]) for call, others in legs.items() for one in others}


@pytest.mark.parametrize("quiet", [0.0, 1.0, 30.0])
def test_the_number_of_workers_does_not_matter(quiet: float) -> None:
    """Also where some have been shown before."""
    told = []
    for workers in (1, 2, 3):
        bench = Bench(workers)
        for n in range(10):
            conversation(bench, n)
            bench.tick(quiet)
        told.append(found(bench))
    assert linked(told[0]) == {pair for n in range(10) for pair in ((f"in-{n}", f"out-{n}"), (f"out-{n}", f"in-{n}"))}
    assert told[1] == told[2] == told[0]


def test_what_is_known_is_not_shown_again() -> None:
    bench = Bench(2)
    for n in range(20):
        conversation(bench, n)
    for _ in range(5):
        bench.tick(1.0)
    assert [list(one.before_finish(0)) for one in bench.team] == [[], []]


def test_they_are_shown_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "SHOWN_A_ROUND", 4)
    bench = Bench(2)
    for n in range(10):
        conversation(bench, n)
    rounds = [len(list(one.before_finish(0))) for one in bench.team]
    assert [-(-one.calls // 4) for one in bench.team] == rounds and sum(rounds) >= 5
    assert len(linked(found(bench))) == 20


@pytest.mark.parametrize(("bound", "value"), [("SHOWN_LAST_MAX", 4), ("SHOW_WITHIN_S", -1.0)])
def test_those_that_there_is_no_room_or_time_for_are_counted(
    monkeypatch: pytest.MonkeyPatch, bound: str, value: float
) -> None:
    monkeypatch.setattr(desk, "SHOWN_A_ROUND", 2)
    monkeypatch.setattr(desk, bound, value)
    bench = Bench(2)
    for n in range(10):
        conversation(bench, n)
    shown = 4 * len(bench.team) if bound == "SHOWN_LAST_MAX" else 0
    legs = found(bench)
    assert bench.counted["legs_not_compared"] == len(legs) - shown == 20 - shown
