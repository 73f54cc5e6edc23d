"""The daemon as an operator uses it: whole processes over a real socket, and what a kill -9 leaves behind."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from pathlib import Path

from tests.e2e.node import Node, task
from tests.live.net import OTUS
from tests.patience import wait


def test_a_task_s_life(node: Node, examples: Path) -> None:
    node.start()
    call = examples / "call.pcap"
    assert node.call("task", "create", "-f", "-", text=task(call)) == (0, {"task_id": "t1", "status": "created"}, "")
    assert node.call("task", "list")[1] == {"tasks": ["t1"], "count": 1}
    status, _, error = node.call("task", "create", "-f", "-", text=task(call))
    assert (status, "exists already" in error) == (1, True)
    wait(lambda: node.call("task", "status", "t1")[1]["counters"]["unaccounted"] == 0)
    assert node.call("stats")[1]["tasks"]["t1"]["state"] == "running"
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{node.port}/metrics", timeout=60).read().decode()
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
    wait(lambda: node.runs("t1"))  # the socket answers while tasks come back
    assert node.call("task", "status", "t1")[1]["restart_count"] == 1


def test_a_reload_changes_what_it_can_and_a_bad_file_nothing(node: Node) -> None:
    node.start()
    node.write("debug")
    changed = {"changed": ["log.level"], "needs_restart": [], "tasks_started_anew": []}
    changed |= {"tasks_applied": {}, "task_files_refused": []}
    assert node.call("reload")[1] == {"status": "reloaded", **changed}
    node.config.write_text("otus: {log: {levle: info}}")
    status, _, error = node.call("reload")
    assert (status, "did you mean level" in error) == (1, True)
    assert node.call("status")[0] == 0


def test_stop_ends_it_well(node: Node, examples: Path) -> None:
    node.start()
    node.call("task", "create", "-f", "-", text=task(examples / "call.pcap"))
    assert node.call("stop")[0] == 0
    assert node.ended() == 0
    assert not os.path.lexists(f"{node.folder}/o.sock")
    assert not os.path.lexists(f"{node.folder}/o.pid")
    assert node.call("status")[0] == 3
    node.start()
    wait(lambda: bool(node.call("task", "list")[1]["tasks"] == ["t1"]))


def test_a_second_daemon_is_refused(node: Node) -> None:
    node.start()
    done = subprocess.run([OTUS, "daemon", "-c", str(node.config)], capture_output=True, timeout=60, check=False)
    assert (done.returncode, b"another daemon" in done.stderr) == (1, True)
    assert node.call("status")[0] == 0
