"""A deprecated component says since when it is, until when it is there, and what to use; whoever uses it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.patience import wait

OLD = """
import otus_core

class Old(otus_core.BaseReporter):
    def __init__(self, config): pass
    async def report(self, batch): return otus_core.ReportResult(reported=len(batch))

@otus_core.hookimpl
def otus_components():
    yield otus_core.Reporter(name="old", factory="otus_plugin_old:Old", summary="Old reports"{more})
"""
FULL = ', stability="deprecated", since="1.2", removed_in="2.0", use_instead="console"'
SAID = "deprecated since 1.2, to be removed in 2.0; use console instead"
USED = f"reporters[0]: reporter 'old' (otus-plugin-old 1.3) is {SAID}"
TASK = {"id": "calls", "parsers": ["sip"], "reporters": ["old"]}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(folder=tmp_path)


def install(site: Site, more: str) -> None:
    site.install("otus-plugin-old", OLD.format(more=more), version="1.3")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (FULL, SAID),
        (', stability="deprecated"', "deprecated"),
        (', stability="deprecated", use_instead="kafka"', "deprecated; use kafka instead"),
        (', stability="deprecated", removed_in="2.0"', "deprecated, to be removed in 2.0"),
    ],
    ids=["full", "bare", "instead", "removed"],
)
def test_the_list_says_it(site: Site, more: str, said: str) -> None:
    install(site, more)
    assert f"Old reports ({said})\n" in site.otus("plugins", "list").stdout
    row = site.row("otus-plugin-old")
    assert (row["stability"], row["deprecation"]) == ("deprecated", said)
    assert f"plugin old; {said}\n" in site.otus("plugins", "show", "old").stdout


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (', stability="beta", since="1.2"', "since: is for a component that is deprecated, and this one is beta"),
        (', stability="deprecated", since=1.2', "since: give a text"),
        (', stability="deprecated", use_instead="x" * 65', "use_instead: give a text of at most 64 characters"),
        (', stability="deprecated", removed_in="2\\n0"', "removed_in: give a text"),
    ],
    ids=["not deprecated", "a number", "long", "two lines"],
)
def test_what_makes_no_sense_is_refused(site: Site, more: str, reason: str) -> None:
    install(site, more)
    row = site.row("otus-plugin-old")
    assert (row["state"], row["stage"]) == ("failed", "validate")
    assert f"reporter 'old': {reason}" in row["reason"]


def test_whoever_validates_or_runs_a_task_with_it_is_told(site: Site, examples: Path) -> None:
    install(site, FULL)
    file = site.folder / "task.json"
    file.write_text(json.dumps({**TASK, "capture": {"type": "pcap", "files": [str(examples / "call.pcap")]}}))
    validated = site.otus("validate", "-f", str(file))
    assert (validated.returncode, validated.stderr) == (0, f"{file}: warning: {USED}\n")
    assert json.loads(site.otus("--output", "json", "validate", "-f", str(file)).stdout)["warnings"] == [USED]
    ran = site.otus("run", "-t", str(file))
    assert (ran.returncode, f"otus: warning: {USED}\n" in ran.stderr) == (0, True)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.end()


def test_the_daemon_says_which_task_uses_it(site: Site, node: Node, examples: Path) -> None:
    install(site, FULL)
    node.start(PYTHONPATH=str(site.folder))
    capture = {"type": "pcap", "files": [str(examples / "call.pcap")], "speed": 0.001}
    assert node.rpc("task_create", task={**TASK, "capture": capture})["result"]["status"] == "created"
    wait(lambda: node.runs("calls"), what="the task runs")
    assert f"task calls: {USED}" in node.rpc("daemon_status")["result"]["warnings"]
    (told,) = [event for event in node.log() if event["event"] == "task_deprecated_component"]
    assert (told["task"], told["message"]) == ("calls", USED)
