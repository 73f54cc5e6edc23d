"""A broker that is away for a minute while calls go on: the capture loses nothing, what is lost behind it is counted, and reporting resumes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dpkt
import pytest

from otus_core.testing import packets
from tests import needs
from tests.live.net import Pair, own_memory, wait
from tests.live.test_live import message

from .broker import Broker
from .node import Daemon
from .test_daemon_by_kafka import wire  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.kafka, pytest.mark.live, pytest.mark.slow]
RATE = 2000
AWAY_S = 60
BEFORE_S, AFTER_S = 8, 15
FRAMES = 20_000
GROWTH_MAX = 64 << 20


def counters(daemon: Daemon) -> dict[str, Any]:
    (task,) = daemon.call("task", "status")["tasks"]
    return dict(daemon.call("task", "status", task["task_id"]))


@pytest.fixture
def daemon(own_broker: Broker, tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(own_broker, tmp_path)
    yield made
    if not own_broker.running:
        own_broker.start()
    made.end()


def test_a_minute_without_a_broker(
    own_broker: Broker,
    daemon: Daemon,
    wire: tuple[Pair, str],  # noqa: F811
    tmp_path: Path,
) -> None:
    pair, interface = wire
    needs.tool("tcpreplay")
    capture = tmp_path / "calls.pcap"
    with capture.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n in range(FRAMES):
            writer.writepkt(packets.udp(message(n), src=f"10.8.{n >> 8 & 127}.{n & 255}"), ts=n / RATE)
    task = {
        "id": "calls",
        "capture": {"type": "afpacket", "interface": interface, "bpf_filter": "udp port 5060"},
        "parsers": ["sip"],
        "reporters": [{"type": "kafka", "config": {"topic": daemon.data}}],
    }
    assert daemon.ask("task_create", {"config": task})["result"]["status"] == "created"
    (pid,) = (worker["pid"] for worker in counters(daemon)["workers"])
    loops = RATE * (BEFORE_S + AWAY_S + AFTER_S) // FRAMES + 1
    sending = pair.popen(
        pair.far,
        *("tcpreplay", "-q", "-K", "--pps", RATE, "--loop", loops, "-i", "eth0", capture),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait(lambda: reported(daemon) > RATE * BEFORE_S / 2, within=30, what="messages are reported")
        memory = own_memory(pid)
        own_broker.stop()
        peak, until = 0, time.monotonic() + AWAY_S
        while time.monotonic() < until:
            peak = max(peak, own_memory(pid))
            time.sleep(1)
        own_broker.start()
        before, back = reported(daemon), time.monotonic()
        wait(lambda: reported(daemon) > before, within=30, what="reporting resumes")
        resumed = time.monotonic() - back
        sending.wait(timeout=120)
    finally:
        sending.kill()
        sending.wait()
    sent = FRAMES * loops
    wait(lambda: counters(daemon)["counters"]["frames_read"] == sent, within=20, what="all frames are read")
    wait(lambda: settled(daemon), within=60, what="nothing is on its way any more")
    total = counters(daemon)["counters"]
    kafka = total["reporters"]["kafka"]
    assert (total["kernel_drop"], total["unaccounted"], total["in_ring"]) == (0, 0, 0)
    assert total["kept"] == sent == kafka["reported"] + sum(kafka["dropped"].values())
    assert set(kafka["dropped"]) <= {"buffer_overflow", "report_error:unavailable", "report_error:ambiguous"}
    assert kafka["reported"] >= RATE * (BEFORE_S + AFTER_S) / 2
    assert resumed <= 5.0
    assert peak - memory <= GROWTH_MAX


def reported(daemon: Daemon) -> int:
    return int(counters(daemon)["counters"]["reporters"]["kafka"]["reported"])


def settled(daemon: Daemon) -> bool:
    kafka = counters(daemon)["counters"]["reporters"]["kafka"]
    return kafka["queued"] == kafka["in_flight"] == 0
