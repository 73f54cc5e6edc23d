"""``otus extract``, as a user runs it: the frames of a call as they were captured, and nothing else."""

from __future__ import annotations

import gzip
import json
import random
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dpkt
import pytest

from otus_core.testing import packets
from tests.calls.commands.running import B2BUA, otus, shown
from tests.needs import tool

FIELDS = ("frame.time_epoch", "frame.len", "frame.cap_len", "frame.encap_type")


def frames(capture: Path, *options: str) -> list[tuple[str, ...]]:
    """Give the frames of a capture as tshark has them: fields, and their bytes in hexadecimal."""
    command = [tool("tshark"), "-r", str(capture), *options, "-T", "json", "-x", "-j", "frame"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return [_fields(one["_source"]["layers"]) for one in told]


def _fields(layers: dict[str, Any]) -> tuple[str, ...]:
    return (*(layers["frame"][name] for name in FIELDS), layers["frame_raw"][0])


def calls_of(capture: Path) -> list[dict[str, object]]:
    """Give the calls, without what says where in the capture they are."""
    told = [json.loads(line) for line in shown("calls", capture, "--json")]
    return [{name: value for name, value in one.items() if name not in ("number", "legs")} for one in told]


def extracted(capture: Path, folder: Path, *options: object) -> Path:
    made = folder / "made.pcapng"
    done = otus("extract", capture, "-o", made, *options)
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.parametrize(
    ("name", "call", "count"),
    [
        (B2BUA, 2, None),
        ("goffinet__SIP-Call-Flow-Over-TCP.pcap", 1, 84),
        ("wireshark-wiki__sip-and-rtp__sip-rtp-g711.pcap", 2, 418),
        ("pkts__sipp_sll.pcap", 3, None),
    ],
)
def test_a_call_is_copied_as_it_was_captured(corpora: Path, tmp_path: Path, name: str, call: int, count: int) -> None:
    made = extracted(corpora / name, tmp_path, "--call", call)
    whole, part = frames(corpora / name), frames(made)
    assert part
    assert [one for one in whole if one in part] == part
    assert count is None or len(part) == count
    before = calls_of(corpora / name)[call - 1]
    assert [one for one in calls_of(made) if one["call_id"] == before["call_id"]] == [before]


def test_nothing_of_other_calls_is_copied(corpora: Path, tmp_path: Path) -> None:
    made = extracted(corpora / "pkts__sipp.pcap", tmp_path, "--where", "call.call_id == '2-16732@127.0.1.1'")
    assert [one["call_id"] for one in calls_of(made)] == ["2-16732@127.0.1.1"]


def test_media_can_be_left_out(corpora: Path, tmp_path: Path) -> None:
    capture = corpora / "wireshark-wiki__sip-and-rtp__sip-rtp-g711.pcap"
    made = extracted(capture, tmp_path, "--call", 1, "--no-media")
    assert len(frames(made)) == len(frames(made, "-Y", "sip")) == 6


def test_all_pieces_of_datagrams_are_copied(examples: Path, tmp_path: Path) -> None:
    made = extracted(examples / "fragmented.pcap", tmp_path, "--call", 1)
    assert frames(made) == frames(examples / "fragmented.pcap")


def test_a_compressed_capture_gives_the_same(examples: Path, tmp_path: Path) -> None:
    compressed = tmp_path / "call.pcap.gz"
    compressed.write_bytes(gzip.compress((examples / "tcp.pcap").read_bytes()))
    plain = extracted(examples / "tcp.pcap", tmp_path, "--call", 1).read_bytes()
    assert extracted(compressed, tmp_path, "--call", 1).read_bytes() == plain


def message(call: int, method: str, body: str = "") -> bytes:
    to = ";tag=b" if method != "INVITE" else ""
    return (
        f"{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK{call}{method}\r\nCall-ID: {call}@trunk\r\n"
        f"From: <sip:a@h>;tag=a{call}\r\nTo: <sip:b@h>{to}\r\nCSeq: 1 {method}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def write(path: Path, captured: Sequence[bytes]) -> Path:
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, nano=True)
        for n, frame in enumerate(captured):
            writer.writepkt(frame, 1_700_000_000 + n / 100)
    return path


def test_only_segments_of_the_call_are_copied_from_a_trunk(tmp_path: Path) -> None:
    """One connection carries twenty calls; a long message lies in three segments, which came out of order and twice."""
    chosen, sent, at = [], [], 1000
    for call in range(20):
        data = message(call, "INVITE", "x" * 3000)
        cuts = [(at, data[:1400]), (at + 1400, data[1400:2800]), (at + 2800, data[2800:])]
        pieces = [packets.tcp(piece, seq=seq, ack=1, flags=0x18) for seq, piece in cuts]
        at += len(data)
        order = [pieces[0], pieces[2], pieces[1], pieces[1]]
        sent += order
        if call == 7:
            chosen = order
    made = extracted(write(tmp_path / "trunk.pcap", sent), tmp_path, "--call", "7@trunk", "--no-media")
    with made.open("rb") as file:
        assert [bytes(data) for _, data in dpkt.pcapng.Reader(file)] == chosen
    assert [one["call_id"] for one in calls_of(made)] == ["7@trunk"]


def test_sequence_numbers_that_wrap_are_followed(tmp_path: Path) -> None:
    data = message(1, "INVITE", "x" * 2000)
    begin = 2**32 - 1000
    sent = [
        packets.tcp(data[:1400], seq=begin, ack=1, flags=0x18),
        packets.tcp(data[1400:], seq=(begin + 1400) % 2**32, ack=1, flags=0x18),
    ]
    capture = write(tmp_path / "wrap.pcap", sent)
    assert len(frames(extracted(capture, tmp_path, "--call", 1))) == 2


def section(order: str, link_types: Sequence[int], captured: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Give a section of a pcapng file: interfaces with names and nanoseconds, frames with a comment each."""
    made = struct.pack(order + "IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    for n, link_type in enumerate(link_types):
        options = struct.pack(order + "HH4sHHB3xHH", 2, 4, f"eth{n}".encode(), 9, 1, 9, 0, 0)
        made += struct.pack(order + "IIHHI", 1, 20 + len(options), link_type, 0, 0) + options
        made += struct.pack(order + "I", 20 + len(options))
    for interface, at, data in captured:
        body = data + bytes(-len(data) % 4) + struct.pack(order + "HH8sHH", 1, 7, b"comment\0", 0, 0)
        head = (6, 32 + len(body), interface, at >> 32, at & 0xFFFFFFFF, len(data), len(data) + 5)
        made += struct.pack(order + "7I", *head) + body + struct.pack(order + "I", 32 + len(body))
    return made


@pytest.mark.parametrize("order", ["<", ">"])
def test_interfaces_comments_and_lengths_stay(tmp_path: Path, order: str) -> None:
    invite = message(1, "INVITE").replace(b"TCP", b"UDP")
    frame, other = packets.udp(invite), packets.udp(message(2, "INVITE").replace(b"TCP", b"UDP"))
    at = 1_700_000_000_123_456_789
    capture = tmp_path / "two.pcapng"
    capture.write_bytes(
        section(order, [1, 101], [(0, at, other), (1, at + 1, frame[14:])])
        + section(order, [101], [(0, at + 2, frame[14:])])
    )
    made = extracted(capture, tmp_path, "--call", "1@trunk")
    assert frames(made) == frames(capture)[1:]
    told = ["-T", "fields", "-e", "frame.interface_name", "-e", "frame.comment"]
    names = subprocess.run([tool("tshark"), "-r", str(made), *told], capture_output=True, text=True, check=True).stdout
    assert names == "eth1\tcomment\neth0\tcomment\n"


def test_several_files_become_one(examples: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.pcapng"
    done = otus("extract", examples / "call.pcap", examples / "cancel.pcap", "-o", made, "--where", "call.total >= 0")
    assert done.returncode == 0
    assert frames(made) == frames(examples / "call.pcap") + frames(examples / "cancel.pcap")
    assert done.stderr == f"otus: {len(frames(made))} frames of 2 calls in {made}\n"


def test_an_input_is_never_written_over(examples: Path, tmp_path: Path) -> None:
    capture = tmp_path / "call.pcap"
    before = (examples / "call.pcap").read_bytes()
    capture.write_bytes(before)
    (tmp_path / "link.pcap").symlink_to(capture)
    for name in (capture, tmp_path / "link.pcap"):
        done = otus("extract", capture, "-o", name, "--call", 1)
        assert (done.returncode, done.stderr) == (2, f"otus: -o: {name} is also read: it would be lost\n")
    assert capture.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--call", "1"], "-o: name the capture file to make"),
        (["-o", "{}/x.pcapng"], "--where: say which calls"),
        (["-o", "-", "--call", "1"], "-o: it is written to a file, not to standard output"),
        (["-o", "{}", "--call", "1"], "-o: {} is a folder: name a file"),
        (["-o", "{}/no/x.pcapng", "--call", "1"], "-o: {}/no/x.pcapng cannot be written: No such file or directory"),
        (["-o", "{}/x.pcapng", "--call", "9"], "--call: there is no call 9"),
        (["-o", "{}/x.pcapng", "--where", "call.code == 9"], "--where: the only call does not match"),
    ],
)
def test_what_cannot_be_is_told_and_leaves_no_file(
    examples: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = otus("extract", examples / "call.pcap", *(one.format(tmp_path) for one in arguments))
    assert done.returncode in (1, 2)
    assert f"otus: {said.format(tmp_path)}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_damaged_captures_end_where_the_damage_begins(examples: Path, tmp_path: Path) -> None:
    """Whatever bytes are wrong, the command ends, and what it makes can be read."""
    whole, luck = bytearray((examples / "call.pcap").read_bytes()), random.Random(7)
    for n in range(2):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[luck.randrange(24, len(damaged))] = luck.randrange(256)
        capture, made = tmp_path / f"{n}.pcap", tmp_path / f"{n}.pcapng"
        capture.write_bytes(damaged)
        done = otus("extract", capture, "-o", made, "--where", "call.total >= 0")
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr
        assert not made.exists() or frames(made)


def test_calls_of_one_call_id_are_told_apart_by_their_tags(tmp_path: Path) -> None:
    sent = [packets.udp(message(1, "INVITE").replace(b"tag=a1", tag)) for tag in (b"tag=x", b"tag=y")]
    capture = write(tmp_path / "same.pcap", sent)
    assert len(frames(extracted(capture, tmp_path, "--call", 2))) == 1
    assert len(frames(extracted(capture, tmp_path, "--call", "1@trunk"))) == 2
