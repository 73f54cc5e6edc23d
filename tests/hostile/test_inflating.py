"""What is compressed may be large once it is inflated: bodies of messages and capture files are inflated
within bounds.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import pytest

from otus_core.testing import packets
from otus_core.testing.host import Host
from tests.hostile.memory import peak

MESSAGE = (
    b"INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: "
    b"<sip:a@example.com>;tag=1\r\n"
    b"To: <sip:b@example.com>\r\nCall-ID: %d\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Encoding: "
    b"%s\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)
HUGE = 32 << 20
ROOM = 16 << 20
GLOBAL = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)


def plain(examples: Path) -> int:
    """Give the memory that a run takes anyway."""
    status, memory = peak("run", examples / "call.pcap", "--format", "json", "-q")
    assert status == 0
    return memory


def deflated(data: bytes) -> bytes:
    return zlib.compress(data, 9)


@pytest.mark.parametrize(
    ("coding", "compress"), [(b"gzip", gzip.compress), (b"deflate", deflated)], ids=["gzip", "deflate"]
)
def test_a_body_that_inflates_hugely_is_marked_and_costs_little(
    tmp_path: Path, examples: Path, coding: bytes, compress: object
) -> None:
    assert callable(compress)
    body = compress(b"v=0\r\n" + b"a=x\r\n" * (HUGE // 5))
    sent = [packets.udp(MESSAGE % (n, coding, len(body), body)) for n in range(3)]
    ran = Host(tmp_path)(sent, "--parser", "sip")
    assert (ran.status, len(ran.outputs)) == (0, 3)
    assert all("malformed" in output["payload"] for output in ran.outputs)
    _, memory = peak("run", next(tmp_path.glob("*.pcap*")), "--format", "json", "-q")
    assert memory < plain(examples) + ROOM


@pytest.mark.parametrize("inside", [b"\x00" * HUGE, b"\xff" * HUGE], ids=["empty frames", "a frame too large"])
def test_a_capture_file_that_inflates_hugely_is_read_in_chunks(tmp_path: Path, examples: Path, inside: bytes) -> None:
    path = tmp_path / "bomb.pcap.gz"
    path.write_bytes(gzip.compress(GLOBAL + inside, 9))
    assert path.stat().st_size < HUGE >> 8
    status, memory = peak("run", path, "--format", "none", "-q")
    assert status in (0, 1)
    assert memory < plain(examples) + ROOM


def test_gzip_in_gzip_is_not_unpacked_twice(tmp_path: Path) -> None:
    path = tmp_path / "twice.pcap.gz"
    path.write_bytes(gzip.compress(gzip.compress(GLOBAL + b"\x00" * 1000)))
    assert peak("run", path, "--format", "none", "-q")[0] == 1
