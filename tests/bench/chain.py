"""The packet path in this process, from a capture file to a reporter, beside a loop in dpkt that decodes and parses the
same packets.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import attrs
import dpkt

from otus_core.cli import foreground
from otus_core.log import only_from
from otus_core.plugins.loader import load
from otus_core.task.config import load_task
from tests.bench.generate import capture
from tests.bench.measure import FOLDER, Ratio

RUNS = 7
DPKT_PACKETS = 5_000


@attrs.frozen(kw_only=True)
class ChainRow:
    """What is measured: a capture, the arguments, and how many times faster than the dpkt loop a frame must be."""

    name: str
    capture: str
    target: float
    format: str = "none"
    tunnels: str = ""
    parsers: tuple[str, ...] = ("sip",)
    processors: tuple[str | dict[str, Any], ...] = ()


ROWS = (
    ChainRow(name="whole chain", capture="sip", target=15.0),
    ChainRow(name="busy: 3,000 calls up", capture="busy", target=13.6),
    # With `sip` alone nobody looks media up, and calls are not followed
    ChainRow(name="busy, media looked up", capture="busy", target=9.0, parsers=("sip", "rtp")),
    ChainRow(name="SIP over TCP", capture="tcp", target=8.0),
    ChainRow(name="text lines", capture="sip", target=9.0, format="text"),
    ChainRow(name="JSON lines", capture="sip", target=6.9, format="json"),
    ChainRow(name="fragments, a frame", capture="fragments", target=11.8),
    ChainRow(name="QinQ", capture="qinq", target=12.0),
    ChainRow(name="VXLAN", capture="vxlan", target=12.0, tunnels="vxlan"),
    ChainRow(name="calls", capture="sip", target=9.0, processors=("calls",)),
    ChainRow(
        name="calls, records as JSON",
        capture="sip",
        target=2.5,
        format="json",
        processors=({"type": "calls", "config": {"consume": True}},),
    ),
    ChainRow(name="plain-Python SIP parser", capture="sip", target=3.0, parsers=("plainsip",)),
)


def compare(row: ChainRow) -> Ratio:
    """Give the ratio of a row to the dpkt loops right before and after each run: a machine's speed drifts."""
    path, plain, ratios = capture(FOLDER, row.capture), capture(FOLDER, "sip"), []
    for _ in range(RUNS):
        before = dpkt_loop(plain)
        took = chain(row, path)
        ratios.append((before + dpkt_loop(plain)) / 2 / took)
    return Ratio.of(ratios)


def dpkt_loop(path: Path) -> float:
    """Give the CPU time a packet of dpkt: file, Ethernet, IP, UDP, SIP request or response with its headers; in µs."""
    count, begun = 0, time.process_time()
    with path.open("rb") as file:
        for _, data in dpkt.pcap.Reader(file):
            payload = dpkt.ethernet.Ethernet(data).data.data.data
            kind = dpkt.sip.Response if payload.startswith(b"SIP/") else dpkt.sip.Request
            kind(payload)
            count += 1
            if count == DPKT_PACKETS:
                break
    return (time.process_time() - begun) / count * 1e6


def chain(row: ChainRow, path: Path) -> float:
    """Give the CPU time a frame of our chain, pcap to reporter, with a filter; in µs."""
    request = foreground.RunRequest(
        files=(str(path),), format=row.format, parsers=row.parsers, tunnels=row.tunnels, quiet=True
    )
    data = foreground.task_data(request)
    data["processors"] = [{"type": "filter", "config": {"drop_if": "sip.method == 'OPTIONS'"}}, *row.processors]
    only_from("info")  # as `otus run` has it: else a run of more than a second writes log lines
    registry = load()
    config = load_task(data, registry)
    shown, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    begun = time.process_time()
    try:
        result = foreground.run_task(config, registry, request)
    finally:
        took = time.process_time() - begun
        os.dup2(shown, 1)
        os.close(shown)
        os.close(null)
    if result.summary["unaccounted"] or not result.summary["kept"]:
        raise SystemExit(f"{row.name}: the identity does not hold: {result.summary}")
    return took / int(result.summary["frames_read"]) * 1e6
