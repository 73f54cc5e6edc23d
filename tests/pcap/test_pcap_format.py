"""pcap files: byte orders, resolutions, versions and variants, against bytes made by hand and by dpkt."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pcap.files import MICRO, MODIFIED, NANO, pcap, pcap_header, pcap_record, read_bytes

FRAMES = [b"first frame of them", b"", b"\xff" * 60]


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize(
    ("magic", "fraction_ns", "extra"),
    [
        pytest.param(MICRO, 1000, b"", id="micro"),
        pytest.param(NANO, 1, b"", id="nano"),
        pytest.param(MODIFIED, 1000, bytes(8), id="modified"),
    ],
)
def test_every_variant_in_both_byte_orders(
    tmp_path: Path, order: str, magic: int, fraction_ns: int, extra: bytes
) -> None:
    records = [pcap_record(data, 1700000000, 123456, order, 99, extra) for data in FRAMES]
    found = read_bytes(tmp_path, pcap_header(order, magic, 113) + b"".join(records))
    assert found.data == FRAMES
    assert not found.errors
    for frame in found.frames:
        assert frame.timestamp == 1700000000 * 10**9 + 123456 * fraction_ns
        assert (frame.orig_len, frame.link_type, frame.interface_index) == (99, 113, 0)


@pytest.mark.parametrize(
    ("version", "lengths", "expected"),
    [
        pytest.param((2, 4), (4, 9), (4, 9), id="2.4: captured, then on the wire"),
        pytest.param((2, 3), (4, 9), (4, 9), id="2.3: as today"),
        pytest.param((2, 3), (9, 4), (4, 9), id="2.3: the other way round, which only one order makes sense of"),
        pytest.param((2, 2), (9, 4), (4, 9), id="2.2: on the wire, then captured"),
        pytest.param((543, 0), (9, 4), (4, 9), id="543.0: DG/UX"),
    ],
)
def test_old_versions_have_their_lengths_swapped(
    tmp_path: Path, version: tuple[int, int], lengths: tuple[int, int], expected: tuple[int, int]
) -> None:
    data = pcap_header(version=version) + struct.pack("<IIII", 1, 0, *lengths) + b"abcd"
    (frame,) = read_bytes(tmp_path, data).frames
    assert (frame.capture_len, frame.orig_len) == expected
    assert frame.data == b"abcd"


@pytest.mark.parametrize(
    ("field", "link_type"),
    [(1, 1), (0x14000001, 1), (0xF4000065, 101), (0x03FF0001, 1), (276, 276)],
    ids=["plain", "2 bytes of FCS", "14 bytes of FCS", "reserved bits", "above 255"],
)
def test_the_upper_half_of_the_link_type_is_not_part_of_it(tmp_path: Path, field: int, link_type: int) -> None:
    (frame,) = read_bytes(tmp_path, pcap([b"x"], link_type=field)).frames
    assert frame.link_type == link_type


def test_times_may_go_back_and_fractions_may_be_too_large(tmp_path: Path) -> None:
    times = [(9, 0), (5, 1_500_000), (0xFFFFFFFF, 0xFFFFFFFF)]
    data = pcap_header() + b"".join(pcap_record(b"x", seconds, fraction) for seconds, fraction in times)
    assert read_bytes(tmp_path, data).times == [s * 10**9 + f * 1000 for s, f in times]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        pytest.param(pcap_header(version=(1, 4)), "pcap version 1.4 is not supported", id="too old"),
        pytest.param(b"GMBU" + bytes(60), "Microsoft Network Monitor 2", id="netmon"),
        pytest.param(b"snoop\0\0\0" + bytes(60), "snoop", id="snoop"),
        pytest.param(bytes.fromhex("28b52ffd") + bytes(60), "zstd", id="zstd"),
        pytest.param(bytes.fromhex("ab01001c") + bytes(60), "IXIA", id="ixia"),
        pytest.param(b"GET / HTTP/1.1\r\n", "not a pcap or pcapng file (starts with 47 45 54 20", id="text"),
        pytest.param(b"\x1b]0;owned\x07\x1b", "starts with 1b 5d 30 3b 6f 77 6e 65", id="escapes"),
        pytest.param(b"ab", "not a pcap or pcapng file (starts with 61 62)", id="two bytes"),
        pytest.param(b"", "it is empty", id="empty"),
    ],
)
def test_what_is_no_pcap_file_is_named(tmp_path: Path, header: bytes, reason: str) -> None:
    found = read_bytes(tmp_path, header)
    assert not found.frames
    (error,) = found.errors
    assert reason in error.reason
    assert error.source == str(tmp_path / "capture")
    assert str(error).isprintable()


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2**31), st.binary(max_size=400)), max_size=60),
    st.booleans(),
    st.sampled_from([1, 101, 113]),
)
def test_what_dpkt_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[int, bytes]], nano: bool, link_type: int
) -> None:
    file = io.BytesIO()
    writer = dpkt.pcap.Writer(file, linktype=link_type, nano=nano)
    for seconds, data in frames:
        writer.writepkt(data, ts=seconds)
    found = read_bytes(tmp_path_factory.getbasetemp(), file.getvalue())
    assert not found.errors
    assert [(f.timestamp, f.data, f.link_type) for f in found.frames] == [(s * 10**9, d, link_type) for s, d in frames]


def test_frames_larger_than_a_chunk_and_batches_of_tiny_ones(tmp_path: Path) -> None:
    frames = [b"s" * 262144, b"", *(bytes([n % 256]) for n in range(10_000)), b"e" * 262144, b"last"]
    found = read_bytes(tmp_path, pcap(frames))
    assert found.data == frames
    assert not found.errors
