"""Which packets are taken, when streams end, and what bounds there are."""

from __future__ import annotations

import pytest

from tests.rtp.bench import CALLED, CALLER, MS, SECOND, Bench, rtp


def test_only_what_was_announced_is_taken() -> None:
    bench = Bench()
    assert bench.feed(rtp(1, 0), 0) is None
    bench.call()
    bench.take(rtp(2, 160), 20 * MS)
    for other in (b"", b"x", b"\x80" * 11, b"INVITE sip:a SIP/2.0\r\n\r\n", b"\x00\x01" + rtp(1, 0)):
        assert bench.feed(other, 30 * MS) is None
    facts = bench.one()
    assert (facts["packets"], facts["call_id"], facts["match"], facts["ended"]) == (1, "c1", "both", "finish")
    assert (facts["media"], facts["sender_tag"], facts["receiver_tag"]) == ("audio", "a", "b")


@pytest.mark.parametrize(
    ("src", "dst", "match"), [(("10.0.0.1", 5), CALLED, "destination"), (CALLER, ("10.0.0.1", 5), "source")]
)
def test_one_end_that_was_announced_is_enough(src: tuple[str, int], dst: tuple[str, int], match: str) -> None:
    bench = Bench()
    bench.call()
    bench.take(rtp(1, 0), 0, src, dst)
    assert bench.one()["match"] == match


def test_what_is_no_rtp_by_its_profile_is_left_to_others() -> None:
    bench = Bench()
    bench.call(profile="udptl")
    assert bench.feed(rtp(1, 0), 0) is None
    assert bench.end() == []


def test_calls_that_share_their_media_are_all_told() -> None:
    bench = Bench()
    bench.call("leg1")
    bench.call("leg2")
    bench.take(rtp(1, 0), 0)
    facts = bench.one()
    assert (facts["call_id"], sorted(facts["calls"])) == ("leg2", ["leg1", "leg2"])


def test_records_have_the_calls_key_and_the_streams_addresses() -> None:
    bench = Bench()
    bench.call()
    bench.take(rtp(1, 0, ssrc=0xDEADBEEF), 0)
    bench.end()
    (record,) = bench.records
    assert (record.payload_type, record.key) == ("stream", "c1")
    assert record.labels == {
        "rtp.call_id": "c1",
        "rtp.ssrc": "deadbeef",
        "rtp.codec": "PCMU",
        "rtp.match": "both",
        "rtp.packets": "1",
        "rtp.lost": "0",
        "rtp.loss_pct": "0.00",
        "rtp.ended": "finish",
    }
    assert record.payload.to_json().startswith(b'{"ssrc":"deadbeef","call_id":"c1"')
    assert record.payload.to_text() == "RTP PCMU  1 packets in 0.0 s  0 lost (0.0 %)  call c1  finish"


def test_a_silent_stream_ends_and_may_begin_again() -> None:
    bench = Bench(idle_timeout=5)
    bench.call()
    bench.take(rtp(1, 0), 0)
    bench.take(rtp(2, 160), 4 * SECOND)
    assert bench.tick(8 * SECOND) == []
    (facts,) = bench.tick(10 * SECOND)
    assert (facts["ended"], facts["packets"], facts["duration"]) == ("idle", 2, 4.0)
    bench.take(rtp(3, 320), 11 * SECOND)
    assert bench.one()["packets"] == 1


def test_a_stream_ends_half_a_minute_after_its_call() -> None:
    bench = Bench()
    bench.call()
    bench.take(rtp(1, 0), SECOND)
    bench.flows.end("c1")
    bench.take(rtp(2, 160), 2 * SECOND)
    assert bench.tick(20 * SECOND) == []
    bench.take(rtp(3, 320), 30 * SECOND)
    (facts,) = bench.tick(32 * SECOND)
    assert (facts["ended"], facts["packets"]) == ("call_end", 3)
    assert bench.feed(rtp(4, 480), 33 * SECOND) is None


def test_a_new_offer_explains_new_payload_types_and_the_stream_goes_on() -> None:
    bench = Bench()
    bench.call()
    for n in range(10):
        bench.take(rtp(n, n * 160), n * 20 * MS)
    bench.call(codecs={96: "iLBC/8000"})
    for n in range(10, 40):
        bench.take(rtp(n, n * 160, payload_type=96), n * 20 * MS)
    assert bench.tick(SECOND) == []
    facts = bench.one()
    assert (facts["codec"], facts["packets"], facts["jitter_ms"]["max"]) == ("iLBC", 40, 0.0)


def test_a_refused_change_to_fax_does_not_end_the_stream() -> None:
    bench = Bench()
    bench.call()
    bench.take(rtp(1, 0), 0)
    bench.call(profile="udptl", media="image")
    bench.take(rtp(2, 160), 20 * MS)
    assert bench.feed(rtp(1, 0, ssrc=9), 30 * MS) is None
    assert bench.one()["packets"] == 2


def test_ssrcs_of_one_5_tuple_are_streams_of_their_own() -> None:
    bench = Bench()
    bench.call()
    for n in range(6):
        bench.take(rtp(n, n * 160, ssrc=1 + n // 3), n * 20 * MS)
    assert [(one["ssrc"], one["packets"], one["ssrc_changes"]) for one in bench.end()] == [
        ("00000001", 3, 1),
        ("00000002", 3, 1),
    ]


def test_whoever_makes_up_ssrcs_loses_its_own_streams_only() -> None:
    bench = Bench()
    bench.call()
    bench.call("victim", caller=("192.0.2.30", 4000), called=("192.0.2.40", 4000))
    bench.take(rtp(1, 0), 0, ("192.0.2.30", 4000), ("192.0.2.40", 4000))
    for ssrc in range(1000):
        bench.take(rtp(1, 0, ssrc=ssrc), ssrc)
    assert bench.parser.stream_count == 17
    facts = bench.end()
    assert len(facts) == 1001
    assert [one["ended"] for one in facts].count("evicted") == 1000 - 16
    assert sum(one["packets"] for one in facts) == 1001


def test_the_table_is_bounded_and_every_eviction_is_told() -> None:
    bench = Bench(max_streams=10)
    bench.call()
    for n in range(100):
        bench.take(rtp(1, 0), n * 2 * SECOND // 10, ("10.0.0.1", 1000 + n), CALLED)
        bench.take(rtp(n, n * 160), n * 2 * SECOND // 10)  # in use, so it stays
    assert bench.parser.stream_count == 10
    facts = bench.end()
    assert len(facts) == 101
    assert max(one["packets"] for one in facts) == 100
    assert [one["ended"] for one in facts if one["packets"] == 100] == ["finish"]


def test_streams_under_way_are_told_at_intervals() -> None:
    bench = Bench(interval=2)
    bench.call()
    seen = []
    for n in range(250):
        at = n * 20 * MS
        if at % SECOND == 0:
            seen += bench.tick(at)
        if n != 60:
            bench.take(rtp(n, n * 160), at)
    assert [one["ended"] for one in seen] == [None, None]
    assert [one["interval"]["packets"] for one in seen] == [99, 100]
    assert [(one["lost"], one["interval"]["lost"]) for one in seen] == [(1, 1), (1, 0)]
    assert bench.one()["packets"] == 249


def test_keys_that_are_agreed_on_are_told() -> None:
    bench = Bench()
    bench.call()
    dtls = bytes((22, 254, 253)) + bytes(20)
    assert bench.feed(dtls, 0) is None
    bench.take(rtp(1, 0), MS)
    bench.take(rtp(1, 0), MS, CALLED, CALLER)
    assert [one["encrypted"] for one in bench.end()] == [True, True]
    bench = Bench()
    bench.call(profile="RTP/SAVP")
    bench.take(rtp(1, 0), MS)
    assert bench.one()["encrypted"]


def test_nothing_is_guessed_unless_asked_for() -> None:
    silent, guessing = Bench(), Bench(guess=True)
    for n in range(20):
        assert silent.feed(rtp(n, n * 160), n * 20 * MS) is None
        guessing.feed(rtp(n, n * 160), n * 20 * MS)
    assert silent.end() == []
    facts = guessing.one()
    assert (facts["packets"], facts["match"], facts["call_id"], facts["codec"]) == (20, "guess", None, "PCMU")


@pytest.mark.parametrize("payload_type", [35, 72, 76, 95])
def test_what_has_no_payload_type_of_rtp_is_not_guessed(payload_type: int) -> None:
    bench = Bench(guess=True)
    for n in range(20):
        assert bench.feed(rtp(n, n * 160, payload_type=payload_type), n * 20 * MS) is None


def test_each_packet_can_be_reported() -> None:
    bench = Bench(packets=True)
    bench.call()
    parsed = bench.feed(rtp(7, 160, marker=True), 0)
    assert parsed.payload_type == "rtp"
    assert parsed.labels["rtp.sequence"] == "7"
    assert parsed.payload.facts["marker"] is True
    assert bench.one()["packets"] == 1
