"""What the guide for authors says of records, on a live capture and on files: its own examples are the plugin."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from otus_core.testing import packets
from tests.core.plugins.distributions import Site
from tests.live.net import OTUS, Pair
from tests.patience import wait

ROOT = Path(__file__).parents[2]
DECLARED = """
import otus_core

@otus_core.hookimpl
def otus_components():
    yield otus_core.Processor(name="rates", factory="told_parts:Rates", produces=("rate",))
    yield otus_core.Processor(
        name="users", factory="told_parts:CallsPerUser", produces=("user",), accepts=("sip",), routes=True
    )
"""
INVITE = b"INVITE sip:bob@example SIP/2.0\r\nCall-ID: call-%d\r\nCSeq: 1 INVITE\r\nFrom: <sip:user-%d@example>\r\n\r\n"


def section() -> list[str]:
    """The Python examples of the section on records."""
    text = (ROOT / "docs" / "plugins.md").read_text()
    part = text[text.index("## Components that speak over time") : text.index("## Rules for reporters")]
    return re.findall(r"```python\n(.*?)```", part, re.DOTALL)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples installed as a plugin."""
    rates, users = section()
    parts = (rates + "\n\n" + users).replace("tick_interval = 10.0", "tick_interval = 0.5")
    Site(folder=tmp_path).install("otus-plugin-told", DECLARED, modules={"told_parts": parts})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def invites(count: int, users: int) -> list[bytes]:
    """Calls of a few users, from many addresses, so that the kernel spreads each user over the workers."""
    return [packets.udp(INVITE % (n, n % users), src=f"10.99.1.{n % 250 + 1}", dst="10.99.0.1") for n in range(count)]


def records(lines: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["payload_type"] == kind]


def write_capture(path: Path, frames: list[bytes]) -> None:
    import dpkt

    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n, frame in enumerate(frames):
            writer.writepkt(frame, ts=1_700_000_000 + n / 1000)


@pytest.mark.live
def test_each_user_is_told_of_once_however_the_kernel_spreads_the_calls(pair: Pair, run: Any, told: Path) -> None:
    task = {
        "id": "t",
        "capture": {"type": "afpacket", "interface": "eth0", "bpf_filter": "udp port 5060"},
        "parsers": ["sip"],
        "processors": ["users"],
        "reporters": [{"type": "console", "config": {"format": "json"}}],
    }
    (told / "task.json").write_text(json.dumps(task))
    one = run("--task", told / "task.json", workers=2)
    calls = invites(2000, 20)
    pair.send(calls[:1000])
    wait(lambda: len(records(one.outputs(), "sip")) == 1000, what="half of the calls are there")
    pair.send(calls[1000:])
    summary = one.stop()  # at once: what is routed of the last calls has to arrive before the owners finish
    per_worker = Counter(line["pipeline_id"] for line in records(one.outputs(), "sip"))
    assert len(per_worker) == 2, "the kernel gave all to one worker: this shows nothing"
    users = {line["payload"]["user"]: line["payload"]["calls"] for line in records(one.outputs(), "user")}
    assert len(records(one.outputs(), "user")) == 20
    assert users == {f"sip:user-{n}@example": 100 for n in range(20)}
    assert summary["unaccounted"] == 0
    assert summary["records"] == {"processor:users": 20}
    assert 0 < summary["routed"]["processor:users"] < 2000 and summary["routed_lost"] == {}


@pytest.mark.live
def test_ticks_come_on_a_live_capture_while_nothing_comes_in(pair: Pair, run: Any, told: Path) -> None:
    one = run("-i", "eth0", "--processor", "rates", "--format", "json", "--bpf", "udp port 5060")
    pair.send(invites(10, 1))
    wait(lambda: records(one.outputs(), "rate"), what="a tick after the last packet")
    told_of = records(one.outputs(), "rate")
    assert sum(line["payload"]["messages"] for line in told_of) == 10
    assert one.stop()["unaccounted"] == 0


def run_file(told: Path, *arguments: str) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    write_capture(told / "calls.pcap", invites(3000, 7))
    command = [
        OTUS,
        "run",
        str(told / "calls.pcap"),
        "--format",
        "json",
        "--summary-json",
        str(told / "summary.json"),
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return lines, json.loads((told / "summary.json").read_text()), done.stderr


def test_a_file_gives_the_same_records_however_many_workers_are_asked_for(told: Path) -> None:
    task = ("--processor", "users", "--processor", "rates")
    one, summary, _ = run_file(told, *task)
    two, _, said = run_file(told, *task, "--workers", "2")
    assert "processor users puts together what is in several workers" in said
    assert one == two
    users = records(one, "user")
    assert sum(line["payload"]["calls"] for line in users) == 3000 and len(users) == 7
    rates = records(one, "rate")
    assert sum(line["payload"]["messages"] for line in rates if line["payload"]["address"] != "None") == 3000
    ticks = ("20.500", "21.000", "21.500", "22.000", "22.500", "22.999")  # the last packet's time is that of the end
    assert sorted({line["timestamp"][17:23] for line in rates}) == list(ticks)
    assert summary["unaccounted"] == 0


def test_a_record_after_the_end_is_refused_and_said_aloud(told: Path) -> None:
    late = """
import otus_core
from told_parts import CallsPerUser

@otus_core.hookimpl
def otus_components():
    yield otus_core.Processor(name="late", factory="otus_plugin_late:Late", produces=("user",))

class Late(CallsPerUser):
    process = lambda self, output: True

    def stop(self):
        self._context.emit(otus_core.Record("user", {}, 1))
"""
    Site(folder=told).install("otus-plugin-late", late)
    lines, summary, said = run_file(told, "--processor", "late")
    assert not records(lines, "user") and summary["unaccounted"] == 0
    assert "processor late emitted a record when all had finished" in said


def test_what_a_task_makes_is_checked_against_what_is_taken(told: Path) -> None:
    task = {
        "capture": {"type": "pcap", "files": ["calls.pcap"]},
        "parsers": ["icmp"],
        "processors": ["users"],
        "reporters": ["console"],
    }
    (told / "task.json").write_text(json.dumps(task))
    done = subprocess.run(
        [OTUS, "validate", "-f", str(told / "task.json")], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "processors[0]" in done.stdout + done.stderr
    assert "users takes payloads of type sip, and what comes to it is of type icmp" in done.stdout + done.stderr
