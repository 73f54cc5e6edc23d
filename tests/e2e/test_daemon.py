"""The daemon as an operator uses it: whole processes over a real socket, and what a kill -9 leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.net import OTUS, control, free_port, wait


class Node:
    """A daemon's folder: its configuration, and the process when it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = folder / "config.yml"
        self.process: subprocess.Popen[bytes] | None = None
        self.write("info")

    def write(self, level: str) -> None:
        self.config.write_text(
            f"otus:\n  node: {{hostname: edge-1, ip: 127.0.0.1}}\n"
            f"  control: {{socket: {self.folder}/o.sock, pid_file: {self.folder}/o.pid}}\n"
            f"  data_dir: {self.folder}/data\n  metrics: {{listen: '127.0.0.1:{self.port}'}}\n"
            f"  resources: {{max_workers: 4}}\n"
            f"  log: {{level: {level}, outputs: {{file: {{enabled: true, path: {self.folder}/otus.log}}}}}}\n"
        )

    def start(self) -> None:
        self.process = subprocess.Popen(
            [OTUS, "daemon", "-c", str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wait(lambda: self.call("status")[0] == 0)

    def call(self, *arguments: str, text: str | None = None) -> tuple[int, Any, str]:
        """Give exit status, the JSON answer, and standard error."""
        return control(self.folder, *arguments, text=text)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = Node(tmp_path_factory.mktemp("n"))
    yield made
    made.end()


def task(capture: Path, task_id: str = "t1", speed: float = 0.001) -> str:
    return json.dumps(
        {
            "id": task_id,
            "capture": {"type": "pcap", "files": [str(capture)], "speed": speed},
            "parsers": ["sip"],
            "reporters": ["discard"],
        }
    )


def test_a_task_s_life(node: Node, examples: Path) -> None:
    node.start()
    call = examples / "call.pcap"
    assert node.call("task", "create", "-f", "-", text=task(call)) == (0, {"task_id": "t1", "status": "created"}, "")
    assert node.call("task", "list")[1] == {"tasks": ["t1"], "count": 1}
    status, _, error = node.call("task", "create", "-f", "-", text=task(call))
    assert (status, "exists already" in error) == (1, True)
    assert node.call("task", "status", "t1")[1]["counters"]["unaccounted"] == 0
    assert node.call("stats")[1]["tasks"]["t1"]["state"] == "running"
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{node.port}/metrics", timeout=10).read().decode()
    assert 'otus_task_status{status="running",task="t1"} 1.0' in metrics
    assert node.call("task", "delete", "t1")[1] == {"task_id": "t1", "status": "deleted"}
    status, _, error = node.call("task", "delete", "t1")
    assert (status, "no task" in error) == (1, True)
    assert node.call("task", "status")[1]["ended"][0]["reason"] == "deleted"


def test_a_task_whose_source_ends_is_history(node: Node, examples: Path) -> None:
    node.start()
    node.call("task", "create", "-f", "-", text=task(examples / "call.pcap", speed=0.0))
    wait(lambda: node.call("task", "status", "t1")[1]["state"] == "stopped")


def test_tasks_come_back_after_kill_9(node: Node, examples: Path) -> None:
    node.start()
    node.call("task", "create", "-f", "-", text=task(examples / "call.pcap"))
    (worker,) = node.call("task", "status", "t1")[1]["workers"]
    node.end()
    wait(lambda: not Path(f"/proc/{worker['pid']}").exists())
    node.start()
    wait(lambda: node.call("task", "status", "t1")[1]["state"] == "running")  # the socket answers while tasks come back
    assert node.call("task", "status", "t1")[1]["restart_count"] == 1


def test_a_reload_changes_what_it_can_and_a_bad_file_nothing(node: Node) -> None:
    node.start()
    node.write("debug")
    assert node.call("reload")[1] == {"status": "reloaded", "changed": ["log.level"], "needs_restart": []}
    node.config.write_text("otus: {log: {levle: info}}")
    status, _, error = node.call("reload")
    assert (status, "did you mean level" in error) == (1, True)
    assert node.call("status")[0] == 0


def test_stop_ends_it_well(node: Node, examples: Path) -> None:
    node.start()
    node.call("task", "create", "-f", "-", text=task(examples / "call.pcap"))
    assert node.call("stop")[0] == 0
    assert node.process is not None
    assert node.process.wait(20) == 0
    assert not os.path.lexists(f"{node.folder}/o.sock")
    assert not os.path.lexists(f"{node.folder}/o.pid")
    assert node.call("status")[0] == 3
    node.start()
    wait(lambda: bool(node.call("task", "list")[1]["tasks"] == ["t1"]))


def test_a_second_daemon_is_refused(node: Node) -> None:
    node.start()
    done = subprocess.run([OTUS, "daemon", "-c", str(node.config)], capture_output=True, timeout=30, check=False)
    assert (done.returncode, b"another daemon" in done.stderr) == (1, True)
    assert node.call("status")[0] == 0
