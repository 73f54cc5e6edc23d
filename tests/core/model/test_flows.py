"""Flow keys and the registry: bounded, timed by packets, last writer wins."""

from __future__ import annotations

import pickle
import struct
import sys
from collections import OrderedDict
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otus_core import FLOW_KEY_FORMAT, FlowContextRefused, FlowKey, FlowRegistry

SECOND = 1_000_000_000


def key(n: int = 0) -> FlowKey:
    return FlowKey("192.0.2.1", n, "192.0.2.2", 5060, 17)


@pytest.mark.parametrize("version", ["192.0.2.7", "2001:db8::7"])
def test_a_key_is_the_same_however_its_addresses_are_given(version: str) -> None:
    address = ip_address(version)
    keys = {FlowKey(form, 1, form, 2, 17) for form in (version, address, address.packed)}
    assert len(keys) == 1
    assert next(iter(keys)).src_ip == address


def test_a_key_has_a_direction() -> None:
    assert key().reversed() != key()
    assert key().reversed().reversed() == key()
    assert pickle.loads(pickle.dumps(key(7))) == key(7)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("192.0.2.1", 1, "2001:db8::1", 2, 17), "one IP version"),
        (("192.0.2.1", 70000, "192.0.2.2", 2, 17), "out of range"),
        ((b"\x01\x02", 1, "192.0.2.2", 2, 17), "4 or 16 bytes"),
    ],
    ids=["mixed versions", "port", "packed length"],
)
def test_a_key_that_cannot_be_is_refused(arguments: tuple[object, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        FlowKey(*arguments)  # type: ignore[arg-type]


def test_an_entry_ends_with_its_ttl_of_packet_time() -> None:
    flows = FlowRegistry()
    flows._move_clock(1000 * SECOND)
    flows.register(key(), "call", ttl=60)
    flows._move_clock(1059 * SECOND)
    assert flows.get(key()) == "call"
    flows._move_clock(1060 * SECOND)
    assert flows.get(key()) is None
    assert (len(flows), flows.expired) == (0, 1)


def test_an_entry_ends_at_the_tick_of_its_end() -> None:
    """Whether or not what has expired was looked for just before, as at 109 s here."""
    flows = FlowRegistry()
    flows._move_clock(100 * SECOND)
    flows.register(key(1), "short", ttl=9)
    flows.register(key(2), "long", ttl=10)
    flows._move_clock(109 * SECOND)
    assert len(flows) == 1
    flows._move_clock(110 * SECOND - 1)
    assert flows.get(key(2)) == "long"
    flows._move_clock(110 * SECOND)
    assert len(flows) == 1
    assert (flows.get(key(2)), len(flows)) == (None, 0)


def test_a_flow_that_is_asked_for_outlives_one_that_is_not() -> None:
    flows = FlowRegistry(2)
    flows.register(key(1), "asked for")
    flows.register(key(2), "not asked for")
    assert flows.get(key(1)) == "asked for"
    flows.register(key(3), "new")
    assert [key(n) in flows for n in (1, 2, 3)] == [True, False, True]


def test_what_expired_goes_without_being_asked_for() -> None:
    flows = FlowRegistry()
    flows._move_clock(SECOND)
    for n in range(100):
        flows.register(key(n), n, ttl=10)
    flows.register(key(1000), "long", ttl=48 * 3600)
    flows._move_clock(200 * SECOND)
    assert len(flows) == 1
    flows._move_clock(47 * 3600 * SECOND)
    assert flows.get(key(1000)) == "long"
    flows._move_clock(100 * 3600 * SECOND)
    assert len(flows) == 0


def test_the_clock_does_not_go_back() -> None:
    flows = FlowRegistry()
    flows._move_clock(100 * SECOND)
    flows.register(key(), 1, ttl=10)
    flows._move_clock(SECOND)
    flows._move_clock(111 * SECOND)
    assert flows.get(key()) is None


def test_the_life_of_what_is_registered_before_the_first_packet_begins_with_it() -> None:
    flows, sibling = FlowRegistry(), FlowRegistry()
    flows._on_change = sibling._apply
    flows.register(key(), "early", ttl=60)
    for registry in (flows, sibling):
        registry._move_clock(2**60)
        registry._move_clock(2**60 + 59 * SECOND)
        assert registry.get(key()) == "early"
        registry._move_clock(2**60 + 60 * SECOND)
        assert registry.get(key()) is None


def test_a_sibling_counts_the_life_of_a_flow_from_the_packet_that_announced_it() -> None:
    ours, late, ahead = FlowRegistry(), FlowRegistry(), FlowRegistry()
    ahead._move_clock(1050 * SECOND)
    ours._move_clock(1000 * SECOND)
    for sibling in (late, ahead):
        ours._on_change = sibling._apply
        ours.register(key(), "call", ttl=60)
        sibling._move_clock(1059 * SECOND)
        assert sibling.get(key()) == "call"
        sibling._move_clock(1060 * SECOND)
        assert sibling.get(key()) is None


def test_a_time_at_the_end_of_time_expires_nothing() -> None:
    flows = FlowRegistry()
    flows._move_clock(2**63 - 1)
    flows.register(key(), "call", ttl=1e9)
    flows.register(key(1), "call", ttl=60)
    assert len(flows) == 2


NESTED: object = ()
for _ in range(6):
    NESTED = (NESTED,)


@pytest.mark.parametrize(
    "context",
    ["x" * 4097, b"x" * 4097, 1 << 40000, {"k": "x" * 4096}, tuple(range(5000)), [1], None, 1j, {1: object()}, NESTED],
    ids=["text", "bytes", "int", "dict", "tuple", "list", "None", "complex", "object", "deep"],
)
def test_a_context_that_is_too_large_or_of_a_wrong_type_is_refused(context: object) -> None:
    flows = FlowRegistry()
    with pytest.raises(FlowContextRefused):
        flows.register(key(), context)
    assert len(flows) == 0


def test_changes_reach_a_sibling() -> None:
    ours, sibling = FlowRegistry(), FlowRegistry()
    ours._on_change = sibling._apply
    ours.register_many([key(1), key(1).reversed()], {"call_id": "a"}, 60)
    assert sibling.get(key(1).reversed()) == {"call_id": "a"}
    ours.remove(key(1))
    assert key(1) not in sibling
    assert len(sibling) == 1


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(["register", "get", "remove", "advance"]), st.integers(0, 12)), max_size=80),
    st.integers(1, 6),
)
def test_the_registry_is_an_lru_of_its_capacity(steps: list[tuple[str, int]], capacity: int) -> None:
    """An OrderedDict with expiry times is the oracle."""
    flows = FlowRegistry(capacity)
    oracle: OrderedDict[int, int] = OrderedDict()
    now = 1
    flows._move_clock(now * SECOND)
    for step, n in steps:
        if step == "register":
            flows.register(key(n), n, ttl=100)
            oracle.pop(n, None)
            if len(oracle) >= capacity:
                oracle.popitem(last=False)
            oracle[n] = now + 100
        elif step == "get":
            alive = oracle.get(n, 0) > now
            assert flows.get(key(n)) == (n if alive else None)
            if alive:
                oracle.move_to_end(n)
            else:
                oracle.pop(n, None)
        elif step == "remove":
            flows.remove(key(n))
            oracle.pop(n, None)
        else:
            now += 40 * n
            flows._move_clock(now * SECOND)
            if now // 32:
                expired = [k for k, until in oracle.items() if until // 32 < now // 32 and until <= now]
                for k in expired:
                    del oracle[k]
    assert len(flows) <= capacity
    assert {n for n in range(13) if key(n) in flows} == {n for n, until in oracle.items() if until > now}


def test_many_keys_travel_packed() -> None:
    flows, sibling = FlowRegistry(), FlowRegistry()
    flows._on_change = sibling._apply
    packed = key(1).packed() + key(2).packed()
    assert struct.unpack(FLOW_KEY_FORMAT, key(1).packed())[2:] == (1, 5060, 4, 17, 0)
    flows.register_many(packed, "call", 60)
    assert (flows.get(key(1)), sibling.get(key(2))) == ("call", "call")
    flows.remove_many(packed, True)
    assert (len(flows), len(sibling)) == (0, 2)


@pytest.mark.parametrize("keys", [b"x", key().packed()[:-1]], ids=["short", "cut"])
def test_packed_keys_of_an_odd_size_are_refused(keys: bytes) -> None:
    with pytest.raises(ValueError, match="40 bytes each"):
        FlowRegistry().register_many(keys, 1)


def test_keys_that_are_none_are_refused() -> None:
    flows = FlowRegistry()
    with pytest.raises(TypeError):
        flows.register_many([None], 1)  # type: ignore[list-item]
    with pytest.raises(TypeError):
        flows.register_many([key(1), "x"], 1)  # type: ignore[list-item]
    assert len(flows) == 0


def test_contexts_are_let_go_of_with_their_flows() -> None:
    context = ("call" * 3,)
    before = sys.getrefcount(context)
    flows = FlowRegistry(capacity=1000)
    for n in range(3000):
        flows.register(key(n), context)
    assert sys.getrefcount(context) == before + 1000
    flows.remove(key(2999))
    flows.register(key(2998), "other")
    assert sys.getrefcount(context) == before + 998
    del flows
    assert sys.getrefcount(context) == before


def test_flows_are_found_again_after_the_table_has_grown() -> None:
    flows = FlowRegistry()
    for n in range(10_000):
        flows.register(key(n), n)
    for n in range(0, 10_000, 3):
        flows.remove(key(n))
    assert [flows.get(key(n)) for n in range(10_000)] == [n if n % 3 else None for n in range(10_000)]
