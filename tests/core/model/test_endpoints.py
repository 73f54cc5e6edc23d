"""Endpoints of the flow registry: who announced where a packet goes to and comes from, in which order, until when."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otus_core import FlowContextRefused, FlowKey, FlowRegistry
from otus_core.testing import packets

SECOND = 1_000_000_000
UDP = 17
CANDIDATES = 16


def at(n: int) -> FlowKey:
    """Give one of a few endpoints."""
    return FlowKey.endpoint(f"192.0.2.{n}", 4000 + n, UDP)


def between(source: int, destination: int) -> FlowKey:
    return FlowKey(f"192.0.2.{source}", 4000 + source, f"192.0.2.{destination}", 4000 + destination, UDP)


def registry(capacity: int = 1000, now: int = 1000) -> FlowRegistry:
    flows = FlowRegistry(capacity)
    flows._move_clock(now * SECOND)
    return flows


def told(flows: FlowRegistry, source: int, destination: int) -> list[tuple[Any, int]]:
    return [(match.owner, match.score) for match in flows.find(between(source, destination))]


def test_a_packet_is_found_by_where_it_goes_whoever_sends_it() -> None:
    flows = registry()
    flows.announce([at(1)], {"call_id": "a"}, "a")
    (match,) = flows.find(between(9, 1))
    assert (match.owner, match.score, match.begun) == ("a", 2, 1000 * SECOND)
    assert (match.destination, match.source, match.context) == ({"call_id": "a"}, None, {"call_id": "a"})
    assert flows.find(between(9, 8)) == ()


def test_a_packet_is_found_by_where_it_comes_from() -> None:
    flows = registry()
    flows.announce([at(1)], "a's", "a")
    (match,) = flows.find(between(1, 9))
    assert (match.score, match.destination, match.source, match.context) == (1, None, "a's", "a's")


def test_both_ends_of_one_owner_win_over_one_end_of_another() -> None:
    flows = registry()
    flows.announce([at(1)], "caller", "a")
    flows.announce([at(2)], "callee", "a")
    flows._move_clock(1001 * SECOND)
    flows.announce([at(2)], "other", "later")
    (match,) = flows.find(between(1, 2))
    assert (match.owner, match.score, match.source, match.destination) == ("a", 3, "caller", "callee")


def test_two_owners_of_both_ends_are_both_told_the_newest_first() -> None:
    flows = registry()
    for owner in ("a", "b"):
        flows.announce([at(1), at(2)], owner, owner)
    assert told(flows, 1, 2) == [("b", 3), ("a", 3)]


def test_below_both_ends_the_owner_that_began_last_is_told_alone() -> None:
    flows = registry()
    flows.announce([at(1)], "1", "a")
    flows._move_clock(1001 * SECOND)
    flows.announce([at(1)], "2", "b")
    flows._move_clock(1002 * SECOND)
    flows.announce([at(1)], "3", "a")  # began first, said something last
    assert told(flows, 9, 1) == [("b", 2)]
    assert [(match.owner, match.context) for match in flows.candidates(between(9, 1))] == [("b", "2"), ("a", "3")]


def test_candidates_come_by_score_then_by_their_beginning() -> None:
    flows = registry()
    for now, (owner, ends) in enumerate({"both": (1, 2), "to": (2,), "by": (1,), "to later": (2,)}.items(), 1001):
        flows._move_clock(now * SECOND)
        flows.announce([at(n) for n in ends], owner, owner)
    assert [(match.owner, match.score) for match in flows.candidates(between(1, 2))] == [
        ("both", 3),
        ("to later", 2),
        ("to", 2),
        ("by", 1),
    ]


@pytest.mark.parametrize("version", [4, 6])
def test_a_decoded_packet_is_asked_for_as_it_is(version: int) -> None:
    ip = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}[version]
    flows = registry()
    flows.announce([FlowKey.endpoint(ip[1], 4002, UDP)], "there", "a")
    packet = packets.decode(packets.udp(b"x", src=ip[0], src_port=1, dst=ip[1], dst_port=4002))
    assert [match.context for match in flows.find(packet)] == ["there"]
    other = packets.decode(packets.udp(b"x", src=ip[0], src_port=1, dst=ip[1], dst_port=4003))
    assert flows.find(other) == ()


def test_an_endpoint_lives_until_half_a_minute_after_its_owner() -> None:
    flows = registry()
    flows.announce([at(1), at(2)], "x", "a")
    flows._move_clock(1010 * SECOND)
    flows.end("a")
    flows._move_clock(1040 * SECOND - 1)
    assert told(flows, 1, 2) == [("a", 3)]
    flows._move_clock(1040 * SECOND)
    assert told(flows, 1, 2) == []
    assert flows.endpoint_count == 0


def test_what_is_announced_anew_after_the_end_lives_on() -> None:
    flows = registry()
    flows.announce([at(1), at(2)], "x", "a")
    flows.end("a")
    flows.announce([at(2)], "y", "a")
    flows._move_clock(1100 * SECOND)
    assert told(flows, 1, 2) == [("a", 2)]


def test_an_endpoint_ends_with_its_ttl_of_packet_time() -> None:
    flows = registry()
    flows.announce([at(1)], "x", "a", ttl=60)
    flows._move_clock(1059 * SECOND)
    assert told(flows, 9, 1) == [("a", 2)]
    flows._move_clock(1060 * SECOND)
    assert told(flows, 9, 1) == []
    flows._move_clock(1100 * SECOND)
    assert (flows.endpoint_count, flows.expired) == (0, 1)


def test_the_life_of_what_is_announced_before_the_first_packet_begins_with_it() -> None:
    flows, sibling = FlowRegistry(), FlowRegistry()
    flows._on_change = sibling._apply
    flows.announce([at(1)], "early", "a", ttl=60)
    for one in (flows, sibling):
        one._move_clock(2**60)
        one._move_clock(2**60 + 59 * SECOND)
        assert [(match.owner, match.begun) for match in one.find(between(9, 1))] == [("a", 2**60)]
        one._move_clock(2**60 + 60 * SECOND)
        assert told(one, 9, 1) == []


def test_changes_reach_a_sibling() -> None:
    ours, sibling = registry(now=1000), registry(now=1005)
    ours._on_change = sibling._apply
    ours.announce([at(1), at(2)], {"call_id": "a"}, "a")
    (match,) = sibling.find(between(1, 2))
    assert (match.owner, match.score, match.begun) == ("a", 3, 1000 * SECOND)
    ours.end("a", linger=10)
    sibling._move_clock(1009 * SECOND)
    assert told(sibling, 1, 2) == [("a", 3)]
    sibling._move_clock(1010 * SECOND)
    assert told(sibling, 1, 2) == []


def test_what_is_local_stays_here() -> None:
    ours, sibling = registry(), registry()
    ours._on_change = sibling._apply
    ours.announce([at(1)], "x", "a", 60, True)
    ours.announce([at(2)], "x", "b")
    ours.end("b", 0, True)
    assert (ours.endpoint_count, sibling.endpoint_count) == (1, 1)


def test_one_endpoint_has_so_many_candidates_and_the_oldest_goes() -> None:
    flows = registry()
    for n in range(100):
        flows.announce([at(1)], n, n)
    assert [match.owner for match in flows.candidates(between(9, 1))] == [*range(99, 99 - CANDIDATES, -1)]
    assert (flows.endpoint_count, flows.evicted) == (CANDIDATES, 100 - CANDIDATES)


def test_what_has_ended_goes_first_when_room_is_needed_and_what_is_in_use_last() -> None:
    flows = registry(capacity=3)
    for n in (1, 2, 3):
        flows.announce([at(n)], n, n)
    flows.end(2)
    flows.announce([at(4)], 4, 4)
    assert [bool(told(flows, 9, n)) for n in (1, 2, 3, 4)] == [True, False, True, True]
    flows = registry(capacity=3)
    for n in (1, 2, 3):
        flows.announce([at(n)], n, n)
    assert told(flows, 9, 1)
    flows.announce([at(4)], 4, 4)
    assert [bool(told(flows, 9, n)) for n in (1, 2, 3, 4)] == [True, False, True, True]
    assert flows.evicted == 1


def test_endpoints_are_bounded_in_bytes() -> None:
    flows = registry(capacity=100)
    for n in range(100):
        flows.announce([at(n)], "x" * 4000, n)
    assert 20 <= flows.endpoint_count <= 30
    assert flows.evicted == 100 - flows.endpoint_count
    assert told(flows, 9, 99)


def test_flows_are_bounded_in_bytes() -> None:
    flows = registry(capacity=100)
    for n in range(100):
        flows.register(between(1, n), "x" * 4000)
    assert 20 <= len(flows) <= 30
    for n in range(100):
        flows.register(between(1, n), "x")
    assert len(flows) == 100


@pytest.mark.parametrize("context", ["x" * 4097, [1], None, 1j], ids=["large", "list", "None", "complex"])
def test_a_context_that_cannot_be_is_refused(context: object) -> None:
    flows = registry()
    with pytest.raises(FlowContextRefused):
        flows.announce([at(1)], context, "a")
    with pytest.raises(FlowContextRefused):
        flows.announce([at(1)], "a", context)
    assert flows.endpoint_count == 0


def test_a_key_with_a_source_is_no_endpoint() -> None:
    with pytest.raises(ValueError, match=r"FlowKey\.endpoint"):
        registry().announce([between(1, 2)], "x", "a")


def test_an_endpoint_is_a_key_that_says_so() -> None:
    assert repr(at(1)) == "FlowKey.endpoint('192.0.2.1', 4001, 17)"
    assert at(1) == FlowKey("0.0.0.0", 0, "192.0.2.1", 4001, UDP)


def test_whoever_found_something_hears_of_its_end_once() -> None:
    flows = registry(capacity=100)
    assert flows._take_ends() == []
    flows.announce([at(1)], "1", "ended")
    flows.announce([at(2)], "2", "replaced")
    flows.announce([at(3)], "3", "expired", ttl=40)
    flows.announce([at(4)], "4", "not found")
    flows.announce([at(5)], "5", "said again")
    flows.register(between(6, 7), "6")
    for n in (1, 2, 3, 5):
        assert told(flows, 9, n)
    assert flows.get(between(6, 7)) == "6"
    flows.announce([at(2)], "2 anew", "replaced")
    assert flows._take_ends() == [(at(2), "2")]
    flows.announce([at(5)], "5", "said again")
    flows.remove(between(6, 7))
    assert flows._take_ends() == [(between(6, 7), "6")]
    for owner in ("ended", "not found", "said again"):
        flows.end(owner)
    flows._move_clock(1035 * SECOND)
    assert flows._take_ends() == [(at(1), "1"), (at(5), "5")]
    flows._move_clock(1080 * SECOND)
    assert flows._take_ends() == [(at(3), "3")]
    assert flows._take_ends() == []


def test_whoever_wants_to_hears_what_is_announced_here_and_by_siblings() -> None:
    flows, sibling = registry(), registry()
    flows.announce([at(1)], "before", "a")
    assert flows._take_news() == []
    assert sibling._take_news() == []
    flows._on_change = sibling._apply
    flows.announce([at(1), at(2)], {"call_id": "x"}, b"a")
    flows.announce((), {"news": "x"}, b"a")
    for one in (flows, sibling):
        assert one._take_news() == [(b"a", (at(1), at(2)), {"call_id": "x"}), (b"a", (), {"news": "x"})]
        assert one._take_news() == []
    assert (flows.endpoint_count, sibling.endpoint_count) == (3, 2)


def test_an_eviction_is_an_end() -> None:
    flows = registry(capacity=2)
    flows._take_ends()
    for n in range(12):
        flows.announce([at(n)], str(n), n)
        assert told(flows, 9, n)
    assert flows._take_ends() == [(at(n), str(n)) for n in range(10)]


@attrs.define
class Told:
    """What the oracle remembers of one owner at one endpoint."""

    owner: int
    context: int
    expires: int
    begun: int


class Oracle:
    """The rules, word by word, over one list."""

    def __init__(self) -> None:
        self.all: dict[tuple[int, int], Told] = {}
        self.begun: dict[int, int] = {}

    def announce(self, end: int, owner: int, context: int, now: int) -> None:
        if not any(key[1] == owner for key in self.all):
            self.begun[owner] = now
        self.all.pop((end, owner), None)
        self.all[end, owner] = Told(owner, context, now + 100, self.begun[owner])
        here = [key for key in self.all if key[0] == end]
        if len(here) > CANDIDATES:
            del self.all[here[0]]

    def end(self, owner: int, now: int) -> None:
        for (_, whose), entry in self.all.items():
            if whose == owner:
                entry.expires = min(entry.expires, now + 30)

    def candidates(self, source: int, destination: int) -> list[tuple[int, int]]:
        to = {owner for end, owner in self.all if end == destination}
        by = {owner for end, owner in self.all if end == source}
        order = {key: i for i, key in enumerate(self.all)}
        both = sorted(to & by, key=lambda o: -order[destination, o])
        only_to = sorted(to - by, key=lambda o: (-self.begun[o], -order[destination, o]))
        only_by = sorted(by - to, key=lambda o: (-self.begun[o], -order[source, o]))
        return [*((o, 3) for o in both), *((o, 2) for o in only_to), *((o, 1) for o in only_by)]


STEP = st.tuples(st.sampled_from("aaaaee+f"), st.integers(0, 5), st.integers(0, 20), st.integers(0, 5))


@settings(max_examples=300)
@given(st.lists(STEP, max_size=120))
def test_the_rules_hold_whatever_happens(steps: list[tuple[str, int, int, int]]) -> None:
    flows, oracle, now = registry(now=1), Oracle(), 1
    for step, end, owner, other in steps:
        if step == "a":
            flows.announce([at(end)], other, owner, ttl=100)
            oracle.announce(end, owner, other, now)
        elif step == "e":
            flows.end(owner)
            oracle.end(owner, now)
        elif step == "+":
            now += 3 * other
            flows._move_clock(now * SECOND)
            oracle.all = {key: entry for key, entry in oracle.all.items() if entry.expires > now}
        else:
            expected = oracle.candidates(end, other)
            found = flows.candidates(between(end, other))
            assert [(match.owner, match.score) for match in found] == expected
            for match in found:
                assert match.destination == (oracle.all[other, match.owner].context if match.score & 2 else None)
            best = [one for one in expected if one[1] == 3] or expected[:1]
            assert told(flows, end, other) == best


def test_the_generation_tells_when_to_look_again() -> None:
    flows = FlowRegistry()
    flows._move_clock(1000 * SECOND)
    seen = [flows.generation]

    def changed() -> bool:
        seen.append(flows.generation)
        return seen[-1] > seen[-2]

    flows.find(between(1, 2))
    assert not changed()
    flows.announce([at(1)], "1", owner="call", ttl=30.0)
    assert changed()
    assert flows.find(between(2, 1)) and not changed()
    flows._move_clock(1001 * SECOND)
    assert not changed(), "nothing has ended"
    flows._move_clock(1031 * SECOND)
    assert changed() and not flows.find(between(2, 1))
    flows.register(between(3, 4), "3")
    assert changed()
    flows.remove(between(3, 4))
    assert changed()
    flows._apply(("@", at(5).packed(), "5", 60.0, 0, "other"))
    assert changed() and flows.find(between(6, 5))
