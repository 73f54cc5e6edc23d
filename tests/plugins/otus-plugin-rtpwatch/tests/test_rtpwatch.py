"""The parser keeps the contract, and works in a task."""

import struct
from pathlib import Path
from typing import ClassVar

from otus_core.testing import packets
from otus_core.testing.contract import ParserContract
from otus_core.testing.host import Host

PORT = 40_000
TASK = {"parsers": [{"type": "rtpwatch", "config": {"ports": [PORT]}}]}


class TestRtpwatch(ParserContract):
    """Samples are RTP packets."""

    component = "rtpwatch"
    samples = Path(__file__).parent / "samples"
    port = PORT
    config: ClassVar = {"ports": [PORT]}


def rtp(sequence: int, timestamp: int) -> bytes:
    header = struct.pack("!BBHII", 0x80, 0, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 7)
    return packets.udp(header + bytes(160), dst_port=PORT)


def test_a_stream_gives_a_record(otus_run: Host) -> None:
    frames = [(n * 20_000_000, rtp(65_530 + n, 160 * n - 1600)) for n in range(50) if n % 10 != 3]
    ran = otus_run(frames, task=TASK)
    (record,) = ran.of("rtpwatch")
    assert (record["payload"]["packets"], record["payload"]["lost"]) == (45, 5)
    assert record["payload"]["jitter_max_ms"] == 0
    assert ran.summary["consumed"] == {"parser:rtpwatch": 45}


def test_silence_ends_a_stream(otus_run: Host) -> None:
    second = 1_000_000_000
    frames = [(at * second, rtp(at, at * 8000)) for at in (0, 1, 2, 100, 101)]
    counts = [record["payload"]["packets"] for record in otus_run(frames, task=TASK).of("rtpwatch")]
    assert counts == [3, 2]
