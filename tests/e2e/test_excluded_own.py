"""What a live capture leaves out because it is Otus's own is counted, frame by frame: tcpdump beside it
sees as many.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import dpkt
import pytest

from otus_core.testing import packets
from tests import needs
from tests.e2e.test_daemon_live import PORT, Node
from tests.e2e.test_daemon_live import node as node
from tests.live.net import Pair
from tests.patience import wait

pytestmark = pytest.mark.live
HOMER = 9060
LISTENS, WAITS = "0A", "06"  # include/net/tcp_states.h
TASK = {
    "id": "calls",
    "capture": {"type": "afpacket", "interface": "eth0", "bpf_filter": "tcp"},
    "unmatched_policy": "forward",
    "reporters": ["discard"],
}


@contextmanager
def tcpdump(pair: Pair, counted: list[int]) -> Iterator[None]:
    """Count the TCP frames on the near ``eth0``."""
    command = (needs.tool("tcpdump"), "-i", "eth0", "-nn", "-w", "/dev/null", "-U", "tcp")
    with pair.popen(pair.near, *command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert b"listening" in process.stderr.readline()
        yield
        process.send_signal(signal.SIGINT)
        told = process.stderr.read().decode()
    counted += map(int, re.findall(r"(\d+) packets received by filter", told))


class Slow:
    """A scraper in the far namespace that sends its request byte by byte, and comes again when it is turned away."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._sock: socket.socket | None = None

    def sends(self) -> None:
        with suppress(OSError):
            if self._sock is None:
                self._sock = self._pair.inside(
                    self._pair.far, lambda: socket.create_connection((self._pair.NEAR, PORT))
                )
            self._sock.sendall(b"x")
            return
        self.ends()

    def ends(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def connections(pair: Pair) -> list[str]:
    """Give the states of the connections to the metrics that may still send something."""
    lines = pair.run(pair.near, "cat", "/proc/net/tcp").stdout.decode().splitlines()[1:]
    return [line for line in lines if f":{PORT:04X} " in line and line.split()[3] not in (LISTENS, WAITS)]


def test_frames_of_otus_s_own_connections_are_counted(node: Node) -> None:
    node.config.write_text(node.config.read_text().replace(f"127.0.0.1:{PORT}", f"{Pair.NEAR}:{PORT}"))
    node.start()
    file = node.folder / "task.json"
    file.write_text(json.dumps(TASK))
    assert node.call("task", "create", "-f", str(file))[0] == 0
    wait(lambda: node.call("task", "status", "calls")[1]["workers"][0]["state"] == "running", what="it captures")
    counted: list[int] = []
    scraper = Slow(node.pair)

    def excluded() -> bool:
        scraper.sends()
        return bool(node.counters()["excluded_own"] >= 10)

    with tcpdump(node.pair, counted):
        wait(excluded, what="frames of the scraper's connection are counted")
        scraper.ends()
        wait(lambda: not connections(node.pair), what="the connection is over")
    wait(lambda: node.counters()["kernel_rx"] == counted[0], what="the kernel gave as many as tcpdump saw")
    wait(lambda: node.counters()["in_ring"] == 0, what="all of them are read")
    told = node.counters()
    assert told["frames_read"] + told["excluded_own"] == told["kernel_rx"]
    assert told["frames_read"] > 0  # what came before Otus knew the connection
    assert told["unaccounted"] == 0
    assert node.pair.inside(node.pair.near, lambda: metric(node)) == told["excluded_own"]
    node.rpc("daemon_shutdown")
    assert node.process is not None
    assert node.process.wait(60) == 0
    assert Path(f"{node.folder}/o.sock").exists() is False


def metric(node: Node) -> float:
    text = urlopen(f"http://{Pair.NEAR}:{PORT}/metrics", timeout=60).read().decode()
    (found,) = re.findall(r'^otus_capture_excluded_total\{task="calls"\} (\S+)$', text, re.MULTILINE)
    return float(found)


def test_the_connection_of_a_task_that_reads_a_file_is_left_out_too(node: Node) -> None:
    message = b"OPTIONS sip:b@example.com SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n" + 1200 * b"x"
    with (node.folder / "long.pcap").open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for _ in range(10_000):  # more than the buffers of a connection hold, which nobody reads
            writer.writepkt(packets.udp(message), 1.0)
    listener = node.pair.inside(node.pair.far, lambda: socket.create_server((Pair.FAR, HOMER)))
    replayed = {
        "id": "replayed",
        "capture": {"type": "pcap", "files": [str(node.folder / "long.pcap")]},
        "parsers": ["sip"],
        "reporters": [{"type": "hep", "config": {"servers": [f"{Pair.FAR}:{HOMER}"], "transport": "tcp"}}],
    }
    node.start()
    with listener:
        for task in (TASK, replayed):
            file_of = node.folder / f"{task['id']}.json"
            file_of.write_text(json.dumps(task))
            assert node.call("task", "create", "-f", str(file_of))[0] == 0
        # The kernel asks again and again for room (RFC 9293 §3.8.6.1)
        wait(lambda: excluded(node) > 0, what="frames of the connection are left out")


def excluded(node: Node) -> int:
    tasks = {task["task_id"]: task for task in node.rpc("task_status")["tasks"]}
    return int((tasks["calls"].get("counters") or {}).get("excluded_own", 0))
