"""Calls that are open at the end are shown to whoever looks for legs: by each worker, a few at a time."""

from __future__ import annotations

from typing import Any

import pytest

from otus_calls import desk
from otus_core import OutputPacket
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


class Heard:
    """What the parser of RTP tells of a stream."""

    def __init__(self, call: str, port: int) -> None:
        fixed = {"ssrc": f"{port}", "first": "2023-11-14T22:13:20Z", "loss_pct": 0.0, "mos": None, "ended": "finish"}
        self.facts = {**fixed, "call_id": call}


def heard(bench: Bench, call: str, to: tuple[str, int]) -> None:
    """A stream to this address belongs to a call."""
    ends = {"src_ip": "198.51.100.1", "src_port": 9, "dst_ip": to[0], "dst_port": to[1]}
    bench.give(OutputPacket(payload_type="stream", payload=Heard(call, to[1]), **ends))


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


@pytest.mark.parametrize("quiet", [0.0, 1.0])
def test_who_sends_media_in_the_other_leg_is_told(quiet: float) -> None:
    """Streams are told of when the capture ends: the parser of RTP finishes first."""
    told = []
    for workers in (1, 2, 3):
        bench = Bench(workers, media=True)
        for n in range(10):
            conversation(bench, n)
            bench.tick(quiet)
        for n in range(10):
            heard(bench, f"in-{n}", (SERVER[0], 4000 + n))
            heard(bench, f"out-{n}", (SERVER[0], 4000 + n))
        told.append(found(bench))
    assert {call: [one["media"] for one in legs] for call, legs in told[0].items()} == {
        f"{side}-{n}": [[sender]] for side, sender in (("in", "callee"), ("out", "caller")) for n in range(10)
    }
    assert told[1] == told[2] == told[0]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_who_sends_media_is_told_of_a_leg_that_was_shown_before_they_came(workers: int) -> None:
    """One call has been quiet for long enough to be shown, the other has not."""
    bench = Bench(workers, media=True)
    for n in range(10):
        conversation(bench, n)
    bench.at += 1.9
    for n in range(10):
        bench.answer(200, call=f"in-{n}", way=(SERVER, CALLER), branch=f"z9hG4bKin{n}", after=0.0)
    bench.tick(0.5)
    for n in range(10):
        heard(bench, f"out-{n}", (SERVER[0], 4000 + n))
    legs = found(bench)
    assert [[one["media"] for one in legs[f"in-{n}"]] for n in range(10)] == [[["callee"]]] * 10


@pytest.mark.parametrize("workers", [1, 2])
def test_media_of_one_leg_count_in_the_other(workers: int) -> None:
    """A capture that sees the caller in one leg and the callee in the other has heard both."""
    bench = Bench(workers, media=True)
    conversation(bench, 0)
    bench.at += 5.0
    for side, way in (("in", (CALLER, SERVER)), ("out", (SERVER, CALLEE))):
        ends: dict[str, Any] = {"way": way, "tags": ("f1", "t1"), "branch": "b2", "after": 0.01}
        bench.send("BYE sip:bob@example.com", cseq="2 BYE", call=f"{side}-0", **ends)
        heard(bench, f"{side}-0", (SERVER[0], 4000))
    calls = bench.finish()
    assert [[one["by"] for one in call["media"]] for call in sorted(calls, key=lambda call: call["call_id"])] == [
        ["caller"],
        ["callee"],
    ]
    assert not any(flag["flag"].startswith("one_way") for call in calls for flag in call["flags"])


def test_what_is_known_is_not_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(2)
    for n in range(20):
        conversation(bench, n)
    for _ in range(5):
        bench.tick(1.0)
    monkeypatch.setattr(desk, "card_of", lambda *_: pytest.fail("it is shown"))
    assert len(linked(found(bench))) == 40


def test_they_are_shown_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "SHOWN_A_ROUND", 4)
    bench = Bench(2)
    for n in range(10):
        conversation(bench, n)
    rounds = [len(list(one.before_finish(0))) for one in bench.team]
    assert [-(-one.calls // 4) + 2 for one in bench.team] == rounds and sum(rounds) >= 5
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
