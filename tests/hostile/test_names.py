"""Linux lets interfaces have control characters in their names: none reaches metrics, logs, answers or a
terminal raw.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from otus_core.model.text import printable
from tests.e2e.test_daemon_live import PORT, Node
from tests.live.net import OTUS, Pair, ip
from tests.patience import wait

pytestmark = pytest.mark.live
EVIL = "e\x1b[31m\x07"
URL = f"http://127.0.0.1:{PORT}/metrics"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node in a namespace that has such an interface."""
    pair = Pair(f"otusn{os.getpid() % 100_000}")
    ip("-n", pair.near, "link", "add", EVIL, "type", "veth", "peer", "name", "other")
    for name in (EVIL, "other"):
        ip("-n", pair.near, "link", "set", name, "up")
    made = Node(pair, tmp_path)
    yield made
    made.end()
    pair.remove()


def clean(data: bytes) -> bool:
    """Whether there is no control character but ends of lines."""
    return all(character.isprintable() or character == "\n" for character in data.decode())


def test_the_name_of_an_interface_reaches_nothing_raw(node: Node) -> None:
    node.start()
    file = node.folder / "task.json"
    live = {"type": "afpacket", "interface": EVIL}
    file.write_text(json.dumps({"id": "calls", "capture": live, "parsers": ["sip"], "reporters": ["discard"]}))
    assert node.call("task", "create", "-f", str(file))[0] == 0
    wait(lambda: node.call("task", "status", "calls")[1]["workers"][0]["state"] == "running", what="it captures")
    metrics = node.pair.run(node.pair.near, "curl", "-sS", URL).stdout
    name = printable(EVIL).replace("\\", "\\\\")  # as Prometheus writes a backslash
    assert f'interface="{name}"'.encode() in metrics
    assert clean(metrics)
    ip("-n", node.pair.near, "link", "del", EVIL)
    log = node.folder / "otus.log"
    wait(lambda: b"capture_trouble" in log.read_bytes(), what="it is told that the interface is gone")
    shown = [
        subprocess.run([OTUS, "--socket", f"{node.folder}/o.sock", *words], capture_output=True, check=False).stdout
        for words in (("task", "list"), ("task", "status", "calls"), ("task", "show", "calls"), ("status",))
    ]
    assert [text for text in (*shown, log.read_bytes()) if not clean(text)] == []


def test_nor_does_a_run_show_it(node: Node) -> None:
    for interface in (EVIL[:-1], "nosuch"):
        command = [OTUS, "run", "-i", interface, "--format", "none"]
        with node.pair.popen(node.pair.near, *command, stderr=subprocess.PIPE) as process:
            told = told_of(process)
        assert b"there is no such interface" in told
        assert clean(told), told


def told_of(process: subprocess.Popen[bytes]) -> bytes:
    """Give what a run says of an interface that is not there, and is waited for."""
    assert process.stderr is not None
    line = process.stderr.readline()
    process.terminate()
    return bytes(line + process.stderr.read())
