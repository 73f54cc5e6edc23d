"""Fragments come out as the datagram that was sent, byte for byte, or are dropped for a counted reason."""

from __future__ import annotations

import itertools
import random
import resource
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otus_core.decode.options import DecoderConfig, ReassemblyConfig
from otus_core.testing import packets
from tests.core.decode.reassembler import Piece, Reassembler
from tests.core.decode.support import Bench, fragment4, fragment6

SECOND = 10**9
BODY = bytes(range(256)) * 8

Maker = Callable[..., bytes]


def body(length: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(length)


def cut(data: bytes, *bounds: int) -> list[tuple[bytes, int, bool]]:
    """Cut ``data`` at these offsets into (bytes, offset, more)."""
    edges = [0, *bounds, len(data)]
    return [(data[a:b], a, b < len(data)) for a, b in itertools.pairwise(edges)]


MERGED_AND_COPY = {"fragments_merged": 1, "reassembly:duplicate": 1}
OVERLAP_AND_MERGED = {"reassembly:overlap": 2, "fragments_merged": 1}

# Each piece: (offset, length, more). What becomes of them, in order of arrival.
CASES: list[tuple[str, list[tuple[int, int, bool]], dict[str, int], bool]] = [
    ("in order", [(0, 16, True), (16, 16, True), (32, 5, False)], {"fragments_merged": 2}, True),
    ("last first", [(32, 5, False), (16, 16, True), (0, 16, True)], {"fragments_merged": 2}, True),
    ("middle last", [(0, 16, True), (32, 5, False), (16, 16, True)], {"fragments_merged": 2}, True),
    ("copy of the first", [(0, 16, True), (0, 16, True), (16, 5, False)], MERGED_AND_COPY, True),
    ("copy of the last", [(16, 5, False), (16, 5, False), (0, 16, True)], MERGED_AND_COPY, True),
    ("a hole", [(0, 16, True), (24, 5, False)], {"fragments_held": 2}, False),
    ("no first", [(16, 16, True), (32, 5, False)], {"fragments_held": 2}, False),
    ("overlaps the one before", [(0, 24, True), (16, 16, True)], {"reassembly:overlap": 2}, False),
    ("overlaps the one behind", [(16, 16, True), (0, 24, True)], {"reassembly:overlap": 2}, False),
    ("inside another", [(0, 32, True), (8, 8, True)], {"reassembly:overlap": 2}, False),
    ("around another", [(8, 8, True), (0, 32, True)], {"reassembly:overlap": 2}, False),
    ("same start, longer", [(0, 8, True), (0, 16, True)], {"reassembly:overlap": 2}, False),
    ("same start, shorter", [(0, 16, True), (0, 8, True)], {"reassembly:overlap": 2}, False),
    ("same place, now the last", [(8, 8, True), (8, 8, False)], {"reassembly:overlap": 2}, False),
    ("teardrop", [(0, 40, True), (24, 4, False)], {"reassembly:overlap": 2}, False),
    ("two ends, second farther", [(8, 8, False), (16, 8, False)], {"reassembly:bad_fragment": 2}, False),
    ("two ends, second nearer", [(16, 8, False), (8, 8, False)], {"reassembly:bad_fragment": 2}, False),
    ("more behind the end", [(8, 8, False), (800, 8, True)], {"reassembly:bad_fragment": 2}, False),
    ("an end before more", [(800, 8, True), (8, 8, False)], {"reassembly:bad_fragment": 2}, False),
    ("empty", [(0, 16, True), (16, 0, False)], {"fragments_held": 1, "reassembly:bad_fragment": 1}, False),
    ("not a multiple of eight", [(0, 15, True)], {"reassembly:bad_fragment": 1}, False),
    ("past 65,535", [(65528, 8, True)], {"reassembly:too_large": 1}, False),
    ("after an overlap anew", [(0, 16, True), (8, 8, True), (0, 8, True), (8, 8, False)], OVERLAP_AND_MERGED, True),
]  # fmt: skip


@pytest.mark.parametrize("make", [fragment4, fragment6])
@pytest.mark.parametrize(("pieces", "expected", "whole"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_outcomes(make: Maker, pieces: list[tuple[int, int, bool]], expected: dict[str, int], whole: bool) -> None:
    bench = Bench.of()
    made = [bench.give(make(BODY[offset % 1024 :][:length], offset, more)) for offset, length, more in pieces]
    assert bench.counted() == expected
    assert (made[-1] is not None) == whole
    if made[-1]:
        assert made[-1].payload == BODY[: made[-1].payload_len]


def test_go_defect_1_a_final_fragment_at_8_then_one_at_800() -> None:
    """Two IP fragments crashed the Go program's reassembler; a million incomplete ones cost it 1.7 GB."""
    bench = Bench.of()
    assert bench.give(fragment4(b"x" * 8, 8, False)) is None
    assert bench.give(fragment4(b"x" * 8, 800, True)) is None
    assert bench.counted() == {"reassembly:bad_fragment": 2}


def test_go_defect_1_a_million_incomplete_datagrams_stay_within_the_limits() -> None:
    bench = Bench.of()
    template = bytearray(fragment4(b"x" * 512, 0, True))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    decode = bench.decoder.decode_one
    for i in range(1_000_000):
        struct.pack_into("!I", template, 26, i)  # the source address, so that every datagram is another source's
        struct.pack_into("!H", template, 18, i & 0xFFFF)
        assert decode(bytes(template)) is None
    assert time.process_time() - begun < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024
    held = bench.accounts["fragments_held"]
    assert 0 < held <= ReassemblyConfig().max_datagrams
    assert held + bench.accounts["dropped{reassembly:limit}"] == 1_000_000


def test_one_source_cannot_take_more_than_its_share() -> None:
    bench = Bench.of(DecoderConfig(ip_reassembly=ReassemblyConfig(max_fragments=100, source_share=0.25)))
    for i in range(1000):
        bench.give(fragment4(b"x" * 8, 0, True, identification=i))
    assert bench.counted() == {"fragments_held": 25, "reassembly:limit": 975}
    for frame in packets.fragments(packets.udp(BODY, src="192.0.2.77"), 800):
        last = bench.give(frame)
    assert last is not None and last.payload == BODY


def test_the_oldest_datagram_gives_way() -> None:
    bench = Bench.of(DecoderConfig(ip_reassembly=ReassemblyConfig(max_datagrams=2, source_share=1)))
    for i in range(3):
        bench.give(fragment4(BODY[:8], 0, True, identification=i))
    assert bench.counted() == {"fragments_held": 2, "reassembly:limit": 1}
    assert bench.give(fragment4(BODY[8:16], 8, False, identification=1)) is not None
    assert bench.give(fragment4(BODY[8:16], 8, False, identification=0)) is None


@pytest.mark.parametrize("limits", [{"max_datagrams": 8}, {"max_fragments": 8}], ids=["datagrams", "fragments"])
def test_datagrams_and_fragments_of_all_sources_are_bounded(limits: dict[str, int]) -> None:
    """No source comes near its own share here, so that this bound alone holds; the oldest gives way whosever it is."""
    bench = Bench.of(DecoderConfig(ip_reassembly=ReassemblyConfig(**limits, source_share=0.25)))
    sent = [packets.fragments(packets.udp(BODY[:800], src=f"192.0.2.{i + 1}"), 480) for i in range(10)]
    for first, _ in sent:
        bench.give(first)
    assert bench.counted() == {"fragments_held": 8, "reassembly:limit": 2}
    assert bench.give(sent[2][1]) is not None
    assert bench.give(sent[1][1]) is None


def test_a_datagram_with_too_many_fragments_is_dropped() -> None:
    bench = Bench.of(DecoderConfig(ip_reassembly=ReassemblyConfig(max_fragments_per_datagram=4)))
    for i in range(5):
        bench.give(fragment4(BODY[:8], 8 * i, True))
    assert bench.counted() == {"reassembly:limit": 5}


def test_bytes_of_all_sources_are_bounded() -> None:
    """No source comes near its own share here."""
    bench = Bench.of(DecoderConfig(ip_reassembly=ReassemblyConfig(max_bytes=2**17, source_share=0.25)))
    for i in range(200):
        bench.give(packets.fragments(packets.udp(bytes(2000), src=f"192.0.2.{i + 1}"), 1480)[0])
    assert bench.accounts["fragments_held"] == 2**17 // (1480 + 64)


def test_bytes_of_one_source_are_bounded() -> None:
    """All sources together are nowhere near their bound here."""
    bench = Bench.of(DecoderConfig(ip_reassembly=ReassemblyConfig(max_bytes=2**20, source_share=0.125)))
    for i in range(200):
        bench.give(fragment4(bytes(1480), 0, True, identification=i))
    assert bench.accounts["fragments_held"] == 2**17 // (1480 + 64)


def test_a_fragment_of_more_than_a_sources_share_is_refused() -> None:
    bench = Bench.of(DecoderConfig(ip_reassembly=ReassemblyConfig(max_bytes=2**17, source_share=0.125)))
    bench.give(fragment4(bytes(32000), 0, True))
    assert bench.counted() == {"reassembly:limit": 1}
    assert bench.give(fragment4(bytes(800), 0, True, identification=2)) is None
    assert bench.counted() == {"reassembly:limit": 1, "fragments_held": 1}


def test_a_datagram_that_outgrows_its_sources_share_is_dropped() -> None:
    bench = Bench.of(DecoderConfig(ip_reassembly=ReassemblyConfig(max_bytes=2**17, source_share=0.125)))
    for i in range(11):
        bench.give(fragment4(bytes(1480), 1480 * i, True))
    assert bench.counted() == {"reassembly:limit": 11}


def test_a_sources_oldest_datagram_gives_way_to_its_newer_ones() -> None:
    """Its share of datagrams is 256, and what others hold is not touched."""
    bench = Bench.of()
    other = packets.fragments(packets.udp(BODY, src="192.0.2.77"), 1480)
    bench.give(other[0])
    for i in range(1000):
        bench.give(fragment4(BODY[:8], 0, True, identification=i))
    assert bench.counted() == {"fragments_held": 257, "reassembly:limit": 744}
    assert bench.give(fragment4(BODY[8:16], 8, False, identification=999)) is not None
    assert bench.give(fragment4(BODY[8:16], 8, False, identification=744)) is not None
    assert bench.give(fragment4(BODY[8:16], 8, False, identification=743)) is None
    assert bench.give(other[1]) is not None


def test_a_source_that_reached_its_share_of_fragments_goes_on_with_its_newest() -> None:
    bench = Bench.of(DecoderConfig(ip_reassembly=ReassemblyConfig(max_fragments=40, source_share=0.25)))
    for i in range(30):
        bench.give(fragment4(BODY[:8], 0, True, identification=i))
        bench.give(fragment4(BODY[8:16], 8, True, identification=i))
    assert bench.counted() == {"fragments_held": 10, "reassembly:limit": 50}
    assert bench.give(fragment4(BODY[16:24], 16, False, identification=29)) is not None
    assert bench.give(fragment4(BODY[16:24], 16, False, identification=24)) is None


def test_fragments_time_out_by_packet_clock() -> None:
    bench = Bench.of()
    bench.give(fragment4(BODY[:8], 0, True), timestamp=100 * SECOND)
    bench.give(fragment4(BODY[:8], 0, True, identification=2), timestamp=129 * SECOND)
    bench.decoder.advance(130 * SECOND - 1)
    assert bench.counted() == {"fragments_held": 2}
    bench.decoder.advance(130 * SECOND)
    assert bench.counted() == {"fragments_held": 1, "reassembly:timeout": 1}
    bench.decoder.advance(0)
    assert bench.give(fragment4(BODY[8:9], 8, False, identification=2), timestamp=130 * SECOND) is not None


def test_a_packet_that_comes_late_does_not_turn_the_clock_back() -> None:
    """Captures of several interfaces are out of order: what comes with an earlier time is held for its time all the
    same.
    """
    bench = Bench.of()
    assert bench.give(fragment4(BODY[:8], 0, True), timestamp=100 * SECOND) is None
    assert bench.give(fragment4(BODY[8:9], 8, False), timestamp=100 * SECOND) is not None
    bench.give(fragment4(BODY[:8], 0, True, identification=2), timestamp=50 * SECOND)
    bench.decoder.advance(129 * SECOND)
    assert bench.counted() == {"fragments_held": 1, "fragments_merged": 1}
    bench.decoder.advance(130 * SECOND)
    assert bench.counted() == {"reassembly:timeout": 1, "fragments_merged": 1}


def test_the_end_of_a_capture_drops_what_is_held() -> None:
    bench = Bench.of()
    bench.give(fragment4(BODY[:8], 0, True))
    bench.give(fragment6(BODY[:8], 0, True))
    bench.decoder.finish()
    assert bench.counted() == {"reassembly:incomplete": 2}


def test_a_reassembled_unit_is_described_by_its_first_fragment_and_dated_by_the_completing_one() -> None:
    bench = Bench.of()
    first, second = packets.fragments(packets.udp(BODY, ttl=9, identification=5), 1480)
    second = second[:22] + b"\x63" + second[23:]  # another TTL
    assert bench.give(second, timestamp=1) is None
    packet = bench.give(first, timestamp=2)
    assert packet is not None
    assert (packet.timestamp, packet.ip.ttl, packet.ip.total_len, packet.reassembled) == (2, 9, 28 + len(BODY), True)
    assert (packet.src_port, packet.payload, packet.truncated) == (5060, BODY, False)


def test_a_kept_packet_outlives_the_next_datagram() -> None:
    bench = Bench.of()
    kept = [
        bench.give(frame)
        for i in range(20)
        for frame in packets.fragments(packets.udp(body(3000, i), identification=i))
    ]
    assert [p.payload for p in kept if p] == [body(3000, i) for i in range(20)]


def test_the_largest_datagram_fits_and_one_byte_more_does_not() -> None:
    for extra, fits in ((0, True), (1, False)):
        bench = Bench.of()
        data = body(65515 + extra)
        last = [bench.give(fragment4(*piece)) for piece in cut(data, *range(1480, len(data), 1480))][-1]
        assert (last is not None and last.payload == data) == fits
        assert fits or bench.counted() == {"fragments_held": 44, "reassembly:too_large": 1}


def test_options_of_the_first_fragment_count_in_the_datagrams_length() -> None:
    """The other fragments may have fewer options, and fit by themselves."""
    bench = Bench.of()
    data = body(65515)
    for index, piece in enumerate(cut(data, *range(8000, len(data), 8000))):
        assert bench.give(fragment4(*piece, options=b"\1" * (0 if index else 40))) is None
    assert bench.counted() == {"reassembly:too_large": 9}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"identification": 1}, {"identification": 2}, id="id"),
        pytest.param({"protocol": 200}, {"protocol": 201}, id="protocol"),
    ],
)
def test_fragments_of_other_datagrams_do_not_mix(one: dict[str, Any], other: dict[str, Any]) -> None:
    bench = Bench.of()
    assert bench.give(fragment4(BODY[:8], 0, True, **one)) is None
    assert bench.give(fragment4(BODY[8:9], 8, False, **other)) is None
    assert bench.counted() == {"fragments_held": 2}


def wraps() -> Sequence[tuple[str, Callable[[bytes], bytes], Callable[[bytes], bytes]]]:
    """Give pairs of worlds in which the same addresses mean different hosts."""
    return [
        ("vlan", lambda f: packets.vlan(f, 1), lambda f: packets.vlan(f, 2)),
        ("inner tag", lambda f: packets.vlan(f, 1, 2), lambda f: packets.vlan(f, 1, 3)),
        ("tag order", lambda f: packets.vlan(f, 1, 2), lambda f: packets.vlan(f, 2, 1)),
        ("tag or none", lambda f: f, lambda f: packets.vlan(f, 0)),
        ("vni", lambda f: packets.vxlan(f, vni=1), lambda f: packets.vxlan(f, vni=2)),
        ("kind of tunnel", lambda f: packets.vxlan(f, vni=1), lambda f: packets.geneve(f, vni=1)),
        ("gre key", lambda f: packets.gre(f, key=1), lambda f: packets.gre(f, key=2)),
        ("teid", lambda f: packets.gtpu(f, teid=1), lambda f: packets.gtpu(f, teid=2)),
        ("erspan session", lambda f: packets.erspan(f, session=1), lambda f: packets.erspan(f, session=2)),
        ("tag in a tunnel", lambda f: packets.vxlan(packets.vlan(f, 1)), lambda f: packets.vxlan(packets.vlan(f, 2))),
    ]


@pytest.mark.parametrize(("here", "there"), [w[1:] for w in wraps()], ids=[w[0] for w in wraps()])
def test_the_same_addresses_in_another_network_are_another_datagram(
    here: Callable[[bytes], bytes], there: Callable[[bytes], bytes]
) -> None:
    bench = Bench.of()
    for make in (fragment4, fragment6):
        assert bench.give(here(make(BODY[:8], 0, True))) is None
        assert bench.give(there(make(BODY[8:9], 8, False))) is None
        packet = bench.give(here(make(BODY[8:9], 8, False)))
        assert packet is not None and packet.payload == BODY[:9] and packet.reassembled


def test_a_tunnel_inside_a_reassembled_datagram_and_fragments_inside_that() -> None:
    bench = Bench.of()
    frames: list[bytes] = []
    for inner in packets.fragments(packets.udp(BODY, src="10.9.9.9", identification=3), 1480):
        frames += packets.fragments(packets.vxlan(inner, vni=7), 400, identification=len(frames) + 1)
    made = [bench.give(frame) for frame in frames]
    assert [packet is not None for packet in made] == [False] * (len(frames) - 1) + [True]
    packet = made[-1]
    assert packet is not None and packet.payload == BODY
    assert (str(packet.src_ip), str(packet.outer_src_ip), packet.vni) == ("10.9.9.9", packets.SRC, 7)
    # The inner fragment that was held came out of a datagram of its own, all of whose other frames were merged.
    assert bench.counted() == {"fragments_merged": len(frames) - 1}


def test_ipv6_fragments_inside_a_reassembled_ipv6_datagram() -> None:
    """A fragment header behind a fragment header: odd, but RFC 8200 does not forbid it."""
    bench = Bench.of()
    inner = [struct.pack("!BBHI", 200, 0, offset | more, 9) + piece for piece, offset, more in cut(BODY, 1024)]
    made = []
    for i, data in enumerate(inner):
        made += [bench.give(fragment6(*piece, identification=50 + i, protocol=44)) for piece in cut(data, 512)]
    assert made[-1] is not None and made[-1].payload == BODY
    assert made[-1].ip.total_len == 40 + len(BODY)


def test_with_reassembly_off_every_fragment_is_a_unit() -> None:
    bench = Bench.of(DecoderConfig(ip_reassembly=False))
    first, second = packets.fragments(packets.udp(BODY), 1480)
    one, two = bench.give(first), bench.give(second)
    assert one is not None and two is not None
    assert (one.src_port, one.payload, one.transport is None) == (5060, BODY[:1472], False)
    assert (two.src_port, two.payload, two.transport, two.protocol) == (0, BODY[1472:], None, 17)


@pytest.mark.parametrize("source", [packets.SRC, "2001:db8::1"], ids=["v4", "v6"])
def test_a_snapped_fragment_is_a_unit_by_itself(source: str) -> None:
    """It can never be put together; what there is of it is decoded and marked."""
    bench = Bench.of()
    destination = packets.DST if source == packets.SRC else "2001:db8::2"
    for frame, ports in zip(
        packets.fragments(packets.udp(BODY, src=source, dst=destination), 1480), (5060, 0), strict=True
    ):
        packet = bench.give(frame[:100], orig_len=len(frame))
        assert packet is not None and packet.truncated and not packet.reassembled
        assert packet.src_port == ports
    assert bench.counted() == {}


def test_atomic_ipv6_fragments_are_whole_packets() -> None:
    packet = Bench.of().give(fragment6(BODY[:100], 0, False))
    assert packet is not None and packet.payload == BODY[:100] and not packet.reassembled


PIECES = st.lists(
    st.tuples(
        st.integers(0, 2),  # which datagram
        st.integers(0, 6),  # offset, in units of eight
        st.one_of(st.sampled_from([8, 16, 24]), st.integers(0, 30)),
        st.booleans(),
        st.sampled_from([0, 0, 0, 1]),  # which contents
        st.sampled_from([0, 0, 0, 0, 0, 1, 13]),  # seconds later
    ),
    max_size=40,
)


@pytest.mark.parametrize(("make", "head"), [(fragment4, 20), (fragment6, 0)], ids=["v4", "v6"])
@settings(max_examples=400, deadline=None)
@given(pieces=PIECES)
def test_any_fragments_fare_as_in_the_oracle(
    make: Maker, head: int, pieces: list[tuple[int, int, int, bool, int, int]]
) -> None:
    bench = Bench.of(DecoderConfig(ip_reassembly=ReassemblyConfig(max_fragments_per_datagram=5, timeout=30.0)))
    oracle = Reassembler(timeout=30 * SECOND, max_per_datagram=5)
    contents = [body(256, seed) for seed in (0, 1)]
    now = 0
    for which, unit, length, more, seed, later in pieces:
        if unit == 0 and not more:
            continue  # no fragment
        now += later * SECOND
        oracle.advance(now)
        data = contents[seed][unit * 8 :][:length]
        expected = oracle.add(which, Piece(unit * 8, data, more, head))
        packet = bench.give(make(data, unit * 8, more, identification=which), timestamp=now)
        assert (None if packet is None else packet.payload) == expected
        assert bench.ends() == {name: oracle.counters[name] for name in bench.ends()}
    oracle.finish()
    bench.decoder.finish()
    assert bench.ends() == {name: oracle.counters[name] for name in bench.ends()}


@settings(max_examples=100, deadline=None)
@given(data=st.binary(min_size=1, max_size=6000), size=st.integers(8, 1500), seed=st.integers(0, 2**32))
def test_any_order_and_any_copies_give_the_datagram_back(data: bytes, size: int, seed: int) -> None:
    bench = Bench.of()
    frames = packets.fragments(packets.udp(data, identification=77), size)
    shuffled = [*frames, *frames[1::3]]
    random.Random(seed).shuffle(shuffled)
    made = [packet for frame in shuffled if (packet := bench.give(frame))]
    assert made[0].payload == data
    assert bench.accounts["fragments_merged"] >= len(frames) - 1
