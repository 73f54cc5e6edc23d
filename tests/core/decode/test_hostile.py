"""Frames that are cut, nested, mutated or no IP at all cost one counter each, and no more."""

from __future__ import annotations

import random
import struct
import time
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otus_core.testing import packets
from tests.core.decode.frames import (
    FRAME,
    FRAME6,
    LINKS,
    PACKET,
    erf,
    eth,
    exported,
    ipv6,
    llc,
    nflog,
    radiotap,
    wireless,
)
from tests.core.decode.support import Bench, fragment4, fragment6
from tests.core.decode.test_tunnels import CASES as TUNNELLED
from tests.patience import keeps, took

SLOWEST_S = 0.01
LINK_TYPES = sorted({link_type for _, link_type, _ in LINKS})
SEEDS = [
    *((link_type, frame) for _, link_type, frame in LINKS),
    *((1, case.wrap(frame)) for case in TUNNELLED for frame in (FRAME, FRAME6)),
    (1, packets.vlan(FRAME, 1, 2)),
    (1, packets.mpls(FRAME6, 1, 2, 3)),
    (1, fragment4(b"x" * 64, 64, True, options=b"\1" * 8)),
    (1, fragment6(b"x" * 64, 64, True)),
    (1, packets.tcp(b"hello")),
]


def chain(count: int) -> bytes:
    """Give an IPv6 frame with ``count`` destination options headers."""
    headers = b"".join((b"\x3c" if i < count - 1 else b"\x11") + bytes(7) for i in range(count))
    return ipv6(60, headers + FRAME6[54:])


def nest(count: int, wrap: str) -> bytes:
    frame = FRAME
    for _ in range(count):
        frame = getattr(packets, wrap)(frame)
    return frame


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(nest(500, "ipip"), id="ipip x 500"),
        pytest.param(nest(500, "gre"), id="gre x 500"),
        pytest.param(nest(500, "vxlan"), id="vxlan x 500"),
        pytest.param(nest(500, "gtpu"), id="gtpu x 500"),
        pytest.param(nest(500, "erspan"), id="erspan x 500"),
        pytest.param(nest(500, "geneve"), id="geneve x 500"),
        pytest.param(chain(500), id="ipv6 extension headers x 500"),
        pytest.param(ipv6(44, (b"\x2c" + bytes(7)) * 500), id="ipv6 fragment headers x 500"),
        pytest.param(ipv6(51, b"\x33\x00" + (bytes(6) + b"\x33\0") * 500), id="ah x 500"),
        pytest.param(packets.ip(51, b"\x33\x00" + (bytes(6) + b"\x33\0") * 500), id="ah in ipv4 x 500"),
        pytest.param(packets.vlan(FRAME, *range(500)), id="tags x 500"),
        pytest.param(packets.mpls(FRAME, *range(500)), id="labels x 500"),
        pytest.param(eth(0x6558, eth(0x6558, b"") * 500), id="bridged ethernet x 500"),
        pytest.param(FRAME[:12] + (b"\5\0\xaa\xaa\x03\0\x80\xc2\0\7" + FRAME[:12]) * 70, id="bridged llc x 70"),
        pytest.param(eth(0x8847, (struct.pack("!I", 1 << 8) + FRAME[:12] + b"\x88\x47") * 500), id="pseudowires x 500"),
    ],
)  # fmt: skip
def test_nesting_is_bounded_by_a_loop(frame: bytes) -> None:
    bench = Bench.of()
    assert bench.give(frame) is None
    assert bench.counted() == {"decode:too_deep": 1}


def test_nesting_up_to_the_limit_is_read() -> None:
    for wrap in ("ipip", "gre", "vxlan", "gtpu", "erspan", "geneve"):
        packet = Bench.of().give(nest(8, wrap))
        assert packet is not None and packet.payload == b"hello"
        assert Bench.of().give(nest(9, wrap)) is None
    packet = Bench.of().give(chain(32))
    assert packet is not None and packet.payload == b"hello"


@pytest.mark.parametrize(
    ("frame", "link_type", "reason"),
    [
        pytest.param(eth(0x0806, bytes(28)), 1, "not_ip", id="arp"),
        pytest.param(packets.vlan(eth(0x88CC, bytes(28)), 1), 1, "not_ip", id="lldp in a vlan"),
        pytest.param(llc(b"\x42\x42\x03" + bytes(35)), 1, "not_ip", id="spanning tree"),
        pytest.param(eth(1501, bytes(40)), 1, "not_ip", id="neither length nor ethertype"),
        pytest.param(eth(0x8863, bytes(40)), 1, "not_ip", id="pppoe discovery"),
        pytest.param(eth(0x8864, b"\x11\0\0\1\0\6\xc0\x21" + bytes(40)), 1, "not_ip", id="lcp"),
        pytest.param(packets.vxlan(eth(0x0806, bytes(28))), 1, "not_ip", id="arp in vxlan"),
        pytest.param(packets.ip(47, b"\0\0\x12\x34" + bytes(40)), 1, "not_ip", id="unknown protocol in gre"),
        pytest.param(packets.gtpu(FRAME)[:50] + bytes(60), 1, "not_ip", id="ppp in gtp-u"),
        pytest.param(b"", 1, "truncated", id="empty"),
        pytest.param(FRAME[:13], 1, "truncated", id="ethernet"),
        pytest.param(FRAME[:33], 1, "truncated", id="ipv4"),
        pytest.param(FRAME6[:53], 1, "truncated", id="ipv6"),
        pytest.param(packets.vxlan(FRAME)[:60], 1, "truncated", id="inside a tunnel"),
        pytest.param(eth(0x800, b"\x65" + PACKET[1:]), 1, "bad_header", id="ethertype ipv4, version 6"),
        pytest.param(eth(0x86DD, PACKET + bytes(40)), 1, "bad_header", id="ethertype ipv6, version 4"),
        pytest.param(eth(0x800, b"\x44" + PACKET[1:]), 1, "bad_header", id="header length below 20"),
        pytest.param(eth(0x800, b"\x45\0\0\x13" + PACKET[4:]), 1, "bad_header", id="total length below the header's"),
        pytest.param(ipv6(60, b"\x11\xff" + bytes(30)), 1, "bad_header", id="extension header past the packet"),
        pytest.param(ipv6(43, b""), 1, "bad_header", id="extension header missing"),
        pytest.param(bytes(64), 6, "unsupported_link", id="token ring"),
        pytest.param(bytes(64), 65535, "unsupported_link", id="unknown link type"),
        pytest.param(nflog(PACKET, family=7), 239, "not_ip", id="a bridge's nflog"),
        pytest.param(nflog(PACKET)[:24], 239, "not_ip", id="nflog without a packet"),
        pytest.param(nflog(PACKET, version=1), 239, "bad_header", id="nflog of another version"),
        pytest.param(b"\2\0\0\0" + b"\3\0\1\0" * 9, 239, "bad_header", id="nflog attribute shorter than its header"),
        pytest.param(b"\2\0\0\0" + b"\xff\xff\1\0" * 9, 239, "truncated", id="nflog attribute past the frame"),
        pytest.param(bytes(12) + PACKET, 109, "not_ip", id="enc without a family"),
        pytest.param(wireless(PACKET, 0x80), 105, "not_ip", id="802.11 beacon"),
        pytest.param(wireless(PACKET, 0x48), 105, "not_ip", id="802.11 without data"),
        pytest.param(wireless(PACKET, flags=0x41), 105, "not_ip", id="802.11 protected"),
        pytest.param(wireless(PACKET, flags=0x05), 105, "not_ip", id="802.11 fragment"),
        pytest.param(wireless(PACKET, 0x88, control=0x80), 105, "not_ip", id="802.11 aggregate"),
        pytest.param(
            b"\1" + radiotap("00000000", "", wireless(PACKET))[1:], 127, "bad_header", id="radiotap of another version"
        ),
        pytest.param(b"\0\0\7\0" + bytes(60), 127, "bad_header", id="radiotap shorter than its header"),
        pytest.param(b"\0\0\xff\xff" + bytes(60), 127, "truncated", id="radiotap past the frame"),
        pytest.param(b"\0\0\x40\0" + b"\xff" * 60, 127, "truncated", id="radiotap of nothing but presence"),
        pytest.param(erf(24, PACKET), 197, "not_ip", id="erf of another type"),
        pytest.param(
            erf(2, b"\x83" + bytes(7), extensions=1)[:16] + b"\x83" * 4096,
            197,
            "truncated",
            id="erf of nothing but extensions",
        ),
        pytest.param(exported(b"hello")[8:16] + bytes(4) + b"hello", 252, "not_ip", id="exported with one address"),
        pytest.param(bytes(4) + b"hello", 252, "not_ip", id="exported without addresses"),
        pytest.param(
            exported(b"hello", src="2001:db8::1"), 252, "bad_header", id="exported with two kinds of addresses"
        ),
        pytest.param(
            exported(b"").replace(b"\0\0\x13\xc4", b"\0\1\0\0"), 252, "bad_header", id="exported with no port"
        ),
        pytest.param(exported(b"")[:-4], 252, "truncated", id="exported without an end of its tags"),
    ],
)
def test_reasons(frame: bytes, link_type: int, reason: str) -> None:
    bench = Bench.of()
    assert bench.give(frame, link_type=link_type) is None
    assert bench.counted() == {f"decode:{reason}": 1}


@pytest.mark.parametrize("frame", [FRAME, FRAME6, packets.tcp(b"hello"), chain(2), packets.ipip(FRAME)], ids=range(5))
def test_a_snapped_packet_is_decoded_as_far_as_it_goes(frame: bytes) -> None:
    whole = Bench.of().give(frame)
    assert whole is not None and not whole.truncated
    for length in range(len(frame)):
        bench = Bench.of()
        packet = bench.give(frame[:length], orig_len=len(frame))
        if packet is None:
            assert bench.counted() == {"decode:truncated": 1}
            continue
        assert packet.truncated and packet.src_ip == whole.src_ip and packet.ip.total_len == whole.ip.total_len
        if packet.transport:
            assert packet.src_port == whole.src_port and whole.payload.startswith(packet.payload)
        else:
            assert packet.src_port == 0


@pytest.mark.parametrize(("link_type", "frame"), SEEDS, ids=range(len(SEEDS)))
def test_every_cut_of_every_seed_ends_in_one_counter(link_type: int, frame: bytes) -> None:
    bench = Bench.of()
    for length in range(len(frame) + 1):
        bench.give(frame[:length], link_type=link_type)
        bench.give(frame[:length], link_type=link_type, orig_len=len(frame))
        bench.give(frame[:length], link_type=link_type, orig_len=0)
    bench.decoder.finish()
    assert bench.accounts["fragments_held"] == 0


def test_mutated_seeds_end_in_one_counter_each_and_fast() -> None:
    bench = Bench.of()
    chance = random.Random(7)
    for _ in range(20_000):
        link_type, frame = chance.choice(SEEDS)
        mutated = bytearray(frame)
        for _ in range(chance.randrange(1, 6)):
            mutated[chance.randrange(len(mutated))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        begun = time.perf_counter()
        packet = bench.give(bytes(mutated), link_type=link_type)
        if time.perf_counter() - begun > SLOWEST_S:  # it, or the machine? who is slow is so each time
            keeps(SLOWEST_S, partial(took, partial(bench.give, bytes(mutated), link_type=link_type)))
        if packet:
            _read_everything(packet)


@settings(max_examples=500, deadline=None)
@given(data=st.binary(max_size=300), link_type=st.sampled_from(LINK_TYPES), orig_len=st.integers(0, 2**32 - 1))
def test_random_frames(data: bytes, link_type: int, orig_len: int) -> None:
    packet = Bench.of().give(data, link_type=link_type, orig_len=orig_len)
    if packet:
        _read_everything(packet)


def _read_everything(packet: object) -> None:
    for name in dir(type(packet)):
        if not name.startswith("_"):
            repr(getattr(packet, name))
