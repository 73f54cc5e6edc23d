"""A disk that takes its time holds up nobody but whoever waits for it, and what is stored keeps its order."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.core.plugins.distributions import Site
from tests.e2e.node import Node, task
from tests.patience import PATIENCE_S, wait

SLOW = """
import os, time
from pathlib import Path

from otus_core.supervise.store import Disk

FOLDER = Path(os.environ["OTUS_TEST_SLOW"])

def hold_up(name):
    real = getattr(Disk, name)
    def step(self, *arguments):
        (FOLDER / "reached").touch()
        while (FOLDER / name).exists():
            time.sleep(0.01)
        return real(self, *arguments)
    setattr(Disk, name, step)

for name in ("write", "sync_folder", "rename", "remove"):
    hold_up(name)
"""


@pytest.fixture
def slow(node: Node, tmp_path: Path) -> Path:
    """A folder in which a file of a step's name holds that step up."""
    Site(folder=tmp_path).install("otus-plugin-slow", SLOW)
    folder = tmp_path / "slow"
    folder.mkdir()
    node.start(PYTHONPATH=str(tmp_path), OTUS_TEST_SLOW=str(folder))
    return folder


class Asked(threading.Thread):
    """A question to the daemon, asked beside others."""

    def __init__(self, node: Node, method: str, **params: Any) -> None:
        super().__init__()
        self._ask = lambda: node.rpc(method, **params)
        self.answer: dict[str, Any] = {}
        self.start()

    def run(self) -> None:
        self.answer = self._ask()


@pytest.mark.parametrize("step", ["write", "sync_folder"])
def test_others_are_answered_while_a_task_is_being_stored(node: Node, slow: Path, examples: Path, step: str) -> None:
    config = json.loads(task(examples / "call.pcap", "t"))
    (slow / step).touch()
    creating = Asked(node, "task_create", config=config)
    wait((slow / "reached").exists, what="the disk is at work")
    assert node.rpc("task_list")["result"]["tasks"] == ["t"]  # its id is taken from now on
    assert "exists already" in node.rpc("task_create", config=config)["error"]["message"]
    assert node.metrics()["otus_chore_failures_total", (("chore", "daemon:sample"),)] == 0
    assert creating.is_alive()  # nobody is told that it is created before the disk has it
    (slow / step).unlink()
    creating.join(PATIENCE_S)
    assert creating.answer["result"]["status"] == "created"
    stored = json.loads((node.folder / "data" / "tasks" / "t.json").read_text())
    assert (stored["id"], stored["wanted"]) == ("t", "running")


def test_what_is_stored_keeps_its_order_and_is_whole_when_the_daemon_has_stopped(
    node: Node, slow: Path, examples: Path
) -> None:
    folder = node.folder / "data" / "tasks"
    node.rpc("task_create", config=json.loads(task(examples / "call.pcap", "a")))
    node.rpc("task_create", config=json.loads(task(examples / "call.pcap", "b")))
    (slow / "reached").unlink()
    (slow / "write").touch()
    deleting = Asked(node, "task_delete", task_id="a")
    wait((slow / "reached").exists, what="the disk is at work")
    assert node.rpc("daemon_shutdown")["result"]["status"] == "shutting_down"
    wait(lambda: any(entry["event"] == "daemon_stopping" for entry in node.log()), what="it is stopping")
    (slow / "write").unlink()
    deleting.join(PATIENCE_S)
    assert node.ended() == 0
    assert [path.name for path in folder.glob("*.json")] == ["b.json"]
    stored = json.loads((folder / "b.json").read_text())
    assert (stored["state"], stored["wanted"]) == ("stopped", "running")
    (ended,) = folder.glob("finished/a.*.json")
    assert json.loads(ended.read_text())["reason"] == "deleted"
