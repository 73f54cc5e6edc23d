"""A broker that is away for a minute while calls go on: the capture loses nothing, what is lost behind it is counted,
and reporting resumes.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import dpkt
import pytest

from otus_core.testing import packets
from tests import needs
from tests.live.net import Pair, ask, own_memory
from tests.live.test_live import message
from tests.patience import keeps, took, wait

from .broker import Broker
from .node import Daemon
from .test_daemon_by_kafka import wire  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.kafka, pytest.mark.live, pytest.mark.slow]
RATE = 2000
AWAY_S = 60
AWAY_AGAIN_S = 10
RESUMED_WITHIN_S = 5.0
BEFORE_S, AFTER_S = 8, 15
FRAMES = 20_000
GROWTH_MAX = 64 << 20


def counters(daemon: Daemon) -> dict[str, Any]:
    (task,) = ask(daemon.folder, "task_status")["result"]["tasks"]
    return dict(ask(daemon.folder, "task_status", task_id=task["task_id"])["result"])


@pytest.mark.timeout(900)
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
    sent_before = transmitted(pair)
    sending = pair.popen(
        pair.far,
        *("tcpreplay", "-q", "-K", "--pps", RATE, "--loop", 0, "-i", "eth0", capture),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait(lambda: reported(daemon) > RATE * BEFORE_S / 2, what="messages are reported")
        memory, peaks = own_memory(pid), [0]

        def resumed() -> float:
            """Take the broker away, for a minute the first time; gives how long reporting then takes to resume."""
            own_broker.stop()
            until = time.monotonic() + (AWAY_S if len(peaks) == 1 else AWAY_AGAIN_S)
            while time.monotonic() < until:
                peaks.append(own_memory(pid))
                time.sleep(1)
            own_broker.start()
            before = reported(daemon)
            return took(lambda: wait(lambda: reported(daemon) > before, what="reporting resumes"))

        keeps(RESUMED_WITHIN_S, resumed, tries=3)
        after = reported(daemon)
        wait(lambda: reported(daemon) > after + RATE * AFTER_S / 2, what="it goes on")
    finally:
        sending.kill()
        sending.wait()
    sent = transmitted(pair) - sent_before
    assert sent > RATE * AWAY_S / 2
    wait(lambda: counters(daemon)["counters"]["frames_read"] == sent, what="all frames are read")
    wait(lambda: settled(daemon), what="nothing is on its way any more")
    total = counters(daemon)["counters"]
    kafka = total["reporters"]["kafka"]
    assert (total["kernel_drop"], total["unaccounted"], total["in_ring"]) == (0, 0, 0)
    assert total["kept"] == sent == kafka["reported"] + sum(kafka["dropped"].values())
    assert set(kafka["dropped"]) <= {"buffer_overflow", "report_error:unavailable", "report_error:ambiguous"}
    assert kafka["reported"] >= RATE * (BEFORE_S + AFTER_S) / 2
    assert max(peaks) - memory <= GROWTH_MAX


def transmitted(pair: Pair) -> int:
    """How many frames have left the far end."""
    return int(pair.run(pair.far, "cat", "/sys/class/net/eth0/statistics/tx_packets").stdout)


def reported(daemon: Daemon) -> int:
    return int(counters(daemon)["counters"]["reporters"]["kafka"]["reported"])


def settled(daemon: Daemon) -> bool:
    kafka = counters(daemon)["counters"]["reporters"]["kafka"]
    return kafka["queued"] == kafka["in_flight"] == 0
