"""What is told of a stream: sequence numbers, times, play-out, events."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from tests.rtp.bench import MS, SECOND, Bench, rtp

COUNTED = ("packets", "expected", "lost", "duplicates", "reordered", "seq_resets", "strays")


def told(numbers: Sequence[int], **options: Any) -> dict[str, Any]:
    """Give the facts of a stream with these sequence numbers, 20 ms apart; timestamps are those of a regular sender."""
    bench = Bench(**options)
    bench.call()
    for n, number in enumerate(numbers):
        bench.take(rtp(number, number * 160), n * 20 * MS)
    return bench.one()


@pytest.mark.parametrize(
    ("numbers", "counts"),
    [
        ([*range(10)], (10, 10, 0, 0, 0, 0, 0)),
        ([1, 2, 5, 6], (4, 6, 2, 0, 0, 0, 0)),
        ([1, 2, 4, 3, 5], (5, 5, 0, 0, 1, 0, 0)),
        ([1, 2, 2, 3, 3, 3], (3, 3, 0, 3, 0, 0, 0)),
        ([1, 2, 4, 3, 3, 5], (5, 5, 0, 1, 1, 0, 0)),
        ([65534, 65535, 0, 1], (4, 4, 0, 0, 0, 0, 0)),
        ([65534, 1, 65535, 3], (4, 6, 2, 0, 1, 0, 0)),
        ([10, 9, 11], (3, 3, 0, 0, 1, 0, 0)),  # the first packet was not the first that was sent
        ([*range(5), *range(30000, 30005)], (10, 10, 0, 0, 0, 1, 0)),  # RFC 3550 A.1: the second in a row is believed
        ([*range(5), 30000, *range(5, 8)], (8, 8, 0, 0, 0, 0, 1)),
        ([5, 20000, 20001], (3, 3, 0, 0, 0, 1, 0)),  # in probation
        ([*range(200), 50], (200, 200, 0, 0, 0, 0, 1)),  # too late to be told from a restart
        ([0, 2999], (2, 3000, 2998, 0, 0, 0, 0)),
        ([0, 1, 3001, 3002], (4, 4, 0, 0, 0, 1, 0)),
    ],
)
def test_sequence_numbers_are_counted_as_rfc_3550_has_it(numbers: list[int], counts: tuple[int, ...]) -> None:
    facts = told(numbers)
    assert dict(zip(COUNTED, [facts[name] for name in COUNTED], strict=True)) == dict(zip(COUNTED, counts, strict=True))


def test_whatever_comes_is_counted_once_and_no_loss_is_negative() -> None:
    chance = random.Random(17)
    for _ in range(200):
        numbers, at = [], chance.randrange(65536)
        for _ in range(chance.randrange(1, 300)):
            at += chance.choice((1, 1, 1, 1, 2, 3, -1, -2, 0, -99, 100, 2999, 3000, 3001, 20000))
            numbers.append(at & 0xFFFF)
        facts = told(numbers)
        assert facts["packets"] + facts["duplicates"] + facts["strays"] == len(numbers)
        assert 0 <= facts["lost"] == facts["expected"] - facts["packets"]
        assert sum(facts["payload_types"].values()) == facts["packets"]


def test_runs_of_loss_are_told_from_scattered_loss() -> None:
    numbers = [n for n in range(1000) if not (n % 100 == 50 or 500 <= n < 504)]
    facts = told(numbers)
    assert (facts["lost"], facts["bursts"], facts["burst_max"]) == (14, 11, 4)
    assert facts["burst_ratio"] == round(14 / 11 * (1 - 14 / 1000), 3)
    assert told([n for n in range(1000) if n % 100 != 50])["burst_ratio"] == 1.0  # never better than chance


def test_jitter_is_that_of_rfc_3550_and_deltas_are_those_of_the_arrivals() -> None:
    chance, bench = random.Random(3), Bench()
    bench.call()
    at, arrivals, jitter, jitters = 0, [], 0.0, []
    for n in range(300):
        at += 20 * MS + chance.randrange(-5, 6) * MS
        arrivals.append(at)
        bench.take(rtp(n, n * 160), at)
    deltas = [b - a for a, b in pairwise(arrivals)]
    for delta in deltas:
        jitter += (abs(delta - 20 * MS) - jitter) / 16
        jitters.append(jitter)
    facts = bench.one()
    assert facts["jitter_ms"] == {
        "last": round(jitter / MS, 3),
        "mean": round(sum(jitters) / len(jitters) / MS, 3),
        "max": round(max(jitters) / MS, 3),
    }
    mean = round(sum(deltas) / len(deltas) / MS, 3)
    assert facts["delta_ms"] == {"min": min(deltas) / MS, "mean": mean, "max": max(deltas) / MS}
    assert (facts["ptime"], facts["payload_types"], facts["bytes"]) == (20.0, {"0": 300}, 300 * 172)


def test_steps_of_any_size_have_their_length() -> None:
    bench = Bench()
    bench.call()
    step = 0x6D000000  # a thousand times this is beyond 32 bits
    for n in range(3):
        bench.take(rtp(n, n * step & 0xFFFFFFFF), n * 20 * MS)
    assert bench.one()["ptime"] == step * 1000 / 8000


def test_silence_before_a_talkspurt_is_no_jitter() -> None:
    bench = Bench()
    bench.call()
    for n in range(50):
        bench.take(rtp(n, n * 160), n * 20 * MS)
    for n in range(50, 100):  # a second later, on a clock that stood still meanwhile
        bench.take(rtp(n, n * 160, marker=n == 50), n * 20 * MS + 1000 * MS)
    facts = bench.one()
    assert (facts["jitter_ms"]["max"], facts["delta_ms"]["max"], facts["discarded"]) == (0.0, 20.0, 0)


def test_comfort_noise_and_events_are_no_media() -> None:
    bench = Bench()
    bench.call()
    for n in range(20):
        kind = 13 if n == 10 else 101 if 14 <= n < 17 else 0
        payload = b"\x05\x0a\x01\x40" if kind == 101 else b"\xff" * 160
        stamp = 14 * 160 if kind == 101 else n * 160
        late = 7 * MS if kind == 13 else 0
        bench.take(rtp(n, stamp, payload_type=kind, payload=payload), n * 20 * MS + late)
    facts = bench.one()
    assert facts["jitter_ms"]["max"] == 0
    assert facts["codec"] == "PCMU"
    assert facts["payload_types"] == {"0": 16, "13": 1, "101": 3}
    assert [(one["digit"], one["event"], one["duration_ms"]) for one in facts["events"]] == [("x", None, 40)]


def test_digits_are_shown_if_asked_for() -> None:
    bench = Bench(mask_dtmf=False)
    bench.call()
    for n, (event, duration) in enumerate([(1, 160), (1, 320), (1, 320), (11, 160)]):
        payload = bytes((event, 10)) + duration.to_bytes(2)
        bench.take(rtp(n, 0 if event == 1 else 1600, payload_type=101, payload=payload), n * 20 * MS)
    events = bench.one()["events"]
    assert [(one["digit"], one["event"], one["duration_ms"]) for one in events] == [("1", 1, 40), ("#", 11, 20)]


def test_late_packets_are_discarded_and_one_stall_is_not_held_against_all_that_follow() -> None:
    bench = Bench()
    bench.call()
    for n in range(700):
        late = 1300 * MS if n >= 100 else 0  # a stall of 1.3 s, and no haste afterwards
        late += 80 * MS if n in (30, 60) else 0
        bench.take(rtp(n, n * 160), n * 20 * MS + late)
    assert bench.one()["discarded"] == 2 + 3


def test_a_clock_that_runs_fast_is_told() -> None:
    bench = Bench()
    bench.call()
    for n in range(1000):
        bench.take(rtp(n, n * 160), n * 20 * MS + n * 20 * 100)  # 20 ms take 2 µs more: 100 ppm
    assert bench.one()["skew_ppm"] == pytest.approx(100, abs=0.5)


def test_markers_of_video_end_frames_and_spoil_no_figures() -> None:
    bench = Bench()
    bench.call(codecs={31: "H261/90000"}, media="video")
    for n in range(100):
        bench.take(rtp(n, n // 2 * 3000, payload_type=31, marker=n % 2 == 1), (n // 2) * 33_333_333 + n % 2 * MS)
    facts = bench.one()
    assert (facts["codec"], facts["delta_ms"]["min"]) == ("H261", 1.0)
    assert facts["jitter_ms"]["last"] == pytest.approx(1.0, abs=0.1)


def test_losses_that_unrelated_streams_share_are_the_captures() -> None:
    bench = Bench()
    parties = [((f"192.0.2.{n}", 4000), (f"198.51.100.{n}", 4000)) for n in range(1, 5)]
    for n, (caller, called) in enumerate(parties):
        bench.call(f"c{n}", caller=caller, called=called)
    for n in range(100):
        for which, (caller, called) in enumerate(parties):
            if n in (50, 51) and which < 3:
                continue
            if n == 70 and which == 3:
                continue
            bench.take(rtp(n, n * 160), n * 20 * MS + which, src=caller, dst=called)
    facts = sorted(bench.end(), key=lambda one: str(one["call_id"]))
    assert [(one["lost"], one["capture_loss"], one["mos"] is None) for one in facts] == [
        (2, True, True),
        (2, True, True),
        (2, True, True),
        (1, False, False),
    ]


def test_losses_while_the_capturer_dropped_frames_are_its_own() -> None:
    bench = Bench()
    for ssrc, begun in ((1, 0), (2, 20), (3, 40)):  # seconds
        bench.call(f"c{ssrc}", caller=("192.0.2.1", 4000 + ssrc), called=("192.0.2.2", 4000 + ssrc))
        bench.tick((begun - 5) * SECOND)
        for n in range(100):
            if n % 50 == 0:
                bench.dropped += 7 * (ssrc == 2)
                bench.tick(begun * SECOND + n * 20 * MS)
            if n != 30:
                at = begun * SECOND + n * 20 * MS
                bench.take(rtp(n, n * 160, ssrc=ssrc), at, ("192.0.2.1", 4000 + ssrc), ("192.0.2.2", 4000 + ssrc))
    assert [
        (one["ssrc"][-1], one["lost"], one["capture_loss"], one["mos"] is None) for one in bench.end(42 * SECOND)
    ] == [
        ("1", 1, False, False),
        ("2", 1, True, True),
        ("3", 1, False, False),
    ]


def test_drops_of_the_last_moment_count_too() -> None:
    bench = Bench()
    bench.call()
    for n in range(100):
        if n != 30:
            bench.take(rtp(n, n * 160), n * 20 * MS)
    bench.tick(SECOND)
    bench.dropped = 1
    (facts,) = bench.end(2 * SECOND)
    assert facts["capture_loss"]


def test_drops_without_a_loss_say_nothing() -> None:
    bench = Bench()
    bench.call()
    for n in range(100):
        bench.take(rtp(n, n * 160), n * 20 * MS)
    bench.dropped = 1
    (facts,) = bench.end(2 * SECOND)
    assert (facts["capture_loss"], facts["mos"]) == (False, 4.41)


def test_the_code_point_of_the_first_packet_is_told() -> None:
    bench = Bench()
    bench.call()
    for n, traffic_class in enumerate((0xB8, 0, 0)):
        bench.mark = traffic_class
        bench.take(rtp(n, n * 160), n * 20 * MS)
    assert bench.one()["dscp"] == 46


def test_bytes_and_header_extensions_and_padding_do_no_harm() -> None:
    bench = Bench()
    bench.call()
    whole = rtp(1, 160)
    extended = bytes([0x90]) + whole[1:12] + b"\xbe\xde\x00\x01abcd" + whole[12:]
    padded = bytes([0xA0]) + whole[1:-1] + b"\xff"  # more padding than there is payload
    for n, packet in enumerate((whole, extended, padded)):
        bench.feed(packet[:2] + (n + 1).to_bytes(2) + packet[4:], n * 20 * MS)
    assert bench.feed(bytes([0x90]) + whole[1:14], 0) is None
    assert bench.feed(bytes([0x8F]) + whole[1:40], 0) is None
    assert bench.one()["packets"] == 3
