"""Somebody sends first fragments in the name of a host that sends fragmented messages, 10,000 a second of packet time;
the host's messages are put together all the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from otus_core.testing import packets
from otus_core.testing.host import Host

FORGED_A_SECOND = 10_000
EACH = 100
"""Forged fragments between two messages; ids of the one and of the other count upwards, so that they meet each time all
65,536 were used.
"""
SECONDS = 14
BEGUN = 1_771_669_800
MESSAGE = (
    b"INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: "
    b"<sip:a@example.com>;tag=1\r\n"
    b"To: <sip:b@example.com>\r\nCall-ID: %d\r\nCSeq: 1 INVITE\r\nX-Long: "
    + b"x" * 2000
    + b"\r\nContent-Length: 0\r\n\r\n"
)


def frames() -> Iterator[bytes]:
    forged = bytearray(packets.fragments(packets.udp(bytes(64)), 32, 0)[0])
    for n in range(SECONDS * FORGED_A_SECOND // EACH):
        for i in range(EACH):
            struct.pack_into("!H", forged, 18, (n * EACH + i) & 0xFFFF)
            yield bytes(forged)
        yield from packets.fragments(packets.udp(MESSAGE % n), 1480, (30_000 + n) & 0xFFFF)


def write(path: Path) -> int:
    """Write the capture; give how many messages are in it."""
    step = 10**9 // (FORGED_A_SECOND + 2 * FORGED_A_SECOND // EACH)
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
        for n, frame in enumerate(frames()):
            seconds, ns = divmod(n * step, 10**9)
            file.write(struct.pack("<IIII", BEGUN + seconds, ns, len(frame), len(frame)) + frame)
    return SECONDS * FORGED_A_SECOND // EACH


def test_forged_first_fragments_cost_a_source_at_most_1_percent(tmp_path: Path) -> None:
    sent = write(tmp_path / "forged.pcap")
    ran = Host(tmp_path)(tmp_path / "forged.pcap", "--parser", "sip")
    assert ran.status == 0, ran.errors
    assert ran.summary["unaccounted"] == 0
    assert len(ran.outputs) >= 0.99 * sent
