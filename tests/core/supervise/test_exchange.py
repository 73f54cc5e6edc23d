"""What workers tell each other goes through their supervisor, which takes nothing that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from otus_core.process.messages import Arrived, Met, Publish, PublishLost, Route, Routed, RouteLost
from otus_core.supervise import exchange as module
from otus_core.supervise.exchange import Exchange


class Slot:
    """One worker, which reads what it is told unless it is ``full``."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.alive = True
        self.process: object = self
        self.state = "running"
        self.full = False
        self.told: list[Any] = []

    def send(self, message: Any, *, needed: bool = False) -> bool:
        if needed or not self.full:
            self.told.append(message)
        return needed or not self.full


@pytest.fixture
def slots() -> list[Any]:
    return [Slot(shard) for shard in range(3)]


def test_each_message_goes_to_those_whom_it_concerns(slots: list[Any]) -> None:
    exchange = Exchange(slots)
    exchange.carry(slots[0], Publish(3, b"flows"))
    exchange.carry(slots[0], Route(2, {"processor:calls": 1}, b"calls"))
    assert [slot.told for slot in slots] == [[], [Publish(3, b"flows")], [Publish(3, b"flows"), Routed(b"calls")]]
    slots[2].full = True
    exchange.carry(slots[0], Route(2, {"processor:calls": 5}, b"calls"))
    assert slots[0].told == [RouteLost({"processor:calls": 5})]


def test_what_a_worker_that_does_not_read_was_to_hear_is_told_to_whoever_said_it(slots: list[Any]) -> None:
    slots[1].full = slots[2].full = True
    Exchange(slots).carry(slots[0], Publish(3, b"flows"))
    assert slots[0].told == [PublishLost(6)]


def test_a_worker_that_is_gone_misses_nothing(slots: list[Any]) -> None:
    slots[2].process, slots[2].full = None, True
    Exchange(slots).carry(slots[0], Publish(3, b"flows"))
    assert [slot.told for slot in slots] == [[], [Publish(3, b"flows")], []]


def test_what_is_routed_to_a_worker_that_is_being_started_is_lost_and_said_to_be(slots: list[Any]) -> None:
    slots[2].state = "starting"
    Exchange(slots).carry(slots[0], Route(2, {"processor:calls": 5}, b"calls"))
    assert (slots[2].told, slots[0].told) == ([], [RouteLost({"processor:calls": 5})])


def test_all_that_are_there_go_on_together(slots: list[Any]) -> None:
    exchange = Exchange(slots)
    for slot in slots[:2]:
        exchange.carry(slot, Arrived("calls", more=False))
    assert [slot.told for slot in slots] == [[], [], []]
    slots[2].alive = False
    exchange.let_go_on()
    assert [slot.told for slot in slots[:2]] == [[Met("calls", more=False)]] * 2


def test_one_that_wants_another_stage_is_enough(slots: list[Any]) -> None:
    exchange = Exchange(slots)
    for slot, more in zip(slots, (False, True, False), strict=True):
        exchange.carry(slot, Arrived("calls 0", more))
    for slot in slots:
        exchange.carry(slot, Arrived("calls 1", more=False))
    assert [slot.told for slot in slots] == [[Met("calls 0", more=True), Met("calls 1", more=False)]] * 3


def test_a_worker_that_has_much_to_read_hears_that_it_may_go_on(slots: list[Any]) -> None:
    """What was routed to it may have filled its channel; what it is not told it would wait for."""
    slots[0].full = True
    exchange = Exchange(slots)
    for slot in slots:
        exchange.carry(slot, Arrived("calls", more=False))
    assert slots[0].told == [Met("calls", more=False)]


@pytest.mark.parametrize("owner", [-1, 3])
def test_a_worker_that_does_not_exist_gets_nothing(slots: list[Any], owner: int) -> None:
    with pytest.raises(LookupError):
        Exchange(slots).carry(slots[0], Route(owner, {}, b""))
    assert not any(slot.told for slot in slots)


def test_stages_cannot_be_made_up_without_end(slots: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STAGES_MAX", 10)
    exchange = Exchange(slots)
    for n in range(10):
        exchange.carry(slots[0], Arrived(str(n), more=False))
    with pytest.raises(ValueError, match="stages"):
        exchange.carry(slots[0], Arrived("one more", more=False))
    exchange.carry(slots[1], Arrived("0", more=False))
