"""Outages of a real broker while calls go on: what fits into memory waits there, with a spool everything waits, and
both outlive what else goes wrong.

``OTUS_TEST_OUTAGE_S=600`` makes the outage ten minutes long; the messages, some 1.2 million, then take two gigabytes
below the test's folder.
"""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import dpkt
import pytest

from otus_core.testing import packets
from tests import needs
from tests.live.net import Pair, control
from tests.live.test_live import message
from tests.patience import wait

from .node import Daemon
from .test_daemon_by_kafka import wire  # noqa: F401 (a fixture)
from .test_outage import counters, settled, transmitted

pytestmark = [pytest.mark.kafka, pytest.mark.live]
AWAY_S = float(os.environ.get("OTUS_TEST_OUTAGE_S", "20"))
RATE = 2000
BEFORE_S, AFTER_S = 3, 4
IN_FLIGHT_MAX = 3 * 500
"""A batch for each partition may have been on its way when the broker went, and is sent again: nobody knows whether it
arrived.
"""


class Outage:
    """A task, and messages on their way to its interface, each with a number of its own."""

    def __init__(self, daemon: Daemon, pair: Pair, interface: str, folder: Path) -> None:
        needs.tool("tcpreplay")
        self.daemon = daemon
        self.pair = pair
        self.interface = interface
        self.folder = folder
        self._sent_before = transmitted(pair)

    def create(self, **reporter: Any) -> None:
        task = {
            "id": "calls",
            "capture": {"type": "afpacket", "interface": self.interface, "bpf_filter": "udp port 5060"},
            "parsers": ["sip"],
            "reporters": [{"type": "kafka", "config": {"topic": self.daemon.data}, **reporter}],
        }
        file = self.daemon.folder / "task.json"  # a spool's path is local: a task from afar may not name one
        file.write_text(json.dumps(task))
        self.daemon.ask("task_list")  # it is up
        assert self.daemon.call("task", "create", "-f", str(file))["status"] == "created"

    def send(self, count: int, rate: int) -> subprocess.Popen[bytes]:
        path = self.folder / "calls.pcap"
        with path.open("wb") as file:
            writer = dpkt.pcap.Writer(file)
            for n in range(count):
                writer.writepkt(packets.udp(message(n), src=f"10.8.{n >> 8 & 127}.{n & 255}"), ts=n / rate)
        command = ("tcpreplay", "-q", "-K", "--pps", rate, "-i", "eth0", path)
        return self.pair.popen(self.pair.far, *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @property
    def kafka(self) -> dict[str, Any]:
        return dict(counters(self.daemon)["counters"]["reporters"]["kafka"])

    def sent(self) -> int:
        return transmitted(self.pair) - self._sent_before

    def delivered(self) -> collections.Counter[int]:
        """Give the numbers of the messages in the topic, in each partition in order of their first coming."""
        found: collections.Counter[int] = collections.Counter()
        last: dict[str, int] = {}
        command = ["kcat", "-C", "-e", "-q", "-b", self.daemon.broker.bootstrap, "-t", self.daemon.data]
        with subprocess.Popen([*command, "-f", "%p %h\n"], stdout=subprocess.PIPE, text=True) as reading:
            assert reading.stdout is not None
            for line in reading.stdout:
                partition, _, headers = line.partition(" ")
                number = int(headers.partition("l.sip.call_id=call-")[2].split(",")[0].strip())
                if number not in found:
                    assert number > last.get(partition, -1), "messages come in order"
                    last[partition] = number
                found[number] += 1
        return found


@pytest.fixture
def outage(daemon: Daemon, wire: tuple[Pair, str], tmp_path: Path) -> Outage:  # noqa: F811
    return Outage(daemon, *wire, tmp_path)


def read(outage: Outage) -> int:
    """Give how many frames were read, each once."""
    total = counters(outage.daemon)["counters"]
    return int(total["frames_read"] - total["frames_again"])


def at_rest(outage: Outage) -> bool:
    return settled(outage.daemon) and outage.kafka["spooled"] == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_with_a_spool_nothing_is_lost_though_a_worker_is_killed_in_the_outage(outage: Outage, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    outage.create(spool={"path": str(spool), "max_bytes": 4 << 30})
    count = int(RATE * (BEFORE_S + AWAY_S + AFTER_S))
    sending = outage.send(count, RATE)
    broker = outage.daemon.broker
    try:
        wait(lambda: outage.kafka["reported"] > RATE, what="messages are reported")
        broker.stop()
        time.sleep(AWAY_S / 2)  # the outage's length is what is tested
        (pid,) = (worker["pid"] for worker in counters(outage.daemon)["workers"])
        os.kill(pid, signal.SIGKILL)
        time.sleep(AWAY_S / 2)
        broker.start()
        sending.wait(timeout=AWAY_S + 120)
    finally:
        sending.kill()
        sending.wait()
    wait(lambda: read(outage) == outage.sent() == count, what="all are read")
    wait(lambda: at_rest(outage), within=60 + AWAY_S, what="nothing is on its way any more")
    total, kafka = counters(outage.daemon)["counters"], outage.kafka
    found = outage.delivered()
    lost = sum(kafka["dropped"].values()) + total["dropped"].get("worker_crash", 0)
    figures = {name: kafka[name] for name in ("offered", "offered_again", "reported", "spooled", "spool_resent")}
    figures |= {"sent": count, "in_topic": len(found), "twice_in_topic": sum(found.values()) - len(found)}
    figures |= {"frames_again": total["frames_again"], "lost_by_counter": lost, "outage_s": AWAY_S}
    print(json.dumps(figures))
    assert (total["kernel_drop"], total["unaccounted"], total["in_ring"]) == (0, 0, 0)
    assert (lost, len(found)) == (0, count)
    assert sum(found.values()) - len(found) <= kafka["spool_resent"] + IN_FLIGHT_MAX
    assert [path.name for path in spool.glob("*/*.spool")] == []


def answers(daemon: Daemon) -> bool:
    return control(daemon.folder, "status", "--alive")[0] == 0


def test_what_is_on_disk_outlives_a_killed_daemon(outage: Outage, tmp_path: Path) -> None:
    outage.create(spool={"path": str(tmp_path / "spool")})
    wait(lambda: counters(outage.daemon)["state"] == "running")
    outage.daemon.broker.stop()
    outage.send(3000, 3000).wait(timeout=60)
    wait(lambda: outage.kafka["spooled"] == outage.sent() == 3000, what="all is on disk")
    outage.daemon.kill()
    outage.daemon.start()
    wait(lambda: answers(outage.daemon), what="the daemon is back")
    wait(lambda: counters(outage.daemon)["state"] == "running", what="the task is back")
    kafka = outage.kafka
    assert (kafka["spool_found"], kafka["spooled"], kafka["offered"]) == (3000, 3000, 0)
    outage.daemon.broker.start()
    wait(lambda: at_rest(outage), what="all is sent")
    assert outage.kafka["reported"] == 3000
    assert counters(outage.daemon)["counters"]["unaccounted"] == 0
    found = outage.delivered()
    assert (len(found), max(found.values())) == (3000, 1)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_without_a_spool_messages_wait_while_there_is_room(outage: Outage) -> None:
    outage.create()
    rate, away = 60, 40
    count = rate * (away + 8)
    sending = outage.send(count, rate)
    try:
        wait(lambda: outage.kafka["reported"] > rate, what="messages are reported")
        outage.daemon.broker.stop()
        time.sleep(away)
        outage.daemon.broker.start()
        sending.wait(timeout=120)
    finally:
        sending.kill()
        sending.wait()
    wait(lambda: counters(outage.daemon)["counters"]["frames_read"] == outage.sent() == count, what="all are read")
    wait(lambda: settled(outage.daemon), what="nothing is on its way any more")
    kafka = outage.kafka
    assert (kafka["reported"], kafka["dropped"], counters(outage.daemon)["counters"]["unaccounted"]) == (count, {}, 0)
    found = outage.delivered()
    assert len(found) == count and sum(found.values()) - count <= 1000
