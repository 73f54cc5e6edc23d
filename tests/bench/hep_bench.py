"""Measures how many messages a CPU second the reporter ``hep`` sends over UDP to a sink on this machine: ``nox -s bench
-- hep``.

The sink reads what comes, in a process of its own. The kernel's work of carrying datagrams over the loopback to the
sink's buffer is the sender's, and counts.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import statistics
import sys
import time
from multiprocessing.connection import Connection

from otus_core import Context, OutputPacket
from otus_hep.config import HepReporterConfig
from otus_hep.reporter import HepReporter
from tests.sip.messages import message

RUNS = 5
BATCHES = 400
BATCH = 500
TARGET = 250_000
"""Messages a CPU second. heplify was measured at 115,000 on such a machine, as a whole process that also captures."""


def main() -> None:
    """Measure a few times, and print the median."""
    body = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0 101\r\n"
    raw = message("INVITE sip:bob@example.net SIP/2.0", body=body)
    ours, other = multiprocessing.Pipe()
    sink = multiprocessing.Process(target=_sink, args=(other,))
    sink.start()
    port = ours.recv()
    speeds = [_measure(port, raw) for _ in range(RUNS)]
    ours.send(None)
    came = ours.recv()
    sink.join()
    speed = statistics.median(speeds)
    sent = RUNS * BATCHES * BATCH
    sys.stdout.write(
        f"hep over UDP, {len(raw)} bytes    {speed:>10,.0f} messages/CPU s  target {TARGET:,}  "
        f"{'PASS' if speed >= TARGET else 'MISS'}; the sink read {came:,} of {sent:,}\n"
    )


def _sink(pipe: Connection) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.2)
        pipe.send(sock.getsockname()[1])
        buffer, came = bytearray(65536), 0
        while True:
            try:
                sock.recv_into(buffer)
                came += 1
            except TimeoutError:
                if pipe.poll():
                    pipe.send(came)
                    return


def _measure(port: int, raw: bytes) -> float:
    batch = [
        OutputPacket(
            timestamp=1_767_268_800_000_000_000 + n,
            src_ip="192.0.2.1",
            dst_ip="198.51.100.2",
            src_port=5060,
            dst_port=5060,
            labels={"sip.call_id": f"call-{n}@192.0.2.1"},
            payload_type="sip",
            raw_payload=raw,
        )
        for n in range(BATCH)
    ]

    async def run() -> float:
        reporter = HepReporter(HepReporterConfig(servers=[f"127.0.0.1:{port}"], node_name="edge-1"))
        reporter.wire(Context(task_id="t", agent_id="a", call_labels={"sip": "sip.call_id"}))
        await reporter.start()
        begun = time.process_time()
        for _ in range(BATCHES):
            result = await reporter.report(batch)
            assert result.reported == BATCH
        took = time.process_time() - begun
        await reporter.stop()
        return BATCH * BATCHES / took

    return asyncio.run(run())
