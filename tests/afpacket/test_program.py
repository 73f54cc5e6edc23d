"""Programs that are put together run as they should: otus_pcap's interpreter is the judge, and the kernel in
test_sockets.
"""

from __future__ import annotations

import pytest

import otus_core
from otus_afpacket import program
from otus_core.testing import packets
from otus_pcap.bpf import Program

BROKER = ("10.0.0.1", 40000, "10.0.0.9", 9092)
METRICS = ("10.0.0.1", 9091, "10.0.0.5", 50000)


def kept(code: bytes, frame: bytes) -> int:
    """Give how many bytes of a frame the program keeps."""
    return int(Program(code)(frame))


def accepted(code: bytes, frame: bytes) -> bool:
    return bool(kept(code, frame))


def test_everything_is_taken_and_nothing() -> None:
    frame = packets.udp(b"x")
    assert accepted(program.accept(100), frame)
    assert not accepted(program.NOTHING, frame)


def test_cut_changes_only_what_is_returned() -> None:
    code = otus_core.compile_bpf("udp port 5060")
    cut = program.cut(code, 96)
    kept = [k for code_, _, _, k in program.INSTRUCTION.iter_unpack(cut) if code_ == program.RET_K]
    assert set(kept) == {0, 96}
    assert len(cut) == len(code)


@pytest.mark.parametrize(
    ("frame", "taken"),
    [
        (packets.tcp(b"x", src="10.0.0.1", dst="10.0.0.9", src_port=40000, dst_port=9092), False),
        (packets.tcp(b"x", src="10.0.0.9", dst="10.0.0.1", src_port=9092, dst_port=40000), False),
        (packets.tcp(b"x", src="10.0.0.7", dst="10.0.0.9", src_port=40000, dst_port=9092), True),
        (packets.tcp(b"x", src="10.0.0.1", dst="10.0.0.9", src_port=9092, dst_port=40000), True),
        (packets.udp(b"x", src="10.0.0.1", dst="10.0.0.9", src_port=40000, dst_port=9092), True),
        (packets.tcp(b"x", src="10.0.0.5", dst="10.0.0.1", src_port=50000, dst_port=9091), False),
        (packets.tcp(b"x", src="10.0.0.1", dst="10.0.0.5", src_port=9091, dst_port=50000), False),
        (packets.tcp(b"x", src="10.0.0.5", dst="10.0.0.6", src_port=50000, dst_port=9091), True),
        (packets.tcp(b"x", src="10.0.0.1", dst="10.0.0.9", src_port=5060, dst_port=9092), True),
        (packets.tcp(b"x", src="10.0.0.5", dst="10.0.0.1", src_port=5060, dst_port=9091), True),
        (packets.tcp(b"x", src="10.0.0.1", dst="10.0.0.7", src_port=9091, dst_port=5060), True),
    ],
    ids=[
        "to broker",
        "from broker",
        "another's",
        "port the other way",
        "udp",
        "scrape",
        "scraped",
        "another's scrape",
        "SIP to the broker's port",
        "SIP to the port of metrics",
        "SIP from the port of metrics",
    ],
)
def test_own_connections_are_left_out(frame: bytes, taken: bool) -> None:
    guard = program.connections_guard([BROKER, METRICS], 1)
    assert kept(program.put_mark_behind(program.accept(65535), guard), frame) == (65535 if taken else program.MARK)
    filtered = program.put_mark_behind(program.cut(otus_core.compile_bpf("udp port 5060"), 96), guard)
    assert kept(filtered, frame) == 0  # what the filter refuses is not Otus's to count
    assert kept(filtered, packets.udp(b"x")) == 96


@pytest.mark.parametrize("expression", ["", "udp port 5060", "tcp or udp or icmp", "ip6 and not tcp", "less 100"])
def test_what_was_marked_can_be_taken_apart(expression: str) -> None:
    filtered = otus_core.compile_bpf(expression) if expression else program.accept(262_144)
    guard = program.connections_guard([BROKER, METRICS], 1)
    assert program.remove_mark(program.put_mark_behind(filtered, guard)) == filtered
    assert program.remove_mark(filtered) == filtered


def test_without_connections_nothing_is_added() -> None:
    assert program.put_mark_behind(program.NOTHING, program.connections_guard([], 1)) == program.NOTHING


def test_the_number_of_connections_is_bounded() -> None:
    many = [("10.0.0.1", 40000, f"10.1.{n >> 8}.{n & 255}", 9092) for n in range(1000)]
    assert len(program.connections_guard(many, 1)) // program.INSTRUCTION.size < 4096 // 2


@pytest.mark.parametrize(
    ("expression", "mentions"),
    [
        ("vlan 100 and udp", True),
        ("udp port 5060", False),
        ("host vlan.example", True),
        ("ether host 0:0:0:0:0:1", False),
    ],
)
def test_tags_that_a_filter_asks_for(expression: str, mentions: bool) -> None:
    assert program.mentions_vlan(expression) is mentions
