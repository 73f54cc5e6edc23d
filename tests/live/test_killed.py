"""A worker that is killed in the middle of a packet while its reporter's destination is away: nothing that it had read
is lost.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from otus_core.testing import packets
from tests.core.plugins.distributions import Site
from tests.live.net import Pair, Run
from tests.live.test_live import message
from tests.patience import wait

pytestmark = pytest.mark.live

DEADLY = """
import otus_core

@otus_core.hookimpl
def otus_components():
    yield otus_core.Processor(name="deadly", factory="deadly_parts:Deadly", summary="Kills its worker at some calls")
    yield otus_core.Reporter(name="away", factory="deadly_parts:Away", summary="Writes calls to a file, when it may")
"""
DEADLY_PARTS = """
import os, signal
from pathlib import Path
import otus_core

FOLDER = Path(os.environ["OTUS_TEST_DEADLY"])

class Deadly(otus_core.BaseProcessor):
    def __init__(self, config):
        pass

    def process(self, output):
        call = output.label("sip.call_id")
        deadly = FOLDER / call
        if deadly.exists():
            if deadly.read_text() == "once":
                deadly.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return True

class Away(otus_core.BaseReporter):
    def __init__(self, config):
        pass

    async def report(self, batch):
        if not (FOLDER / "back").exists():
            raise ConnectionRefusedError("away")
        with (FOLDER / "reported").open("a") as file:
            file.writelines(output.label("sip.call_id") + "\\n" for output in batch)
        return otus_core.ReportResult(reported=len(batch))
"""


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a call's file kills whoever processes that call."""
    Site(folder=tmp_path).install("otus-plugin-deadly", DEADLY, modules={"deadly_parts": DEADLY_PARTS})
    folder = tmp_path / "deadly"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OTUS_TEST_DEADLY", str(folder))
    task = {
        "id": "t",
        "capture": {"type": "afpacket", "interface": "eth0", "bpf_filter": "udp port 5060"},
        "parsers": ["sip"],
        "processors": ["deadly"],
        "reporters": [{"type": "away", "spool": {"path": str(tmp_path / "spool")}, "batch_timeout": "10ms"}],
    }
    (tmp_path / "task.json").write_text(json.dumps(task))
    return folder


def calls(first: int, count: int) -> list[bytes]:
    return [packets.udp(message(n)) for n in range(first, first + count)]


def reported(folder: Path) -> Counter[str]:
    return Counter((folder / "reported").read_text().split())


def end(one: Run, folder: Path, least: int, status: int) -> dict[str, Any]:
    """Let the destination come back, and end the run when so many calls are there."""
    (folder / "back").touch()
    wait(lambda: (folder / "reported").exists() and len(reported(folder)) >= least, what="they are reported")
    summary = one.stop(status=status)
    assert summary["unaccounted"] == 0
    assert summary["kernel_rx"] == summary["frames_read"] - summary["frames_again"] + summary["in_ring"]
    return summary


def outage(pair: Pair, one: Run, spool: Path) -> None:
    """Send calls until they go to disk."""
    pair.send(calls(0, 100))
    wait(lambda: list(spool.glob("worker-0/*.open")), what="the spool is in use")


def test_what_a_killed_worker_had_read_is_read_again(pair: Pair, run: Any, deadly: Path) -> None:
    one = run("--task", deadly.parent / "task.json")
    outage(pair, one, deadly.parent / "spool")
    for n in (150, 501):  # three in a row would have the processor cut off
        (deadly / f"call-{n}").write_text("once")
    pair.send(calls(100, 900))
    wait(lambda: one.errors().count("worker_died") == 2, what="both have killed")
    summary = end(one, deadly, 1000, 0)
    assert reported(deadly) == Counter(f"call-{n}" for n in range(1000))
    away = summary["reporters"]["away"]
    assert (away["dropped"], summary["dropped"]) == ({}, {})
    assert summary["frames_again"] >= 2 and summary["frames_cut"] == 2
    assert away["reported"] == 1000 and away["offered"] == 1000 + away["offered_again"]


def test_a_call_that_kills_each_time_costs_what_was_in_its_slice_and_no_more(
    pair: Pair, run: Any, deadly: Path
) -> None:
    one = run("--task", deadly.parent / "task.json")
    outage(pair, one, deadly.parent / "spool")
    (deadly / "call-150").write_text("always")
    pair.send(calls(100, 100))
    wait(lambda: one.errors().count("worker_died") == 2, what="it has killed, and was tried once more")
    pair.send(calls(200, 100))
    summary = end(one, deadly, 200, 1)
    found = reported(deadly)
    lost = {f"call-{n}" for n in range(300)} - set(found)
    assert lost >= {"call-150"} and set(found.values()) == {1}
    counted = summary["dropped"].get("worker_crash", 0) + summary["reporters"]["away"]["dropped"].get("worker_crash", 0)
    assert len(lost) == counted <= 100
    assert set(found) >= {f"call-{n}" for n in range(200, 300)}
