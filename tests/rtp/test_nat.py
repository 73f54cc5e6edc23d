"""Parties behind NAT: their streams find their call by where the parties signal from, and by nothing less."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rtp.bench import CALLED, MS, SECOND, Bench, rtp

NAT_A, NAT_B = "203.0.113.1", "203.0.113.2"
PRIVATE_A, PRIVATE_B = ("192.168.1.10", 4000), ("10.0.0.20", 5000)
CODECS = {0: "PCMU/8000", 101: "telephone-event/8000"}


def party(
    bench: Bench, tag: str, end: tuple[str, int], signals: str, to: str, call: str = "c1", **context: Any
) -> None:
    """Have a party announce where it listens, from another address."""
    bench.announce(call, tag, end, **{"codecs": CODECS, "signalling": (signals, 5060, to, 5060), "line": 0, **context})


def both_behind_nat(bench: Bench, call: str = "c1", **context: Any) -> None:
    party(bench, f"a{call}", PRIVATE_A, NAT_A, NAT_B, call, **context)
    party(bench, f"b{call}", PRIVATE_B, NAT_B, NAT_A, call, **context)


def send(bench: Bench, src: tuple[str, int], dst: tuple[str, int], count: int = 10, **how: Any) -> int:
    """Send a stream; gives how many of its packets were taken."""
    begun = how.pop("begun", 0)
    taken = [bench.feed(rtp(n, n * 160, **how), begun + n * 20 * MS, src, dst) for n in range(count)]
    return sum(one is not None for one in taken)


def test_a_stream_between_two_nats_is_latched_on_with_all_its_packets() -> None:
    bench = Bench()
    both_behind_nat(bench)
    assert send(bench, (NAT_A, 41000), (NAT_B, 42000)) == 5, "the sixth packet in a row is evidence enough"
    facts = bench.one()
    assert (facts["packets"], facts["call_id"], facts["match"], facts["nat"]) == (10, "c1", "nat", True)
    assert (facts["codec"], facts["receiver_tag"]) == ("PCMU", "bc1")
    assert bench.records[0].labels["rtp.nat"] == "true"


def test_the_other_direction_is_then_known_from_its_first_packet() -> None:
    bench = Bench()
    both_behind_nat(bench)
    send(bench, (NAT_A, 41000), (NAT_B, 42000))
    assert send(bench, (NAT_B, 42000), (NAT_A, 41000), ssrc=9, begun=SECOND) == 10
    assert [one["match"] for one in bench.end()] == ["nat", "nat"]


@pytest.mark.parametrize("outward", [True, False])
def test_one_party_behind_nat_is_marked(outward: bool) -> None:
    bench = Bench()
    party(bench, "a", PRIVATE_A, NAT_A, CALLED[0])
    party(bench, "b", CALLED, CALLED[0], NAT_A)
    src, dst = ((NAT_A, 41000), CALLED) if outward else (CALLED, (NAT_A, 41000))
    assert send(bench, src, dst) == 10
    facts = bench.one()
    assert (facts["match"], facts["nat"]) == ("destination" if outward else "source", True)


def test_a_party_that_sends_from_another_host_is_not_called_nat() -> None:
    bench = Bench()
    party(bench, "a", PRIVATE_A, NAT_A, CALLED[0])
    party(bench, "b", CALLED, CALLED[0], NAT_A)
    send(bench, ("198.51.100.7", 41000), CALLED)
    assert bench.one()["nat"] is False
    bench = Bench()
    bench.call()
    send(bench, ("198.51.100.7", 41000), CALLED)
    assert bench.one()["nat"] is False


def test_two_streams_that_may_both_be_it_are_left_alone() -> None:
    bench = Bench()
    both_behind_nat(bench)
    for n in range(20):
        for port in (41000, 43000):
            assert bench.feed(rtp(n, n * 160), n * 20 * MS, (NAT_A, port), (NAT_B, port + 1000)) is None
    assert bench.end() == []


def test_two_calls_that_may_both_be_meant_are_left_alone() -> None:
    bench = Bench()
    both_behind_nat(bench, "c1")
    both_behind_nat(bench, "c2")
    assert send(bench, (NAT_A, 41000), (NAT_B, 42000)) == 0


def test_a_second_call_between_the_same_nats_is_latched_on_when_the_first_one_is_explained() -> None:
    bench = Bench()
    both_behind_nat(bench, "c1")
    send(bench, (NAT_A, 41000), (NAT_B, 42000), 300)
    send(bench, (NAT_B, 42000), (NAT_A, 41000), 300)
    both_behind_nat(bench, "c2")
    send(bench, (NAT_A, 41002), (NAT_B, 42002), begun=7 * SECOND)
    assert sorted((one["call_id"], one["packets"]) for one in bench.end()) == [("c1", 300), ("c1", 300), ("c2", 10)]


def test_the_call_whose_parties_signal_from_both_ends_comes_before_others() -> None:
    bench = Bench()
    both_behind_nat(bench)
    party(bench, "x", ("192.168.1.11", 4000), NAT_B, "198.51.100.9", "other")
    send(bench, (NAT_A, 41000), (NAT_B, 42000))
    assert bench.one()["call_id"] == "c1"


def test_what_is_no_rtp_of_the_party_is_not_latched_on() -> None:
    bench = Bench()
    both_behind_nat(bench)
    assert send(bench, (NAT_A, 41000), (NAT_B, 42000), payload_type=96) == 0
    for n in range(20):
        assert bench.feed(rtp(n * 7, n * 160), n * 20 * MS, (NAT_A, 41000), (NAT_B, 42000)) is None


def test_nothing_is_latched_on_to_a_call_that_has_ended() -> None:
    bench = Bench()
    both_behind_nat(bench)
    bench.flows._move_clock(1_771_669_800 * SECOND)
    bench.flows.end("c1")
    assert send(bench, (NAT_A, 41000), (NAT_B, 42000), begun=60 * SECOND) == 0


def test_what_a_party_says_anew_holds_where_it_was_found() -> None:
    bench = Bench()
    both_behind_nat(bench)
    send(bench, (NAT_A, 41000), (NAT_B, 42000))
    both_behind_nat(bench, codecs={96: "iLBC/8000"})
    send(bench, (NAT_A, 41000), (NAT_B, 42000), 60, payload_type=96, ssrc=7, begun=SECOND)
    assert [(one["ssrc"], one["codec"], one["match"]) for one in bench.end()][1] == ("00000007", "iLBC", "nat")


def test_a_party_that_says_anew_where_it_is_is_forgotten() -> None:
    bench = Bench()
    for end, known in ((CALLED, 0), (PRIVATE_A, 1), (PRIVATE_A, 1), ((NAT_A, 4000), 0)):
        party(bench, "a", end, CALLED[0] if end == CALLED else NAT_A, NAT_B)
        bench.tick(SECOND)
        assert bench.parser.party_count == known, end


def test_parties_are_bounded_and_go_when_their_calls_end() -> None:
    bench = Bench()
    for n in range(20_000):
        party(bench, "a", (f"192.168.{n >> 8}.{n & 255}", 4000), NAT_A, NAT_B, f"c{n}")
    bench.tick(SECOND)
    assert bench.parser.party_count == 16_384
    for n in range(20_000):
        bench.flows.end(f"c{n}", linger=0)
    for n in range(2, 400):
        bench.tick(n * SECOND)
    assert bench.parser.party_count == 0
