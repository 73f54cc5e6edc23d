"""Frames are shared by the unordered pair of outer addresses: both directions and all fragments in one shard."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_pcap.peek import shard_of_frame
from tests.pcap.files import enhanced, ethernet, interface, pcap, read_bytes, read_files, section

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
        "null": (0, b"\x02\x00\x00\x00" + packet),
        "loop": (108, b"\x00\x00\x00\x02" + packet),
        "raw": (101, packet),
        "ip": (228 if version == 4 else 229, packet),
        "ppp": (9, b"\xff\x03" + ppp + packet),
        "ppp, short": (9, ppp[1:] + packet),
        "hdlc": (104, b"\x0f\x00" + ethertype + packet),
        "ppp_ether": (51, bytes(6) + ppp + packet),
    }


@given(ADDRESS, st.data(), st.integers(2, 7))
def test_both_directions_meet_behind_every_link_header(src: bytes, data: st.DataObject, shards: int) -> None:
    dst = data.draw(st.binary(min_size=len(src), max_size=len(src)))
    version = 4 if len(src) == 4 else 6
    there = wrapped(ethernet(src, dst)[14:], version)
    back = wrapped(ethernet(dst, src, b"another payload")[14:], version)
    shard = {shard_of_frame(frame, link_type, shards) for link_type, frame in [*there.values(), *back.values()]}
    assert len(shard) == 1
    assert shard < set(range(shards))


def shards_of(make: Callable[[int], bytes], link_type: int = 1) -> set[int]:
    """The shards of sixty hosts' frames, of 1,000: one shard alone means that their addresses were not looked at."""
    return {shard_of_frame(make(n), link_type, 1000) for n in range(1, 61)}


@pytest.mark.parametrize("version", [4, 6])
def test_addresses_count_when_all_of_them_are_there_and_no_sooner(version: int) -> None:
    """A frame cut behind its last address byte is of its hosts' shard; one that is a byte shorter than an IP header goes to shard 0."""
    header = 20 if version == 4 else 40
    width = 4 if version == 4 else 16

    def cut(length: int) -> set[int]:
        return shards_of(lambda n: ethernet(n.to_bytes(width, "big"), bytes(width))[: 14 + length])

    assert len(cut(header)) > 50
    for length in (0, 1, 12, header // 2, header - 1):
        assert cut(length) == {0}


@pytest.mark.parametrize(("version", "behind"), [(4, 20), (6, 40)])
def test_behind_labels_it_is_ip_only_if_its_length_fits(version: int, behind: int) -> None:
    """A pseudowire's MAC address may begin like an IP header: the length tells (RFC 4928 §3). That of IPv6 leaves out its header."""
    width = 4 if version == 4 else 16

    def labelled(n: int, more: int) -> bytes:
        packet = bytearray(ethernet(n.to_bytes(width, "big"), bytes(width), b"12345678")[14:])
        field = 2 if version == 4 else 4
        struct.pack_into("!H", packet, field, len(packet) - (0 if version == 4 else 40) + more)
        assert len(packet) == behind + 8
        return bytes(12) + b"\x88\x47\x00\x02\x01\xff" + bytes(packet)

    assert len(shards_of(lambda n: labelled(n, 0))) > 50
    assert shards_of(lambda n: labelled(n, 1)) == {0}


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
        pytest.param(105, ethernet(b"abcd", b"efgh"), id="a link type that is not looked through"),
        pytest.param(101, b"\x50" * 40, id="IP version 5"),
    ],
)
def test_what_is_not_plainly_ip_goes_to_shard_0(link_type: int, frame: bytes) -> None:
    assert shard_of_frame(frame, link_type, 5) == 0


@given(
    st.binary(max_size=80), st.sampled_from([0, 1, 9, 50, 51, 101, 104, 108, 113, 228, 276, 65535]), st.integers(1, 9)
)
def test_any_bytes_have_a_shard(frame: bytes, link_type: int, shards: int) -> None:
    assert 0 <= shard_of_frame(frame, link_type, shards) < shards


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
                counts[shard_of_frame(frame, 1, shards)] += 1
            even = len(frames) / shards
            assert all(abs(count - even) < 5 * (even * (1 - 1 / shards)) ** 0.5 for count in counts), (shards, counts)


@pytest.mark.parametrize("shards", [2, 3, 5])
def test_shards_partition_a_file(tmp_path: Path, shards: int) -> None:
    """Every frame is in exactly one shard, in order, with its time; the damage at the end is reported once."""
    chance = random.Random(shards)
    hosts = [chance.randbytes(4) for _ in range(40)] + [chance.randbytes(16) for _ in range(40)]
    packets = []
    for n in range(5000):
        src, dst = chance.choice(hosts), chance.choice(hosts)
        frame = (
            ethernet(src, dst, n.to_bytes(4, "big")) if len(src) == len(dst) else bytes(12) + b"\x08\x06" + bytes(28)
        )
        packets.append(enhanced(frame, n))
    whole = section() + interface() + b"".join(packets)
    alone = read_bytes(tmp_path, whole[:-3])
    shared = [read_files(tmp_path / "capture", shard=n, shards=shards) for n in range(shards)]
    assert sorted(t for each in shared for t in each.times) == alone.times
    assert all(each.times == sorted(each.times) for each in shared)
    assert all(len(each.frames) > len(alone.frames) / shards / 4 for each in shared)
    assert [len(each.errors) for each in shared] == [1] + [0] * (shards - 1)


def test_every_shard_reads_on_after_a_damaged_file(tmp_path: Path) -> None:
    frames = [ethernet(bytes([10, 0, 0, n]), b"\x0a\x00\x01\x01") for n in range(100)]
    (tmp_path / "damaged").write_bytes(pcap(frames)[:-1])
    (tmp_path / "good").write_bytes(pcap(frames))
    names = [tmp_path / name for name in ("damaged", "absent", "good")]
    shared = [read_files(*names, shard=n, shards=3) for n in range(3)]
    assert sum(len(each.frames) for each in shared) == 199
    assert [len(each.errors) for each in shared] == [2, 0, 0]
