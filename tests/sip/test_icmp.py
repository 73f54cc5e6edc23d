"""ICMP errors that quote SIP, as routers and hosts send them; tshark reads the same from the same bytes."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_core import OutputPacket, Parsed, encode_json
from otus_core.testing import packets
from otus_sip.config import IcmpConfig
from otus_sip.icmp import ICMP, ICMPV6, IcmpParser, read_error
from tests.sip.messages import message

SENDER, ROUTER, PHONE = "192.0.2.1", "198.51.100.9", "192.0.2.9"
SENDER6, ROUTER6, PHONE6 = "2001:db8::1", "2001:db8::ff", "2001:db8::9"
INVITE = message("INVITE sip:bob@example.com SIP/2.0")
OK = message("SIP/2.0 200 OK")
SECRET = message(
    "REGISTER sip:h SIP/2.0", 'Authorization: Digest username="bob", response="0123456789abcdef"', body=b"x"
)


def quoted(payload: bytes, sport: int = 5060, dport: int = 5062, tcp: bool = False, six: bool = False) -> bytes:
    """The IP packet that an error is about."""
    src, dst = (SENDER6, PHONE6) if six else (SENDER, PHONE)
    build: Any = packets.tcp if tcp else packets.udp
    return bytes(build(payload, src=src, dst=dst, src_port=sport, dst_port=dport)[14:])


def error(packet: bytes, kind: int = 3, code: int = 3, rest: bytes = bytes(4), extension: bytes = b"") -> bytes:
    """An ICMP message."""
    bare = struct.pack("!BBH", kind, code, 0) + rest + packet + extension
    return bare[:2] + struct.pack("!H", _checksum(bare)) + bare[4:]


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def frame(body: bytes, six: bool = False) -> bytes:
    return packets.ip(58 if six else 1, body, src=ROUTER6 if six else ROUTER, dst=SENDER6 if six else SENDER)


def parse(body: bytes, six: bool = False, **options: Any) -> Parsed | None:
    parser = IcmpParser(IcmpConfig(**options))
    packet = packets.decode(frame(body, six))
    return parser.handle(packet) if parser.can_handle(packet) else None


def labels(body: bytes, six: bool = False) -> dict[str, str]:
    found = parse(body, six)
    assert found is not None
    return dict(found.labels)


def test_an_unreachable_port_is_told_with_what_was_sent_there() -> None:
    assert labels(error(quoted(INVITE))) == {
        "icmp.type": "3",
        "icmp.code": "3",
        "icmp.error": "port unreachable",
        "icmp.quoted_src": "192.0.2.1:5060",
        "icmp.quoted_dst": "192.0.2.9:5062",
        "icmp.quoted_method": "INVITE",
        "icmp.call_id": "call-1@192.0.2.1",
    }
    found = parse(error(quoted(INVITE)))
    assert found is not None
    assert found.payload.to_text() == (
        "port unreachable for INVITE sip:bob@example.com SIP/2.0 (UDP 192.0.2.1:5060 → 192.0.2.9:5062)"
    )
    told = json.loads(encode_json(OutputPacket(labels=found.labels, payload=found.payload, payload_type="icmp")))
    assert told["payload"]["quoted"]["start_line"] == "INVITE sip:bob@example.com SIP/2.0"
    assert told["payload"]["quoted"]["src_port"] == 5060


@pytest.mark.parametrize(
    ("body", "six", "expected"),
    [
        (error(quoted(OK), 3, 1), False, {"icmp.error": "host unreachable", "icmp.quoted_status_code": "200"}),
        (error(quoted(INVITE), 11, 0), False, {"icmp.error": "time to live exceeded"}),
        (error(quoted(INVITE), 3, 13), False, {"icmp.error": "administratively prohibited"}),
        (error(quoted(INVITE), 3, 99), False, {"icmp.error": "unreachable", "icmp.code": "99"}),
        (error(quoted(INVITE, tcp=True)), False, {"icmp.quoted_method": "INVITE"}),
        (error(quoted(INVITE, six=True), 1, 4), True, {"icmp.error": "port unreachable"}),
        (
            error(quoted(INVITE, six=True), 2, 0, struct.pack("!I", 1280)),
            True,
            {"icmp.error": "packet too big", "icmp.quoted_src": "[2001:db8::1]:5060"},
        ),
    ],
    ids=["response", "ttl", "admin", "unknown-code", "tcp", "v6-port", "v6-too-big"],
)
def test_each_error_has_its_words(body: bytes, six: bool, expected: dict[str, str]) -> None:
    assert expected.items() <= labels(body, six).items()


def test_the_mtu_is_told() -> None:
    four = read_error(ICMP, error(quoted(INVITE), 3, 4, struct.pack("!HH", 0, 1400)))
    six = read_error(ICMPV6, error(quoted(INVITE, six=True), 2, 0, struct.pack("!I", 1280)))
    assert four is not None and six is not None
    assert (four[0].mtu, six[0].mtu) == (1400, 1280)


def test_eight_quoted_bytes_are_enough_on_a_sip_port() -> None:
    found = labels(error(quoted(INVITE)[:28]))
    assert (found["icmp.quoted_src"], found.get("icmp.quoted_method")) == ("192.0.2.1:5060", None)
    assert parse(error(quoted(INVITE, 9, 9)[:28])) is None
    assert parse(error(quoted(INVITE, 9, 9)[:28]), ports=(9,)) is not None
    assert parse(error(quoted(INVITE, 9, 9))) is not None  # the start line tells it


def test_a_quotation_that_ends_within_the_call_id_has_none() -> None:
    whole = quoted(INVITE)
    end = whole.index(b"call-1@") + 5
    assert "icmp.call_id" not in labels(error(whole[:end]))
    assert labels(error(whole[:end]))["icmp.quoted_method"] == "INVITE"


def test_extensions_behind_a_quotation_are_no_part_of_it() -> None:
    """RFC 4884 §4: cut to its length, in words, then an extension structure; here one that looks like a
    header field.
    """
    message = b"INVITE sip:a@b SIP/2.0\r\n" + b"x" * 1000
    extension = b"\x20\0\0\0\nCall-ID: forged\r\n"
    four = error(quoted(message)[:128], 3, 3, b"\0" + bytes([32]) + b"\0\0", extension)
    six = error(quoted(message, six=True)[:128], 1, 4, bytes([16]) + bytes(3), extension)
    for found in (labels(four), labels(six, True)):
        assert found["icmp.quoted_method"] == "INVITE" and "icmp.call_id" not in found


def test_proofs_of_passwords_are_in_no_output() -> None:
    for cut in (len(quoted(SECRET)), quoted(SECRET).index(b"89abcdef") + 4):
        body = error(quoted(SECRET)[:cut])
        found = parse(body)
        assert found is not None and found.raw is not None
        assert b"01234567" not in found.raw and b"REGISTER" in found.raw
        shown = parse(body, show_credentials=True)
        assert shown is not None and shown.raw is not None and body.startswith(shown.raw)


@pytest.mark.parametrize(
    "body",
    [
        struct.pack("!BBHHH", 8, 0, 0, 1, 1) + INVITE,
        error(quoted(b"\x80\x08" + bytes(100), 20000, 30000)),
        error(quoted(INVITE)[:20]),
        error(b""),
        b"\x03\x03",
        error(quoted(INVITE)[:6] + b"\x00\x20" + quoted(INVITE)[8:]),
        error(quoted(INVITE)[:9] + b"\x32" + quoted(INVITE)[10:]),
    ],
    ids=["echo", "rtp", "no-ports", "nothing", "short", "later-fragment", "esp"],
)
def test_what_is_not_about_sip_is_nobody_s(body: bytes) -> None:
    assert parse(body) is None


@given(st.binary(max_size=200), st.sampled_from([ICMP, ICMPV6]), st.integers(0, 200))
def test_whatever_comes_is_read_or_left(tail: bytes, protocol: int, cut: int) -> None:
    for body in (tail, error(quoted(INVITE, six=protocol == ICMPV6)[:cut] + tail, tail[0] % 13 if tail else 1)):
        read_error(protocol, body)


def test_tshark_reads_the_same(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    bodies = [(error(quoted(INVITE)), False), (error(quoted(OK), 11, 0), False)]
    bodies += [
        (error(quoted(INVITE, six=True), 1, 4), True),
        (error(quoted(b"\x80\x08" + bytes(90), 9000, 9002)), False),
    ]
    capture = tmp_path / "icmp.pcap"
    frames = [frame(body, six) for body, six in bodies]
    records = (struct.pack("<IIII", i, 0, len(one), len(one)) + one for i, one in enumerate(frames))
    capture.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records))
    fields = ("icmp.type", "icmpv6.type", "icmp.code", "icmpv6.code", "sip.Method", "sip.Status-Code", "sip.Call-ID")
    asked = [require_tool("tshark"), "-r", str(capture), "-Y", "sip", "-T", "fields"]
    told = subprocess.run(
        [*asked, *(argument for name in fields for argument in ("-e", name))],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    theirs = []
    for line in told.rstrip("\n").split("\n"):
        kind, kind6, code, code6, method, status, call_id = line.split("\t")
        theirs.append((kind or kind6, code or code6, method or None, status or None, call_id))
    names = ("icmp.type", "icmp.code", "icmp.quoted_method", "icmp.quoted_status_code", "icmp.call_id")
    ours = [tuple(found.labels.get(name) for name in names) for found in (parse(*body) for body in bodies) if found]
    assert ours == theirs and len(ours) == 3


def test_the_kernel_s_own_errors_are_read(require_root: None) -> None:
    """A datagram to a port of this machine where nobody listens comes back in an ICMP error."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as listening:
        port = closed_port()
        listening.settimeout(10)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(INVITE, ("127.0.0.1", port))
            while True:
                body = listening.recv(65536)[20:]
                read = read_error(ICMP, body)
                if read is not None and read[0].quoted.dst_port == port:
                    break
            assert read[0].quoted.src_port == sending.getsockname()[1]
    assert (read[0].error, read[0].quoted.method, read[0].quoted.call_id) == (
        "port unreachable",
        "INVITE",
        "call-1@192.0.2.1",
    )


def closed_port() -> int:
    """A UDP port that was ours a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
