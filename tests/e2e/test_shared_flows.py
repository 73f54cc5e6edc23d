"""What one parser announces another one finds, whatever number of workers is asked for: on a file there is one, and
Otus says so.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.live.net import OTUS

PLUGIN = """
import otus_core

@otus_core.hookimpl
def otus_components():
    yield otus_core.Parser(name="looker", factory="looker_parts:Looker", payload_types=("media",), wants_flows=True,
                           summary="Tells which call each packet of media belongs to")
"""
PARTS = """
import otus_core

class Looker(otus_core.BaseParser):
    def __init__(self, config):
        pass

    def wire(self, context):
        self._flows = context.flows

    def take(self, packet):
        matches = self._flows.find(packet)
        if not matches:
            return None
        return otus_core.Parsed({}, {"media.call": " ".join(m.context["call_id"] for m in matches)})
"""
CAPTURES = (
    "goffinet__private-test-sip-2.pcapng",
    "sibilant__SIP_CALL_RTP_G711.pcap",
    "wireshark-wiki__sip-and-rtp__SIP_DTMF2.cap",
    "wireshark-wiki__sip-and-rtp__h223-over-rtp.pcap.gz",
)
WHY = "the task runs with 1: parsers sip and looker tell each other of flows"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    Site(folder=tmp_path).install("otus-plugin-looker", PLUGIN, modules={"looker_parts": PARTS})
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([OTUS, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=True)


def test_the_same_input_gives_the_same_output_however_many_workers(corpora: Path, environment: dict[str, str]) -> None:
    files = [str(corpora / name) for name in CAPTURES]
    wanted = ("run", *files, "--parser", "sip", "--parser", "looker", "--format", "json", "--workers")
    runs = [run(environment, *wanted, workers) for workers in ("1", "2", "4")]
    assert runs[0].stdout == runs[1].stdout == runs[2].stdout
    kinds = Counter(json.loads(line)["payload_type"] for line in runs[0].stdout.splitlines())
    assert kinds["media"] > 1500 and kinds["sip"] > 20
    assert [done.stderr.count(WHY) for done in runs] == [0, 1, 1]


def task(corpora: Path) -> dict[str, Any]:
    capture = {"type": "pcap", "files": [str(corpora / CAPTURES[0])], "speed": 0.01}
    parsers = ["sip", "looker"]
    return {"id": "t", "workers": 3, "capture": capture, "parsers": parsers, "reporters": ["discard"]}


def test_validation_and_the_status_of_a_task_say_why_it_has_one_worker(
    corpora: Path, environment: dict[str, str], tmp_path: Path, node: Node
) -> None:
    (tmp_path / "task.json").write_text(json.dumps(task(corpora)))
    told = run(environment, "validate", "-f", str(tmp_path / "task.json"))
    assert f"warning: workers: is 3, and {WHY}" in told.stderr
    node.start(PYTHONPATH=environment["PYTHONPATH"])
    assert "result" in node.rpc("task_create", config=task(corpora))
    assert len(node.state("t")["workers"]) == 1
    shown = run(environment, "--socket", f"{node.folder}/o.sock", "task", "status", "t").stdout
    reason = WHY.partition(": ")[2]
    assert [line.split()[:2] for line in shown.splitlines() if reason in line] == [["one", "worker"]]


def test_a_live_task_and_one_whose_parsers_share_nothing_keep_their_workers(
    corpora: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    alone = {**task(corpora), "parsers": ["sip"]}
    live = {**task(corpora), "capture": {"type": "afpacket", "interface": "lo"}}
    for one in (alone, live):
        (tmp_path / "task.json").write_text(json.dumps(one))
        assert WHY not in run(environment, "validate", "-f", str(tmp_path / "task.json")).stderr
    files = [str(corpora / name) for name in CAPTURES]
    counted = run(environment, "run", *files, "--parser", "sip", "--format", "json", "--workers", "2").stdout
    assert {json.loads(line)["pipeline_id"] for line in counted.splitlines()} == {0, 1}
