"""A node as its operator knows it: a live task on a veth, sipp's calls, status, metrics, reload, kill -9, stop; and
nothing is lost on the way.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from otus_core.testing import packets
from tests.live.net import OTUS, Pair, answers, ask, control
from tests.live.test_live import call as make_calls
from tests.live.test_live import message
from tests.patience import PATIENCE_S, beyond, keeps, nearly_all, wait

pytestmark = pytest.mark.live
PORT = 9191
CONFIG = """\
otus:
  node: {{hostname: edge-1, ip: 127.0.0.1}}
  control: {{socket: {folder}/o.sock, pid_file: {folder}/o.pid}}
  data_dir: {folder}/data
  metrics: {{listen: "127.0.0.1:{port}"}}
  resources: {{max_workers: 8}}
  log: {{level: {level}, outputs: {{file: {{enabled: true, path: {folder}/otus.log}}}}}}
"""
TASK = """\
id: calls
workers: 2
capture:
  type: afpacket
  interface: eth0
  bpf_filter: udp port 5060
parsers: [sip]
reporters: [discard]
"""


class Node:
    """A daemon in the near namespace of a pair."""

    def __init__(self, pair: Pair, folder: Path) -> None:
        self.pair = pair
        self.folder = folder
        self.config = folder / "config.yml"
        self.write("info")
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, level: str) -> None:
        self.config.write_text(CONFIG.format(folder=self.folder, port=PORT, level=level))

    def start(self, **environment: str) -> None:
        self.process = self.pair.popen(
            self.pair.near,
            *(OTUS, "daemon", "-c", self.config),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
        wait(lambda: answers(self.folder), what="the daemon answers")

    def call(self, *arguments: str) -> tuple[int, Any]:
        status, answer, _ = control(self.folder, *arguments)
        return status, answer

    def rpc(self, method: str) -> Any:
        """Ask without a process of its own."""
        return ask(self.folder, method)["result"]

    def counters(self) -> dict[str, Any]:
        """The task's counters; empty while it is not back yet."""
        (task,) = self.rpc("task_status")["tasks"] or [{}]
        return dict(task.get("counters") or {})

    def running(self) -> bool:
        """Whether every worker captures."""
        _, status = self.call("task", "status", "calls")
        return bool(status) and [w["state"] for w in status.get("workers", ())] == ["running"] * 2

    def metrics(self) -> dict[tuple[str, str], float]:
        """Every sample of the task, by name and what its other label says."""
        url = f"http://127.0.0.1:{PORT}/metrics"
        text = self.pair.inside(self.pair.near, lambda: urllib.request.urlopen(url, timeout=PATIENCE_S).read().decode())
        return {
            (sample.name, next((v for k, v in sample.labels.items() if k != "task"), "")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.labels.get("task") == "calls"
        }

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    pair = Pair(f"otusd{os.getpid() % 100_000}")
    made = Node(pair, tmp_path)
    yield made
    made.end()
    pair.remove()


def create(node: Node) -> None:
    file = node.folder / "task.yaml"
    file.write_text(TASK)
    assert node.call("task", "create", "-f", str(file)) == (0, {"task_id": "calls", "status": "created"})
    wait(node.running, what="both workers capture")


def test_a_node_from_start_to_stop(node: Node, tmp_path: Path) -> None:
    node.start()
    create(node)
    sent = make_calls(node.pair, tmp_path, calls=100)
    wait(lambda: node.counters()["reporters"]["discard"]["reported"] == sent, what="all messages are reported")
    wait(lambda: node.counters()["kernel_rx"] == sent, what="and counted")
    counters = node.counters()
    assert (counters["in_ring"], counters["kernel_drop"], counters["unaccounted"]) == (0, 0, 0)
    stats = node.call("stats")[1]["tasks"]["calls"]
    assert stats["counters"]["kept"] == sent
    metrics = node.metrics()
    assert metrics["otus_capture_packets_total", "eth0"] == sent
    assert metrics["otus_capture_drops_total", "kernel"] == 0
    assert metrics["otus_unaccounted", ""] == 0
    assert sum(v for (n, stage), v in metrics.items() if (n, stage) == ("otus_task_status", "running")) == 1
    node.write("debug")
    assert node.call("reload")[1]["changed"] == ["log.level"]
    keeps(0.0, lambda: beyond(3.0, lambda: killed_and_back(node)), what="to the first reported packet, beyond 3 s:")
    assert node.call("stop")[0] == 0
    assert node.process is not None
    assert node.process.wait(PATIENCE_S) == 0
    log = [json.loads(line) for line in (node.folder / "otus.log").read_text().splitlines()]
    assert "daemon_stopped" in [entry["event"] for entry in log]


def killed_and_back(node: Node) -> float:
    """kill -9, and packets flow again; gives how long after the new start."""
    workers = [worker["pid"] for worker in node.call("task", "status", "calls")[1]["workers"]]
    assert node.process is not None
    node.process.kill()
    node.process.wait()
    wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), what="no worker is left")
    begun = time.monotonic()
    node.start()
    number = 0
    while not (counters := node.counters()) or not counters["reporters"]["discard"]["reported"]:
        assert time.monotonic() - begun < PATIENCE_S
        node.pair.send([packets.udp(message(number))])
        number += 1
        time.sleep(0.02)
    away = time.monotonic() - begun
    wait(node.running)
    frames = node.counters()["kernel_rx"]
    node.pair.send([packets.udp(message(n), src=f"10.6.0.{n % 250 + 1}") for n in range(500)])
    wait(lambda: node.counters()["kernel_rx"] >= frames + 500)
    wait(lambda: node.counters()["in_ring"] == 0)
    wait(lambda: node.counters()["reporters"]["discard"]["reported"] == node.counters()["frames_read"])
    assert node.counters()["unaccounted"] == 0
    return away


def test_status_is_answered_while_five_hundred_callers_hang(node: Node) -> None:
    node.start()
    create(node)
    keeps(0.2, lambda: nearly_all(among_hanging_ones(node)))


def among_hanging_ones(node: Node) -> list[float]:
    """Give how long calls take while others hang."""
    hanging = []
    try:
        for _ in range(500):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(PATIENCE_S)
            sock.connect(f"{node.folder}/o.sock")
            sock.send(b'{"jsonrpc": "2.0", "id"')
            hanging.append(sock)
        return [status_time(node) for _ in range(200)]
    finally:
        for sock in hanging:
            sock.close()


def status_time(node: Node) -> float:
    begun = time.monotonic()
    assert node.rpc("task_status")["count"] == 1
    return time.monotonic() - begun


def test_control_answers_while_the_ring_overruns(node: Node) -> None:
    node.start()
    ring = {"type": "afpacket", "interface": "eth0", "block_size": 131072, "block_count": 4}
    file = node.folder / "task.json"
    file.write_text(json.dumps({"id": "calls", "capture": ring, "reporters": ["discard"]}))
    assert node.call("task", "create", "-f", str(file))[0] == 0
    frames = [packets.udp(message(n) + b"x" * 800) for n in range(3000)]
    sent = 0

    def overrun() -> float:
        """Give the longest time of an answer."""
        nonlocal sent
        wait(lambda: node.call("task", "status", "calls")[1]["workers"][0]["state"] == "running")
        worker = node.call("task", "status", "calls")[1]["workers"][0]["pid"]
        os.kill(worker, signal.SIGSTOP)  # shorter than what counts as hung
        flood = threading.Thread(target=node.pair.send, args=(frames,))
        flood.start()
        times = [status_time(node)]
        while flood.is_alive():
            times.append(status_time(node))
        flood.join()
        sent += len(frames)
        with contextlib.suppress(ProcessLookupError):  # unless the machine stood still
            os.kill(worker, signal.SIGCONT)
        return max(times)

    overrun()
    keeps(0.5, overrun)
    wait(lambda: node.counters()["kernel_rx"] == sent and node.counters()["in_ring"] == 0)
    wait(lambda: node.counters()["unaccounted"] == 0)
    counters = node.counters()
    assert 0 < counters["kernel_drop"] < sent
    assert counters["frames_read"] == sent - counters["kernel_drop"]
    assert node.metrics()["otus_capture_drops_total", "kernel"] == counters["kernel_drop"]


def test_systemd_is_told(node: Node) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(node.folder / "notify"))
        heard: list[str] = []

        def listen() -> None:
            while said := systemd.recv(4096):  # a queue that nobody empties is soon full, and what comes then is lost
                heard.append(said.decode())

        threading.Thread(target=listen, daemon=True).start()
        node.start(NOTIFY_SOCKET=str(node.folder / "notify"), WATCHDOG_USEC="1000000")
        create(node)
        assert node.process is not None

        def hears(word: str) -> None:
            wait(lambda: any(word in said for said in heard), what=word)

        hears("READY=1")
        hears("WATCHDOG=1")
        heard.clear()
        node.process.send_signal(signal.SIGHUP)
        hears("RELOADING=1")
        hears("READY=1")
        node.process.send_signal(signal.SIGTERM)
        hears("STOPPING=1")
        assert node.process.wait(PATIENCE_S) == 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", systemd.getsockname())  # the listener's end


def test_the_background(node: Node) -> None:
    node.pair.run(node.pair.near, OTUS, "daemon", "-c", node.config, "--daemonize", timeout=PATIENCE_S)
    assert node.call("status")[0] == 0  # it had been ready when the command returned
    pid = int((node.folder / "o.pid").read_text())
    assert node.call("stop")[0] == 0
    wait(lambda: not Path(f"/proc/{pid}").exists(), what="it has ended")
