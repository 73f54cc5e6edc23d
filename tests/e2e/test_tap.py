"""``otus tap``: the outputs of a running task, live, from all of its workers; the task does not notice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dpkt
import pytest

from otus_core import OutputPacket
from otus_core.cli.top.lookout import Tapping
from otus_core.model.json import encode_json_lines
from otus_core.testing import packets
from tests.e2e.node import Node
from tests.live.net import OTUS
from tests.patience import PATIENCE_S, wait
from tests.sip.messages import message

BEGUN = 1_771_668_600
PAIRS = 16
"""Of addresses: enough that each of two workers has some."""


def capture(path: Path, count: int, gap: float) -> Path:
    """Write SIP requests between several pairs of addresses, a gap of so many seconds between two, and a last one much
    later: until then the task runs.
    """
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n in range(count + 1):
            method = "INVITE" if n % 4 == 0 else "OPTIONS"
            data = message(f"{method} sip:u{n}@example.com SIP/2.0").replace(b"alice", b"al\x1b[31mice")
            frame = packets.udp(data, src=f"192.0.2.{n % PAIRS + 1}", dst="198.51.100.9", src_port=5060, dst_port=5060)
            writer.writepkt(frame, BEGUN + n * gap + (600 if n == count else 0))
    return path


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with a task of two workers, which goes on for as long as the tests."""
    made = Node(tmp_path_factory.mktemp("tap"))
    made.start()
    try:
        create(made, "t1", capture(made.folder / "slow.pcap", 4000, 0.05))
        yield made
    finally:
        made.end()


def create(node: Node, name: str, file: Path) -> None:
    task = {
        "id": name,
        "workers": 2,
        "capture": {"type": "pcap", "files": [str(file)], "speed": 1.0},
        "parsers": ["sip"],
        "reporters": ["discard"],
    }
    assert node.rpc("task_create", config=task)["result"]["status"] == "created"


def tap(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [OTUS, "--socket", f"{node.folder}/o.sock", "tap", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)


def test_messages_of_all_workers_are_shown_as_json(node: Node) -> None:
    done = tap(node, "t1", "--format", "json", "--count", "40")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, len(lines), done.stderr) == (0, 40, "")
    assert {line["pipeline_id"] for line in lines} == {0, 1}
    assert {line["schema"] for line in lines} == {"urn:otus:schema:sip:1"}


def test_a_filter_chooses_and_text_from_packets_is_escaped(node: Node) -> None:
    done = tap(node, "t1", "--filter", "sip.method == 'INVITE'", "--count", "5")
    assert done.returncode == 0
    assert done.stdout.count("INVITE") >= 5 and "OPTIONS" not in done.stdout
    assert "\x1b" not in done.stdout and "\\x1b[31m" in done.stdout


def test_what_cannot_be_tapped_is_said(node: Node) -> None:
    done = tap(node, "t2")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no task 't2'" in done.stderr
    for params, said in (
        ({"filter": "sip.method =="}, "params.filter"),
        ({"filter": "sip.metod == 1", "rate": 0}, "params.rate"),
        ({"format": "xml"}, "params.format"),
        ({"columns": 10**9}, "params.columns"),
    ):
        error = node.rpc("task_tap", task_id="t1", **params)["error"]
        assert error["code"] == -32602 and said in error["message"]


def looker(node: Node, task_id: str, **params: Any) -> socket.socket:
    """Somebody who looks in and never reads."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(f"{node.folder}/o.sock")
    request = {"jsonrpc": "2.0", "id": 1, "method": "task_tap", "params": {"task_id": task_id, "rate": 1000, **params}}
    sock.sendall(json.dumps(request).encode() + b"\n")
    return sock


def test_those_who_never_read_cost_the_task_nothing(node: Node) -> None:
    """A busy task under as many readers as there may be, who do not read: all is reported, and everything adds up."""
    create(node, "t3", capture(node.folder / "fast.pcap", 20_000, 0.0001))
    lookers = [looker(node, "t3", format="json", filter="sip.method == 'INVITE'") for _ in range(8)]
    try:
        wait(lambda: "error" in node.rpc("task_tap", task_id="t3"), what="there is no room for more")
        wait(lambda: node.state("t3")["counters"]["kept"] == 20_000, what="all of it has been read")
        wait(lambda: node.state("t3")["counters"]["unaccounted"] == 0, what="everything adds up")
        counters = node.state("t3")["counters"]
        assert counters["reporters"]["discard"]["dropped"] == {}
    finally:
        for one in lookers:
            one.close()
    wait(lambda: "result" in node.rpc("task_tap", task_id="t3"), what="those who went have made room")
    assert [event for event in node.log() if event["level"] in ("error", "critical")] == []


class Told:
    """The payload of somebody else's plugin, in JSON that has an end of a line within a text."""

    def to_json(self) -> bytes:
        return '{"name":"one\u2028two"}'.encode()


def test_only_line_feeds_end_lines(tmp_path: Path) -> None:
    """A daemon that shows such payloads, a real caller of it, and what ``otus top`` reads."""
    told = encode_json_lines(
        [OutputPacket(payload_type="told", payload=Told(), timestamp=n, src_ip="192.0.2.1") for n in (1, 2)]
    )
    event = {"lines": told.decode(), "seen": 2, "shown": 2, "skipped": 0}
    answers = ({"id": 1, "result": {"task_id": "t"}}, {"method": "tap", "params": {**event, "ended": "task t ended"}})
    path = tmp_path / "o.sock"

    def answer() -> None:
        for _ in range(2):
            caller, _ = listening.accept()
            with caller:
                caller.recv(65536)
                caller.sendall(b"".join(json.dumps({"jsonrpc": "2.0", **one}).encode() + b"\n" for one in answers))

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        answering = threading.Thread(target=answer)
        answering.start()
        command = [OTUS, "--socket", str(path), "tap", "t", "--format", "json", "--count", "1"]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)
        tapping = Tapping(path, "t", sample=True)
        wait(lambda: tapping.ended == "task t ended", what="the events are taken")
        answering.join(PATIENCE_S)
    assert json.loads(done.stdout)["payload"] == {"name": "one\u2028two"}
    assert "192.0.2.1 100 %" in tapping.sampled.lines()[0]


def test_a_tap_ends_with_its_task_and_with_ctrl_c(node: Node) -> None:
    command = [OTUS, "--socket", f"{node.folder}/o.sock", "tap", "t1", "--format", "json"]
    shown = [node.folder / "first", node.folder / "second"]
    taps = []
    for path in shown:
        with path.open("wb") as file:
            taps.append(subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, text=True))
    wait(lambda: all(path.stat().st_size for path in shown), what="both show messages")
    os.kill(taps[0].pid, signal.SIGINT)
    taps[0].communicate(timeout=PATIENCE_S)
    assert taps[0].returncode == 0
    before = shown[1].stat().st_size
    wait(lambda: shown[1].stat().st_size > before, what="the other one goes on")
    node.rpc("task_delete", task_id="t1")
    _, errors = taps[1].communicate(timeout=PATIENCE_S)
    assert (taps[1].returncode, errors) == (0, "otus: task t1 has ended\n")
    out = shown[1].read_bytes()[before:]
    assert out
    assert all(json.loads(line) for line in shown[1].read_bytes().splitlines())
