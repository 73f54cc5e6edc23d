"""Filters: the machine against libpcap's own, counts against tcpdump, and what a widened filter lets through."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import otus_core
from otus_pcap.bpf import Program
from otus_pcap.capturer import PcapCapturer
from otus_pcap.config import PcapConfig
from tests.pcap.conftest import Capture
from tests.pcap.files import enhanced, ethernet, interface, pcap, read_bytes, read_files, section

cypcap = pytest.importorskip("cypcap")

EXPRESSIONS = [
    "udp port 5060",
    "tcp",
    "host 10.0.0.1 or net 192.168.0.0/16",
    "ip6",
    "vlan and udp",
    "icmp or arp",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "udp[8:4] = 0x494e5649 or greater 1000",
    "ip[2:2] - ((ip[0] & 0xf) << 2) > 100",
    "not (udp or tcp)",
    "len % 3 = 1 and len / 2 > 40 and len * 2 != 180 and (len ^ 1) | 2 > 3 and len >> 2 < 300",
    "mpls",
    "pppoes and ip",
    "portrange 1000-6000",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_counts_are_tcpdump_s(captures: list[Capture], expression: str) -> None:
    """Over every capture of the corpora that tcpdump reads whole, with the same filter."""
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    chance = random.Random(expression)
    for capture in chance.sample(captures, min(40, len(captures))):
        done = subprocess.run(
            ["tcpdump", "-nr", str(capture.path), "--count", expression], capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            continue  # damaged, or of a link type or resolution that tcpdump does not read
        found = read_files(capture.path, bpf_filter=expression, bpf_fragments=False)
        assert len(found.frames) == int(done.stdout.split()[0]), capture.path.name


@settings(max_examples=300)
@given(st.data(), st.binary(max_size=120), st.integers(0, 2000))
def test_the_machine_agrees_with_libpcap_s(data: st.DataObject, frame: bytes, beyond: int) -> None:
    """Any loadable program, on any frame: the same verdict."""
    code = data.draw(st.lists(_INSTRUCTION, max_size=20))
    listed = [_fitted(n, instruction, len(code)) for n, instruction in enumerate(code)] + [(0x16, 0, 0, 0)]
    mine = Program(b"".join(struct.pack("=HBBI", *instruction) for instruction in listed))
    theirs = cypcap.BpfProgram(listed)
    header = cypcap.Pkthdr(caplen=len(frame), len=len(frame) + beyond)
    assert bool(mine(frame, len(frame) + beyond)) == theirs.offline_filter(header, frame)


# Not 0x60 and 0x61: libpcap leaves scratch memory as it was.
_LOADS = [0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x81, 0xB1, 0x00, 0x01, 0x02, 0x03, 0x07, 0x87, 0x84]
_JUMPS = [0x05, 0x15, 0x25, 0x35, 0x45, 0x1D, 0x2D, 0x3D, 0x4D]
_SUMS = [0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x94, 0xA4]
_SUMS_X = [code | 8 for code in _SUMS if code not in (0x64, 0x74)]  # shifts by X above 31 are undefined in libpcap
_SMALL = st.integers(0, 130) | st.integers(0, 2**32 - 1)
_INSTRUCTION = st.tuples(
    st.sampled_from([*_LOADS, *_JUMPS, *_SUMS, *_SUMS_X, 0x06, 0x16]), st.integers(0, 8), st.integers(0, 8), _SMALL
)


def _fitted(at: int, instruction: tuple[int, int, int, int], count: int) -> tuple[int, int, int, int]:
    """Change an instruction as little as makes it loadable."""
    code, jt, jf, k = instruction
    room = count - at - 1
    if code in (0x60, 0x61, 0x02, 0x03):
        k %= 16
    elif code in (0x64, 0x74):
        k %= 32
    elif code in (0x34, 0x94):
        k = k or 1
    elif code == 0x05:
        k = k % (room + 1)
    return code, min(jt, room), min(jf, room), k


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        pytest.param([], "1 to 65536", id="empty"),
        pytest.param([(0x06, 0, 0, 1)] * 65537, "1 to 65536", id="too long"),
        pytest.param([(0xFF, 0, 0, 0), (0x06, 0, 0, 1)], "unknown code 0xff", id="unknown"),
        pytest.param([(0x15, 0, 1, 0), (0x06, 0, 0, 1)], "jumps past the end", id="conditional jump"),
        pytest.param([(0x05, 0, 0, 2**32 - 1), (0x06, 0, 0, 1)], "jumps past the end", id="jump back"),
        pytest.param([(0x34, 0, 0, 0), (0x06, 0, 0, 1)], "divides by zero", id="division"),
        pytest.param([(0x64, 0, 0, 32), (0x06, 0, 0, 1)], "shifts too far", id="shift"),
        pytest.param([(0x02, 0, 0, 16), (0x06, 0, 0, 1)], "no memory word 16", id="memory"),
        pytest.param([(0x61, 0, 0, 16), (0x06, 0, 0, 1)], "no memory word 16", id="memory, loaded"),
        pytest.param([(0x15, 1, 0, 0), (0x06, 0, 0, 1)], "jumps past the end", id="conditional jump by one"),
        pytest.param([(0x05, 0, 0, 1), (0x06, 0, 0, 1)], "jumps past the end", id="jump by one"),
        pytest.param([(0x00, 0, 0, 1)], "ends with a return", id="no return"),
    ],
)
def test_a_program_that_could_do_harm_is_refused(program: list[tuple[int, int, int, int]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Program(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))


@pytest.mark.parametrize(
    ("load", "width"),
    [(0x20, 4), (0x28, 2), (0x30, 1), (0xB1, 1), (0x40, 4), (0x48, 2), (0x50, 1)],
    ids=["word", "half-word", "byte", "header length", "word by index", "half-word by index", "byte by index"],
)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 9])
def test_a_load_reads_to_the_last_byte_of_a_frame_and_no_further(load: int, width: int, size: int) -> None:
    """At every place in and around the frame: what is not wholly inside rejects it, as in the kernel."""
    for place in [*range(size + 3), 2**32 - 2, 2**32 - 1]:
        for index in (0, 1, 2**32 - 1) if load & 0x40 else (0,):
            code = [(0x01, 0, 0, index), (load, 0, 0, place), (0x06, 0, 0, 7)]
            program = Program(b"".join(struct.pack("=HBBI", *instruction) for instruction in code))
            assert program(bytes(size)) == (7 if place + index + width <= size else 0), (place, index)


def test_the_length_is_that_on_the_wire() -> None:
    program = Program(struct.pack("=HBBI", 0x80, 0, 0, 0) + struct.pack("=HBBI", 0x16, 0, 0, 0))
    assert program(bytes(10), 1500) == 1500


def test_comparisons_at_their_bounds() -> None:
    for code, holds in ((0x15, (0, 1, 0)), (0x25, (0, 0, 1)), (0x35, (0, 1, 1))):
        for value, expected in zip((4, 5, 6), holds, strict=True):
            listed = [(0x00, 0, 0, value), (code, 0, 1, 5), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]
            program = Program(b"".join(struct.pack("=HBBI", *instruction) for instruction in listed))
            assert program(b"") == expected, (hex(code), value)


@given(st.binary(max_size=240), st.binary(max_size=60))
def test_any_bytes_are_refused_or_run(packed: bytes, frame: bytes) -> None:
    try:
        program = Program(packed)
    except ValueError:
        return
    assert 0 <= program(frame) < 2**32


def _udp(port: int, size: int = 20) -> bytes:
    return struct.pack("!HHHH", port, port, size, 0) + bytes(size - 8)


A, B = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"
A6, B6 = bytes(15) + b"\x01", bytes(15) + b"\x02"
PLAIN = ethernet(A, B, _udp(5060))
LATER = PLAIN[:20] + b"\x00\x10" + PLAIN[22:34] + bytes(40)
FIRST = PLAIN[:20] + b"\x20\x00" + PLAIN[22:]
LATER6 = ethernet(A6, B6, b"\x11\x00\x00\x11" + bytes(44)).replace(b"\x11\x40", b"\x2c\x40", 1)
OTHER = ethernet(A, B, _udp(53))


@pytest.mark.parametrize(
    ("frame", "narrow", "wide"),
    [
        pytest.param(PLAIN, True, True, id="plain"),
        pytest.param(OTHER, False, False, id="another port"),
        pytest.param(FIRST, True, True, id="first fragment"),
        pytest.param(LATER, False, True, id="later fragment"),
        pytest.param(LATER6, False, True, id="IPv6 fragment"),
        pytest.param(ethernet(A, B, _udp(5060), (5,)), False, True, id="one tag"),
        pytest.param(ethernet(A, B, _udp(5060), (5, 6)), False, True, id="two tags"),
        pytest.param(ethernet(A, B, _udp(53), (5, 6)), False, False, id="two tags, another port"),
        pytest.param(LATER[:12] + b"\x81\x00\x00\x05" + LATER[12:], False, True, id="tagged later fragment"),
    ],
)
def test_a_widened_filter_lets_fragments_and_tags_through(
    tmp_path: Path, frame: bytes, narrow: bool, wide: bool
) -> None:
    data = pcap([frame])
    assert bool(read_bytes(tmp_path, data, bpf_filter="udp port 5060", bpf_fragments=False).frames) is narrow
    assert bool(read_bytes(tmp_path, data, bpf_filter="udp port 5060").frames) is wide


@pytest.mark.parametrize("link_type", [0, 9, 12, 50, 101, 104, 108, 113, 228, 229, 276])
def test_every_link_type_that_is_decoded_can_be_filtered(tmp_path: Path, link_type: int) -> None:
    assert not read_bytes(tmp_path, pcap([b""], link_type=link_type), bpf_filter="udp port 5060").errors


def test_each_interface_has_the_filter_of_its_link_type(tmp_path: Path) -> None:
    raw = PLAIN[14:]
    data = section() + interface(1) + interface(101) + enhanced(PLAIN) + enhanced(raw, number=1) + enhanced(raw)
    found = read_bytes(tmp_path, data, bpf_filter="udp port 5060")
    assert [(frame.data, frame.link_type) for frame in found.frames] == [(PLAIN, 1), (raw, 101)]


def test_a_link_type_without_filters_is_an_error_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(pcap([PLAIN], link_type=147))
    (tmp_path / "good").write_bytes(pcap([PLAIN]))
    found = read_files(tmp_path / "odd", tmp_path / "good", bpf_filter="udp port 5060")
    assert found.data == [PLAIN]
    (error,) = found.errors
    assert error.offset == 20
    assert "not implemented" in error.reason


def test_frames_before_an_interface_without_filters_are_given(tmp_path: Path) -> None:
    found = read_bytes(tmp_path, section() + interface() + enhanced(PLAIN) + interface(147), bpf_filter="udp")
    assert found.data == [PLAIN]
    assert len(found.errors) == 1


def test_a_wrong_filter_is_refused_at_open_in_the_user_s_words() -> None:
    capturer = PcapCapturer(PcapConfig(files=["x"], bpf_filter="udp prt 5060"))
    with pytest.raises(otus_core.BpfInvalid, match=r"BPF filter 'udp prt 5060': .*syntax error") as caught:
        capturer.open()
    assert caught.value.exit_status == 2


def test_a_filter_with_a_loop_is_refused_at_open() -> None:
    """libpcap's ``protochain`` jumps back; the kernel refuses that too."""
    with pytest.raises(otus_core.BpfInvalid, match="it needs a loop"):
        PcapCapturer(PcapConfig(files=["x"], bpf_filter="ip6 protochain 17")).open()


def test_filter_and_shards_together_partition_what_matches(tmp_path: Path) -> None:
    frames = [ethernet(bytes([10, 0, n, 1]), B, _udp(5060 if n % 3 else 53)) for n in range(200)]
    alone = read_bytes(tmp_path, pcap(frames), bpf_filter="udp port 5060")
    shared = [read_files(tmp_path / "capture", shard=n, shards=3, bpf_filter="udp port 5060") for n in range(3)]
    assert (
        sorted(d for each in shared for d in each.data)
        == sorted(alone.data)
        == sorted(f for n, f in enumerate(frames) if n % 3)
    )


def test_dpkt_reads_the_frames_as_meant() -> None:
    for frame, port in ((PLAIN, 5060), (ethernet(A, B, _udp(53), (5, 6)), 53)):
        assert dpkt.ethernet.Ethernet(frame).data.data.dport == port
