"""Frames of a file are shared by the unordered pair of outer addresses: both directions and all fragments
in one shard.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_core import FRAME_INDEX_FORMAT, FrameBatch, RawPacket, Shard
from tests.pcap.files import ethernet

ADDRESS = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


def wrapped(packet: bytes, version: int) -> dict[str, tuple[int, bytes]]:
    """One IP packet behind every link header that is looked through: name → (link type, frame)."""
    ethertype = b"\x08\x00" if version == 4 else b"\x86\xdd"
    ppp = b"\x00\x21" if version == 4 else b"\x00\x57"
    macs = bytes(12)
    return {
        "ethernet": (1, macs + ethertype + packet),
        "vlan": (1, macs + b"\x81\x00\x00\x05" + ethertype + packet),
        "three tags": (1, macs + b"\x88\xa8\x00\x01\x91\x00\x00\x02\x81\x00\x00\x03" + ethertype + packet),
        "vn-tag": (1, macs + b"\x89\x26\x00\x00\x00\x00\x81\x00\x00\x03" + ethertype + packet),
        "pppoe": (1, macs + b"\x88\x64\x11\x00\x00\x01" + struct.pack("!H", len(packet) + 2) + ppp + packet),
        "mpls": (1, macs + b"\x88\x47\x00\x01\x00\xff\x00\x02\x01\xff" + packet),
        "cooked": (113, bytes(14) + ethertype + packet),
        "cooked 2": (276, ethertype + bytes(18) + packet),
        "null": (0, (b"\x02" if version == 4 else b"\x1e") + bytes(3) + packet),
        "loop": (108, bytes(3) + (b"\x02" if version == 4 else b"\x1e") + packet),
        "nflog": (239, b"\x02\x00\x00\x00" + struct.pack("<HH", len(packet) + 4, 9) + packet),
        "raw": (101, packet),
        "ip": (228 if version == 4 else 229, packet),
        "ppp": (9, b"\xff\x03" + ppp + packet),
        "ppp, short": (9, ppp[1:] + packet),
        "hdlc": (104, b"\x0f\x00" + ethertype + packet),
        "ppp_ether": (51, b"\x11\x00\x00\x01" + struct.pack("!H", len(packet) + 2) + ppp + packet),
    }


@cache
def all_shards(shards: int) -> list[Shard]:
    return [Shard(n, shards) for n in range(shards)]


def shard_of(frame: bytes, link_type: int, shards: int) -> int:
    """The one shard that owns a frame."""
    (only,) = [shard.shard for shard in all_shards(shards) if shard.owns(frame, link_type)]
    return only


@given(ADDRESS, st.data(), st.integers(2, 7))
def test_both_directions_meet_behind_every_link_header(src: bytes, data: st.DataObject, shards: int) -> None:
    dst = data.draw(st.binary(min_size=len(src), max_size=len(src)))
    version = 4 if len(src) == 4 else 6
    there = wrapped(ethernet(src, dst)[14:], version)
    back = wrapped(ethernet(dst, src, b"another payload")[14:], version)
    shard = {shard_of(frame, link_type, shards) for link_type, frame in [*there.values(), *back.values()]}
    assert len(shard) == 1
    assert shard < set(range(shards))


def shards_of(make: Callable[[int], bytes], link_type: int = 1) -> set[int]:
    """The shards of sixty hosts' frames, of 1,000: one shard alone means that their addresses were not looked at."""
    return {shard_of(make(n), link_type, 1000) for n in range(1, 61)}


@pytest.mark.parametrize("version", [4, 6])
def test_addresses_count_when_all_of_them_are_there_and_no_sooner(version: int) -> None:
    """A frame cut behind its last address byte is of its hosts' shard; one that is a byte shorter than an IP header
    goes to shard 0.
    """
    header = 20 if version == 4 else 40
    width = 4 if version == 4 else 16

    def cut(length: int) -> set[int]:
        return shards_of(lambda n: ethernet(n.to_bytes(width, "big"), bytes(width))[: 14 + length])

    assert len(cut(header)) > 50
    for length in (0, 1, 12, header // 2, header - 1):
        assert cut(length) == {0}


@pytest.mark.parametrize(
    "mac",
    [
        pytest.param(b"\x45\x00\xff\xff\x00\x01", id="4"),
        pytest.param(b"\x60\x00\x00\x00\xff\xff", id="6"),
        pytest.param(b"\x60\x00\x00\x00\x00\x20", id="6, with room for the length and not for the header"),
    ],
)
def test_behind_labels_a_mac_address_that_begins_like_an_ip_header_is_none(mac: bytes) -> None:
    """The length tells a pseudowire from IP (RFC 4928 §3), as for the decoder: the addresses that count are those
    inside.
    """

    def labelled(n: int) -> bytes:
        inside = mac + ethernet(n.to_bytes(4, "big"), bytes(4))[6:]
        return bytes(12) + b"\x88\x47\x00\x02\x01\xff" + inside

    assert len(shards_of(labelled)) > 50
    assert [shard_of(labelled(n), 1, 1000) for n in (1, 2)] == [
        shard_of(ethernet(n.to_bytes(4, "big"), bytes(4)), 1, 1000) for n in (1, 2)
    ]


def test_as_many_tags_as_the_decoder_follows_are_followed() -> None:
    def tagged(n: int, count: int) -> bytes:
        return bytes(12) + b"\x81\x00\x00\x05" * count + ethernet(n.to_bytes(4, "big"), bytes(4))[12:]

    assert len(shards_of(lambda n: tagged(n, 8))) > 50


@pytest.mark.parametrize(
    ("link_type", "frame"),
    [
        pytest.param(1, b"", id="empty"),
        pytest.param(1, bytes(12) + b"\x08\x06" + bytes(28), id="arp"),
        pytest.param(1, bytes(12) + b"\x00\x20" + bytes(40), id="802.3"),
        pytest.param(1, ethernet(b"abcd", b"efgh")[:33], id="cut inside the addresses"),
        pytest.param(1, bytes(12) + b"\x81\x00\x00\x01" * 100, id="tags without end"),
        pytest.param(1, bytes(12) + b"\x88\x47" + bytes(400), id="labels without end"),
        pytest.param(147, ethernet(b"abcd", b"efgh"), id="a link type that is not read"),
        pytest.param(0, b"\x02\x00\x00\x00" + ethernet(bytes(16), bytes(16))[14:], id="IPv6 that is told to be IPv4"),
        pytest.param(101, b"\x50" * 40, id="IP version 5"),
    ],
)
def test_what_is_not_plainly_ip_goes_to_shard_0(link_type: int, frame: bytes) -> None:
    assert shard_of(frame, link_type, 5) == 0


@given(
    st.binary(max_size=80), st.sampled_from([0, 1, 9, 50, 51, 101, 104, 108, 113, 228, 276, 65535]), st.integers(1, 9)
)
def test_any_bytes_have_a_shard(frame: bytes, link_type: int, shards: int) -> None:
    assert 0 <= shard_of(frame, link_type, shards) < shards


def test_addresses_are_spread_evenly() -> None:
    """Within 5 standard deviations of an even share, for neighbouring addresses too."""
    for size in (4, 16):
        frames = [
            ethernet(n.to_bytes(size, "big"), (1 << 24 | m).to_bytes(size, "big"))
            for n in range(100)
            for m in range(100)
        ]
        for shards in (2, 3, 4, 8):
            counts = [0] * shards
            for frame in frames:
                counts[shard_of(frame, 1, shards)] += 1
            even = len(frames) / shards
            assert all(abs(count - even) < 5 * (even * (1 - 1 / shards)) ** 0.5 for count in counts), (shards, counts)


def test_an_index_is_narrowed_in_place_and_in_order() -> None:
    frames = [ethernet(bytes([10, 0, 0, n]), b"\x0a\x00\x01\x01") for n in range(40)]
    batch = FrameBatch.from_frames(list(enumerate(frames)))
    data = b"".join(frames)
    records = [(n, n * len(frames[0]), len(frame), len(frame), 3, 1, 0) for n, frame in enumerate(frames)]
    given: list[RawPacket] = []
    for n in range(3):
        index = bytearray(b"".join(struct.pack(FRAME_INDEX_FORMAT, *record) for record in records))
        kept = Shard(n, 3).select(data, index, len(records))
        share = list(FrameBatch(data, index, kept))
        assert [frame.data for frame in share] == [f for f in frames if Shard(n, 3).owns(f)]
        assert [frame.timestamp for frame in share] == sorted(frame.timestamp for frame in share)
        assert all(frame.interface_index == 3 for frame in share)
        given += share
    assert sorted(frame.timestamp for frame in given) == [frame.timestamp for frame in batch]


@pytest.mark.parametrize(
    ("record", "count"),
    [
        pytest.param((0, 11, 0, 0, 0, 1, 0), 1, id="begins behind the buffer"),
        pytest.param((0, 5, 6, 6, 0, 1, 0), 1, id="ends behind the buffer"),
        pytest.param((0, 2**63, 2**32 - 1, 0, 0, 1, 0), 1, id="offset that overflows"),
        pytest.param((0, 0, 10, 10, 0, 1, 0), 2, id="fewer records than told"),
        pytest.param((0, 0, 10, 10, 0, 1, 0), -1, id="less than none"),
    ],
)
def test_a_record_outside_its_buffer_is_refused(record: tuple[int, ...], count: int) -> None:
    index = bytearray(struct.pack(FRAME_INDEX_FORMAT, *record))
    with pytest.raises(ValueError, match=r"outside|has no"):
        Shard(0, 2).select(bytes(10), index, count)


@pytest.mark.parametrize(("shard", "shards"), [(1, 1), (-1, 2), (0, 0), (2, 2)])
def test_there_is_no_such_shard(shard: int, shards: int) -> None:
    with pytest.raises(ValueError, match="no shard"):
        Shard(shard, shards)
