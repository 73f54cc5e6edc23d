"""RTCP: what it says, what is believed of it, and what it adds to streams."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from otus_core import ParseError
from otus_rtp.rtcp import read_compound
from tests.rtp.bench import CALLED, CALLER, MS, SECOND, Bench, rtp

CALLER_RTCP, CALLED_RTCP = (CALLER[0], CALLER[1] + 1), (CALLED[0], CALLED[1] + 1)
NTP = 0x83AA7E80_80000000


def block(ssrc: int = 0x1234, lost: int = 3, highest: int = 99, jitter: int = 80, lsr: int = 0, dlsr: int = 0) -> bytes:
    """Give a report block."""
    fraction = struct.pack("!IB", ssrc, 64) + lost.to_bytes(3, signed=True)
    return fraction + struct.pack("!IIII", highest, jitter, lsr, dlsr)


def packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def sender_report(ssrc: int = 0x1234, ntp: int = NTP, *blocks: bytes) -> bytes:
    return packet(200, len(blocks), struct.pack("!IQIII", ssrc, ntp, 160, 7, 1120) + b"".join(blocks))


def receiver_report(*blocks: bytes, ssrc: int = 0x9999) -> bytes:
    return packet(201, len(blocks), struct.pack("!I", ssrc) + b"".join(blocks))


def voip_metrics(ssrc: int = 0x1234) -> bytes:
    """Give an extended report with block 7: 5 % lost, R 80, MOS 4.1 and 3.9, a round trip of 120 ms."""
    body = struct.pack("!IBBBBHHHHbbBBBBBBBBHHH", ssrc, 13, 0, 0, 0, 0, 0, 120, 0, -20, 127, 127, 16, 80, 127, 41, 39,
                       0, 0, 40, 60, 200)  # fmt: skip
    return packet(207, 0, struct.pack("!I", 0x9999) + struct.pack("!BBH", 7, 0, 8) + body)


def streaming(**about: Any) -> Bench:
    """A call in which a hundred packets have come."""
    bench = Bench()
    bench.call(**about)
    for n in range(100):
        bench.take(rtp(n, n * 160), n * 20 * MS)
    return bench


def test_a_receivers_report_is_told_and_goes_to_its_stream() -> None:
    bench = streaming()
    bench.feed(sender_report(), SECOND, CALLER_RTCP, CALLED_RTCP)
    answer = receiver_report(block(lsr=NTP >> 16 & 0xFFFFFFFF, dlsr=65536 // 2), block(ssrc=0x77))
    parsed = bench.feed(answer, SECOND + 540 * MS, CALLED_RTCP, CALLER_RTCP)
    assert parsed.payload_type == "rtcp"
    assert parsed.labels == {"rtp.rtcp": "RR", "rtp.call_id": "c1", "rtp.ssrc": "00009999"}
    known, unknown = parsed.payload.facts["packets"][0]["reports"]
    assert (known["known"], known["plausible"], known["jitter_ms"], known["rtt_ms"]) == (True, True, 10.0, 40.0)
    assert (unknown["known"], "jitter_ms" in unknown) == (False, False)
    assert parsed.payload.to_text() == "RTCP RR  of 00001234: 3 lost  jitter 10.0 ms  round trip 40 ms"
    assert bench.one()["remote"] == {
        "reports": 1,
        "lost": 3,
        "loss_pct": 3.0,
        "jitter_ms": {"last": 10.0, "max": 10.0},
        "rtt_ms": {"last": 40.0, "max": 40.0},
        "voip": None,
    }


def test_figures_of_an_interval_are_those_between_two_reports() -> None:
    bench = streaming()
    bench.feed(receiver_report(block(highest=49, lost=2)), SECOND, CALLED_RTCP, CALLER_RTCP)
    parsed = bench.feed(receiver_report(block(highest=99, lost=7)), 2 * SECOND, CALLED_RTCP, CALLER_RTCP)
    assert parsed.payload.facts["packets"][0]["reports"][0]["interval"] == {"expected": 50, "lost": 5}


@pytest.mark.parametrize(
    "nonsense", [{"highest": 40000}, {"jitter": 1 << 31}, {"lost": 200}], ids=["sequence", "jitter", "lost"]
)
def test_nonsense_is_told_and_not_believed(nonsense: dict[str, int]) -> None:
    bench = streaming()
    parsed = bench.feed(receiver_report(block(**nonsense)), SECOND, CALLED_RTCP, CALLER_RTCP)
    assert parsed.payload.facts["packets"][0]["reports"][0]["plausible"] is False
    assert bench.one()["remote"] is None


def test_a_report_that_goes_the_same_way_as_the_stream_is_not_about_it() -> None:
    bench = streaming()
    bench.feed(receiver_report(block()), SECOND, CALLER_RTCP, CALLED_RTCP)
    assert bench.one()["remote"] is None


def test_of_encrypted_rtcp_only_what_is_in_clear_is_told() -> None:
    bench = streaming(profile="RTP/SAVP")
    parsed = bench.feed(receiver_report(block()) + bytes(14), SECOND, CALLED_RTCP, CALLER_RTCP)
    assert parsed.payload.facts == {
        "call_id": "c1",
        "encrypted": True,
        "packets": [{"type": "RR", "ssrc": "00009999"}],
    }
    assert parsed.labels["rtp.encrypted"] == "true"
    assert bench.one()["remote"] is None


def test_rtcp_is_encrypted_where_keys_were_agreed_on_for_its_rtp() -> None:
    """By DTLS on the port of RTP, without a word in SDP: RTCP on a port of its own is then encrypted as well."""
    bench = Bench()
    bench.call()
    assert bench.feed(bytes((22, 254, 253)) + bytes(20), 0) is None
    bench.take(rtp(1, 0), MS)
    bench.take(rtp(1, 0, ssrc=0x9999), MS, CALLED, CALLER)
    for src, dst in ((CALLED_RTCP, CALLER_RTCP), (CALLED, CALLER)):
        parsed = bench.feed(receiver_report(block()) + bytes(14), SECOND, src, dst)
        assert parsed.payload.facts["encrypted"] and parsed.labels["rtp.encrypted"] == "true"


def test_voip_metrics_go_to_their_stream() -> None:
    bench = streaming()
    bench.feed(receiver_report() + voip_metrics(), SECOND, CALLED_RTCP, CALLER_RTCP)
    voip = bench.one()["remote"]["voip"]
    assert (voip["loss_pct"], voip["r"], voip["mos_lq"], voip["mos_cq"]) == (5.08, 80, 4.1, 3.9)
    assert (voip["round_trip_ms"], voip["end_system_ms"], voip["noise_dbm"]) == (120, None, None)


def extended(kind: int, specific: int, body: bytes) -> bytes:
    """Give an extended report with one block (RFC 3611 §3)."""
    return packet(207, 0, struct.pack("!IBBH", 0x9999, kind, specific, len(body) // 4) + body)


def test_the_extended_blocks_four_to_six_are_told() -> None:
    """Receiver reference time, DLRR, and statistics of which the flags say what is there (RFC 3611 §4.4 to 4.6)."""
    figures = struct.pack("!IHHII", 0x1234, 1, 100, 3, 1) + struct.pack("!IIII", 10, 90, 40, 7) + bytes(4)
    bench = streaming()
    said = (
        receiver_report()
        + extended(4, 0, struct.pack("!Q", NTP))
        + extended(5, 0, struct.pack("!III", 0x1234, 7, 8))
        + extended(6, 0xE0, figures)
        + extended(6, 0x00, figures)
    )
    parsed = bench.feed(said, SECOND, CALLED_RTCP, CALLER_RTCP)
    told = [one for each in parsed.payload.facts["packets"] for one in each.get("blocks", ())]
    jitter = {"min": 10, "max": 90, "mean": 40, "deviation": 7}
    assert told == [
        {"block": "receiver_reference_time", "ntp": NTP},
        {"block": "dlrr", "reports": [{"ssrc": "00001234", "lrr": 7, "dlrr": 8}]},
        {"block": "statistics_summary", "ssrc": "00001234", "lost": 3, "duplicates": 1, "jitter": jitter},
        {"block": "statistics_summary", "ssrc": "00001234"},
    ]
    assert parsed.labels["rtp.rtcp"] == "RR,XR,XR,XR,XR"


def test_a_goodbye_ends_its_stream_a_second_later() -> None:
    bench = streaming()
    for _ in range(3):
        bench.feed(packet(203, 1, struct.pack("!I", 0x1234) + b"\x03bye"), 2 * SECOND, CALLER_RTCP, CALLED_RTCP)
    assert bench.tick(2 * SECOND + 100 * MS) == []
    (facts,) = bench.tick(4 * SECOND)
    assert (facts["ended"], facts["packets"]) == ("bye", 100)
    assert bench.end() == []


def test_descriptions_are_told() -> None:
    sdes = packet(202, 1, struct.pack("!I", 0x1234) + b"\x01\x03a@b" + b"\x06\x04Otus" + b"\0\0\0\0\0")
    (told,) = read_compound(sdes)
    assert told == {"type": "SDES", "chunks": [{"ssrc": "00001234", "cname": "a@b", "tool": "Otus"}]}


def test_rtcp_that_nobody_announced_is_left_to_others() -> None:
    assert Bench().feed(receiver_report(), 0) is None


@pytest.mark.parametrize(
    "data",
    [
        receiver_report() + b"\0",
        receiver_report()[:-1] + b"",
        packet(201, 5, bytes(4)),
        packet(203, 3, bytes(4)),
        packet(202, 1, bytes(4) + b"\x01\xff\0\0"),
        packet(207, 0, bytes(4) + b"\x07\0\0\x20"),
        (packet(201, 0, bytes(4)) * 65),
    ],
)
def test_lengths_that_do_not_fit_are_faults(data: bytes) -> None:
    with pytest.raises(ParseError):
        read_compound(data)


def test_whatever_is_in_it_does_no_harm() -> None:
    chance, bench = random.Random(5), streaming()
    whole = sender_report(0x1234, NTP, block()) + voip_metrics() + packet(203, 1, bytes(8))
    for _ in range(3000):
        data = bytearray(whole[: chance.randrange(9, len(whole) + 1)])
        for _ in range(chance.randrange(6)):
            data[chance.randrange(2, len(data))] = chance.randrange(256)
        try:
            parsed = bench.feed(bytes(data), 3 * SECOND, CALLED_RTCP, CALLER_RTCP)
        except ParseError:
            pass
        else:
            assert parsed is None or (parsed.payload.to_json() and parsed.payload.to_text())
