"""What a deleted task leaves in its spool is told, stays until somebody decides, and is noticed when the
daemon starts.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from otus_core.config.daemon import AllowConfig
from otus_core.control.policy import check_remote
from otus_core.control.protocol import RpcError
from otus_core.plugins.loader import load
from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.e2e.test_plugin_faults import PARTS, TICKER
from tests.live.net import OTUS
from tests.patience import wait

AWAY = """
import otus_core

@otus_core.hookimpl
def otus_components():
    yield otus_core.Reporter(name="away", factory="away_parts:Away",
                             summary="Its destination is away while a file is there")
"""
AWAY_PARTS = """
import os
import otus_core

class Away(otus_core.BaseReporter):
    def __init__(self, config):
        pass

    async def report(self, batch):
        if os.path.exists(os.environ["OTUS_TEST_AWAY"]):
            raise ConnectionRefusedError("away")
        return otus_core.ReportResult(reported=len(batch))
"""
LEFT = ("otus_spool_left_bytes", ())


@pytest.fixture
def left(node: Node, tmp_path: Path) -> Path:
    """Delete a task whose destination is away; gives the path of its spool."""
    site = Site(folder=tmp_path)
    site.install("otus-plugin-ticker", TICKER, modules={"ticker_parts": PARTS})
    site.install("otus-plugin-away", AWAY, modules={"away_parts": AWAY_PARTS})
    (tmp_path / "away").touch()
    start(node, tmp_path)
    create(node, tmp_path)
    wait(lambda: terms(node)["spooled"] > 50, what="messages are on disk")
    return tmp_path / "spool"


def start(node: Node, folder: Path) -> None:
    node.start(PYTHONPATH=str(folder), OTUS_TEST_AWAY=str(folder / "away"))


def create(node: Node, folder: Path) -> None:
    reporter = {"type": "away", "spool": {"path": str(folder / "spool")}, "batch_timeout": "10ms"}
    task = {"id": "t", "capture": {"type": "ticker"}, "parsers": ["fine"], "reporters": [reporter]}
    answer = node.rpc("task_create", config=task)
    assert "result" in answer, answer


def terms(node: Node) -> dict[str, Any]:
    return dict(node.state("t")["counters"]["reporters"]["away"])


def delete(node: Node, *options: str) -> str:
    command = [OTUS, "--socket", f"{node.folder}/o.sock", "task", "delete", "t", *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def files(spool: Path) -> list[str]:
    return sorted(path.name for path in spool.glob("worker-*/*.spool"))


def warnings(node: Node) -> list[dict[str, Any]]:
    return [entry for entry in node.log() if entry["event"] == "spool_left_behind"]


def test_what_stays_is_told_and_noticed_and_sent_by_the_next_task_of_that_spool(node: Node, left: Path) -> None:
    assert node.metrics()[LEFT] == 0
    told = delete(node)
    (file,) = files(left)
    held = int(file.removesuffix(".spool").partition("-")[2])
    size = (left / "worker-0" / file).stat().st_size
    assert f"{left} holds {held} messages, {size} bytes: they stay" in told
    assert node.metrics()[LEFT] == size
    node.end()
    (node.folder / "otus.log").unlink()
    start(node, left.parent)
    wait(lambda: node.metrics()[LEFT] == size, what="a new daemon notices it")
    (entry,) = warnings(node)
    assert (entry["path"], entry["messages"], entry["bytes"]) == (str(left), held, size)
    (left.parent / "away").unlink()
    create(node, left.parent)
    wait(lambda: terms(node)["spool_found"] == held and terms(node)["spooled"] == 0, what="it is sent")
    assert delete(node) == "task t deleted\n"
    assert node.metrics()[LEFT] == 0


def test_what_is_discarded_is_gone_and_nothing_else(node: Node, left: Path) -> None:
    (left / "notes.txt").write_text("somebody else's")
    (left / "worker-0" / "mine.txt").write_text("somebody else's")
    told = delete(node, "--discard")
    assert f"discarded {left}: " in told
    assert sorted(path.name for path in left.rglob("*")) == ["mine.txt", "notes.txt", "worker-0"]
    assert node.metrics()[LEFT] == 0
    assert warnings(node) == []
    assert [entry["path"] for entry in node.log() if entry["event"] == "spool_discarded"] == [str(left)]


def test_nobody_discards_from_afar() -> None:
    check_remote(AllowConfig(), load(), "task_delete", {"task_id": "t"})
    with pytest.raises(RpcError, match="local caller"):
        check_remote(AllowConfig(), load(), "task_delete", {"task_id": "t", "discard": True})


def test_a_spool_that_is_in_use_is_not_discarded(tmp_path: Path) -> None:
    import fcntl

    from otus_core.errors import OtusError
    from otus_core.pipeline.leftover import discard

    folder = tmp_path / "worker-0"
    folder.mkdir()
    (folder / f"{1:020d}-5.spool").write_bytes(b"x")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OtusError, match="in use"):
            discard(str(tmp_path))
    assert [path.name for path in folder.glob("*.spool")] == [f"{1:020d}-5.spool"]
