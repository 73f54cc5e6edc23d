"""pcapng files: sections, interfaces, clocks and every kind of packet block."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pcap.files import (
    ENHANCED,
    INTERFACE,
    PACKET,
    SECTION,
    SIMPLE,
    block,
    enhanced,
    interface,
    obsolete,
    option,
    pcapng,
    read_bytes,
    section,
    simple,
)

START = section() + interface()
TOO_LONG = 16 * 1024 * 1024 + 4
LATEST = 1 << 62


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_all_packet_blocks_in_both_byte_orders(tmp_path: Path, order: str) -> None:
    data = (
        section(order)
        + interface(order=order)
        + interface(113, order=order)
        + enhanced(b"enhanced", 1_700_000_000_000_001, 1, order, option(1, b"a comment", order), orig_len=900)
        + block(0x0BAD, b"\xff" * 31, order)
        + obsolete(b"obsolete", 5, 0, order)
        + simple(b"simple", order=order)
    )
    found = read_bytes(tmp_path, data)
    assert not found.errors
    assert [(f.timestamp, f.data, f.orig_len, f.interface_index, f.link_type) for f in found.frames] == [
        (1_700_000_000_000_001_000, b"enhanced", 900, 1, 113),
        (5000, b"obsolete", 8, 0, 1),
        (0, b"simple", 6, 0, 1),
    ]


def test_each_section_has_its_own_byte_order_and_interfaces(tmp_path: Path) -> None:
    first = section() + interface(1) + interface(101) + enhanced(b"a", number=1)
    second = section(">") + interface(113, order=">") + enhanced(b"b", order=">")
    third = section() + enhanced(b"c")
    found = read_bytes(tmp_path, first + second + third)
    assert [(f.data, f.link_type) for f in found.frames] == [(b"a", 101), (b"b", 113)]
    assert "names interface 0, and the section describes 0" in found.errors[0].reason


def _clock(resolution: int | None = None, offset: int | None = None) -> bytes:
    options = b"" if resolution is None else option(9, bytes([resolution]))
    return options if offset is None else options + option(14, struct.pack("<q", offset))


@pytest.mark.parametrize(
    ("options", "ticks", "expected"),
    [
        pytest.param(b"", 1, 1000, id="micro by default"),
        pytest.param(_clock(9), 1_700_000_000_123_456_789, 1_700_000_000_123_456_789, id="nano"),
        pytest.param(_clock(3), 1_700_000_000_123, 1_700_000_000_123_000_000, id="milli"),
        pytest.param(_clock(0), 1_700_000_000, 1_700_000_000 * 10**9, id="seconds"),
        pytest.param(_clock(12), 1_700_000_000_123_456, 1_700_000_000_123, id="pico"),
        pytest.param(_clock(0x80 | 10), 1_700_000_000 * 1024 + 512, 1_700_000_000_500_000_000, id="2^-10"),
        pytest.param(_clock(0x80 | 63), (1 << 63) + (1 << 62), 1_500_000_000, id="2^-63"),
        pytest.param(_clock(0x80), 7, 7 * 10**9, id="2^0"),
        pytest.param(_clock(offset=1_700_000_000), 0, 1_700_000_000 * 10**9, id="offset alone"),
        pytest.param(_clock(9, -10), 15 * 10**9 + 1, 5 * 10**9 + 1, id="negative offset"),
        pytest.param(_clock(9, -10), 5, 0, id="before 1970"),
        pytest.param(_clock(6), 2**64 - 1, LATEST, id="after 2116"),
        pytest.param(_clock(6, 2**63 - 1), 2**64 - 1, LATEST, id="offset too large"),
        pytest.param(_clock(6, -(2**63)), 2**64 - 1, 0, id="offset too small"),
        pytest.param(_clock(100), 2**64 - 1, 10**9, id="10^-100: as fine as can be counted"),
        pytest.param(_clock(0xFF), 2**63, 500_000_000, id="2^-127: likewise"),
        pytest.param(option(9, b""), 1, 1000, id="resolution without a byte"),
        pytest.param(option(14, b"abc"), 1, 1000, id="offset of three bytes"),
        pytest.param(option(0, b"") + _clock(9), 1, 1000, id="after the end of options"),
    ],
)
def test_an_interface_s_clock(tmp_path: Path, options: bytes, ticks: int, expected: int) -> None:
    data = section() + interface(options=option(2, b"eth0") + options) + enhanced(b"x", ticks)
    assert read_bytes(tmp_path, data).times == [expected]


@pytest.mark.parametrize(
    ("snaplen", "orig_len", "expected"),
    [(0, 4, b"abcd"), (2, 9, b"ab"), (0, 3, b"abc"), (100, 900, b"abcd")],
    ids=["whole", "cut by the snap length", "padded", "cut by its block"],
)
def test_a_simple_packet_s_length_is_worked_out(tmp_path: Path, snaplen: int, orig_len: int, expected: bytes) -> None:
    (frame,) = read_bytes(tmp_path, section() + interface(snaplen=snaplen) + simple(b"abcd", orig_len)).frames
    assert (frame.data, frame.orig_len) == (expected, orig_len)


@pytest.mark.parametrize(
    ("bad", "reason", "place"),
    [
        pytest.param(block(9, b"", length=8), "length of 8", 4, id="shorter than a block"),
        pytest.param(block(9, b"", length=0), "length of 0", 4, id="no length"),
        pytest.param(block(9, b"ab", length=14), "length of 14", 4, id="no multiple of 4"),
        pytest.param(block(9, b"", length=TOO_LONG), f"length of {TOO_LONG}", 4, id="too long"),
        pytest.param(block(9, b"abcd", trailer=20), "two lengths differ: 16 and 20", 12, id="trailer"),
        pytest.param(enhanced(b"x", number=1), "names interface 1", 8, id="interface"),
        pytest.param(enhanced(b"x", capture_len=5), "claims a packet of 5", 20, id="packet beyond its block"),
        pytest.param(enhanced(b"x", capture_len=0xFFFFFFFF), "claims 4294967295 bytes", 20, id="packet without bound"),
        pytest.param(block(ENHANCED, bytes(16)), "of 28 bytes is too short", 4, id="enhanced too short"),
        pytest.param(block(PACKET, bytes(16)), "of 28 bytes is too short", 4, id="obsolete too short"),
        pytest.param(block(SIMPLE, b""), "of 12 bytes is too short", 4, id="simple too short"),
        pytest.param(block(INTERFACE, bytes(4)), "of 16 bytes is too short", 4, id="interface too short"),
        pytest.param(interface(options=struct.pack("<HH", 2, 5)), "option claims 5 bytes", 16, id="option"),
        pytest.param(block(SECTION, b"\x4d\x3c\x2b\x1a"), "of 16 bytes is too short", 4, id="section too short"),
        pytest.param(block(SECTION, bytes(16)), "byte-order magic is 0x00000000", 8, id="byte order"),
        pytest.param(section(version=(2, 0)), "pcapng version 2.0", 12, id="version"),
    ],
)
def test_damage_ends_the_file_and_has_a_place(tmp_path: Path, bad: bytes, reason: str, place: int) -> None:
    found = read_bytes(tmp_path, START + enhanced(b"good") + bad + enhanced(b"lost"))
    assert found.data == [b"good"]
    (error,) = found.errors
    assert reason in error.reason
    assert error.offset == len(START) + len(enhanced(b"good")) + place


def test_a_simple_packet_needs_an_interface(tmp_path: Path) -> None:
    assert "names interface 0" in read_bytes(tmp_path, section() + simple(b"x")).errors[0].reason


def test_version_1_2_is_read(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, section(version=(1, 2)) + interface() + enhanced(b"x")).data == [b"x"]


def test_a_block_larger_than_a_chunk_is_skipped_and_so_are_large_options(tmp_path: Path) -> None:
    huge = block(0x0BAD, bytes(3_000_000))
    commented = enhanced(b"y", options=b"".join(option(1, bytes(60_000)) for _ in range(20)))
    found = read_bytes(tmp_path, START + enhanced(b"x") + huge + commented + enhanced(b"z" * 1000) * 3000)
    assert not found.errors
    assert found.data == [b"x", b"y", *[b"z" * 1000] * 3000]


def test_a_section_has_a_bounded_number_of_interfaces(tmp_path: Path) -> None:
    found = read_bytes(tmp_path, section() + interface() * 65537)
    assert "more than 65536 interfaces" in found.errors[0].reason


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2**31), st.binary(max_size=400)), max_size=40))
def test_what_dpkt_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[int, bytes]]
) -> None:
    file = io.BytesIO()
    writer = dpkt.pcapng.Writer(file)
    for seconds, data in frames:
        writer.writepkt(data, ts=seconds)
    found = read_bytes(tmp_path_factory.getbasetemp(), file.getvalue())
    assert not found.errors
    assert [(f.timestamp, f.data) for f in found.frames] == [(s * 10**9, d) for s, d in frames]


@settings(max_examples=100)
@given(
    st.integers(0, 9) | st.integers(0x80, 0x80 + 63),
    st.integers(0, 2**64 - 1),
    st.integers(-(2**40), 2**40),
)
def test_any_time_is_what_exact_arithmetic_says(
    tmp_path_factory: pytest.TempPathFactory, resolution: int, ticks: int, offset: int
) -> None:
    units = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    exact = ticks * 10**9 // units + offset * 10**9
    data = section() + interface(options=_clock(resolution, offset)) + enhanced(b"x", ticks)
    (time,) = read_bytes(tmp_path_factory.getbasetemp(), data).times
    seconds = ticks // units + offset
    assert time == (exact if 0 <= seconds < LATEST // 10**9 else LATEST if seconds > 0 else 0)


def test_pcapng_helper_agrees_with_dpkt() -> None:
    assert [data for _, data in dpkt.pcapng.Reader(io.BytesIO(pcapng([b"abc", b"de"])))] == [b"abc", b"de"]
