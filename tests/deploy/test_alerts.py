"""Each alert fires on what a real daemon exports in the state that the alert is for, and none on what a healthy one
does.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from otus_core.decode.decoder import COUNTERS
from otus_core.pipeline.counters import Roster, counter_names
from tests import needs
from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.patience import PATIENCE_S, free_port, wait

from .moody import BROKEN, PARTS, PLUGIN
from .rules import RULES, Scrape, alerts, firing

pytestmark = pytest.mark.slow

DEPLOY = needs.ROOT / "deploy"
REFERENCE = needs.ROOT / "docs" / "reference" / "metrics.md"
ASKED = re.compile(r"\b((?:otus|process)_[a-z_]+)(?:\{([^}]*)\})?")

DESCRIPTORS = 100
GREEDY_MAX = 240 << 20
"""Limit of the worker that takes 195 MiB more than it needs: above 80 % of this, and below it by more than it needs."""
PAUSE_S = 1.5
"""Between the two scrapes that tell how fast counters grow."""


@attrs.frozen
class States:
    """What daemons exported: a healthy one; one before and, twice, after everything went wrong; one that is gone.

    The crowded one runs out of descriptors, while another node has its name.
    """

    healthy: tuple[Scrape, Scrape]
    before: Scrape
    ill: tuple[Scrape, Scrape]
    crowded: tuple[Scrape, Scrape]
    gone: Scrape


def scrape(node: Node) -> Scrape:
    """Scrape a node that is there: on a machine that stands still, a try may take longer than a connection lasts."""
    made: list[Scrape] = []

    def answers() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(url_of(node), timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
            made.append(Scrape.of(time.monotonic(), text))
        return bool(made)

    wait(answers, what="the metrics are served")
    return made[0]


def scrape_in_vain(node: Node) -> Scrape:
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(url_of(node), timeout=PATIENCE_S)
    return Scrape.of(time.monotonic(), None)


def url_of(node: Node) -> str:
    return f"http://127.0.0.1:{node.port}/metrics"


def twice(node: Node) -> tuple[Scrape, Scrape]:
    first = scrape(node)
    time.sleep(PAUSE_S)
    return first, scrape(node)


def down(seen: Scrape) -> set[str]:
    """Give the tasks of which a worker captures nothing."""
    return {dict(labels)["task"] for (name, labels), up in seen.values.items() if name == "otus_capture_up" and not up}


def busy_twice(node: Node) -> tuple[Scrape, Scrape]:
    """Scrape until the worker that would use a whole CPU has got one, for the machine may be in use, the task that
    fails is not being tried again at that moment, and the full spool has dropped a segment in between.
    """
    with contextlib.suppress(PermissionError):  # on a machine with much else to do
        os.setpriority(os.PRIO_PROCESS, node.state("busy")["workers"][0]["pid"], -15)
    begun = time.monotonic()
    while True:
        first, last = twice(node)
        name = "otus_worker_cpu_seconds_total"
        has_cpu = last.of_task(name, "busy") - first.of_task(name, "busy") > 0.85 * (last.at - first.at)
        failed = ("otus_task_status", (("status", "failed"), ("task", "failing")))
        lost = "otus_reporter_dropped_total"
        has_dropped = last.of_task(lost, "spooling") > first.of_task(lost, "spooling")
        # On a machine with much else to do a worker may be silent for so long that it is replaced.
        others_run = down(first) == down(last) == {"absent"}
        is_ill = has_dropped and others_run and first.values[failed] == last.values[failed] == 1
        spent = time.monotonic() - begun
        # A CPU that is not there is not waited for as long as the rest, which comes however slow the machine is.
        if (is_ill and (has_cpu or spent > PATIENCE_S / 3)) or spent > PATIENCE_S:
            return first, last


def create(node: Node, task_id: str, folder: Path, **more: Any) -> None:
    folder.mkdir(exist_ok=True)
    moods = {"config": {"folder": str(folder)}}
    reporter = {"type": "moody", "capacity": 50, "batch_size": 10, "batch_timeout": "50ms", "send_timeout": "10m"}
    task: dict[str, Any] = {
        "id": task_id,
        "capture": {"type": "moody", "folder": str(folder)},
        "parsers": [{"type": "moody", **moods}],
        "reporters": [{**reporter, **moods}],
        **more,
    }
    answer = node.rpc("task_create", config=task)
    assert "result" in answer, answer


def value(node: Node, name: str, **labels: str) -> float:
    found = [v for (n, given), v in node.metrics().items() if n == name and labels.items() <= dict(given).items()]
    return sum(found)


def healthy_then_crowded_then_gone(folder: Path, site: Path) -> tuple[Any, Any, Scrape]:
    node = Node(folder)
    node.under = ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"]
    channel = {"enabled": True, "type": "moody", "options": {"folder": str(folder)}}
    node.write("info", f"  command_channel: {json.dumps(channel)}\n")
    node.start(PYTHONPATH=str(site))
    with ExitStack() as callers:
        callers.callback(node.end)
        create(node, "t", folder / "t")
        wait(lambda: value(node, "otus_reporter_reported_total") > 0, what="it works")
        healthy = twice(node)
        (folder / "twin").touch()
        for _ in range(DESCRIPTORS // 2):  # so many callers are held at a time
            callers.enter_context(socket.socket(socket.AF_UNIX)).connect(f"{node.folder}/o.sock")
        wait(lambda: value(node, "process_open_fds") > 0.8 * DESCRIPTORS, within=10, what="descriptors run out")
        crowded = twice(node)
    return healthy, crowded, scrape_in_vain(node)


def kill_worker(node: Node, task_id: str, times: int) -> None:
    for n in range(times):
        (worker,) = node.state(task_id)["workers"]
        os.kill(worker["pid"], signal.SIGKILL)
        wait(lambda n=n: node.state(task_id)["worker_restarts"] == n + 1, what="it is started again")
        wait(lambda: node.state(task_id)["workers"][0]["state"] == "running", what="it runs again")


def falsify(node: Node, task_id: str) -> None:
    """Make a counter of a quiet task wrong, in the shared memory itself: no known defect does."""
    roster = Roster(parsers=("moody",), reporters={"moody": ()}, live=True)
    at = 8 * counter_names(roster, COUNTERS).index("units")
    for link in Path(f"/proc/{node.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if f"memfd:otus-{task_id}" in os.readlink(link):
                with link.open("r+b", buffering=0) as memory:
                    memory.seek(at)
                    n = int.from_bytes(memory.read(8), "little", signed=True) - 7
                    memory.seek(at)
                    memory.write(n.to_bytes(8, "little", signed=True))


def before_and_ill(folder: Path, site: Path) -> tuple[Scrape, Any]:
    node = Node(folder)
    nobody = free_port()
    node.write(
        "info",
        "  resources: {max_workers: 16}\n"
        f"  kafka: {{brokers: ['127.0.0.1:{nobody}']}}\n  command_channel: {{enabled: true, type: kafka}}\n",
    )
    configuration = node.config.read_text().replace("  resources: {max_workers: 4}\n", "")
    node.config.write_text(configuration)
    os.mkfifo(folder / "otus.log")
    node.start(PYTHONPATH=str(site))
    try:
        for task_id in ("slow", "raising", "busy", "greedy", "silent", "dying", "failing"):
            limit = GREEDY_MAX if task_id == "greedy" else 0
            create(node, task_id, folder / task_id, worker_max_rss=limit)
        spool = {"path": str(folder / "spool"), "max_bytes": 1 << 20}
        spooling = {"type": "moody", "config": {"folder": str(folder / "spooling")}, "spool": spool}
        create(node, "spooling", folder / "spooling", reporters=[{**spooling, "send_timeout": "10m"}])
        before = scrape(node)
        for mood in ("slow", "raising", "greedy", "silent"):
            (folder / mood / mood).touch()
        (folder / "slow" / "dropping").touch()
        (folder / "spooling" / "slow").touch()
        absent = {"type": "afpacket", "interface": "otusnone0"}
        create(node, "absent", folder / "absent", capture=absent, parsers=["sip"], reporters=["discard"])
        roomy = {"type": "kafka", "config": {"topic": "t"}, "capacity": 1_000_000}  # not full, however long this takes
        create(node, "cut", folder / "cut", reporters=[roomy])
        (folder / "failing" / "fatal").touch()
        node.config.write_text("otus: {levle: 1}")
        node.rpc("config_reload")
        kill_worker(node, "dying", 4)
        falsify(node, "silent")
        (folder / "spooling" / "wordy").touch()
        wait(lambda: value(node, "otus_reporter_dropped_total", task="slow") > 0, what="the buffer is full")
        wait(lambda: value(node, "otus_task_degraded", task="slow") == 1)
        cut_off = {"task": "raising", "component": "reporter:moody", "state": "closed"}
        wait(lambda: value(node, "otus_component_state", **cut_off) == 0, what="it is cut off")
        wait(lambda: value(node, "otus_worker_memory_bytes", task="greedy") > 0.8 * GREEDY_MAX, what="it is greedy")
        wait(lambda: ("otus_reporter_connected", (("reporter", "kafka"), ("task", "cut"))) in node.metrics())
        wait(lambda: value(node, "otus_task_status", task="failing", status="failed") == 1, what="it has failed")
        wait(lambda: value(node, "otus_unaccounted", task="silent") > 0, what="it is noticed")
        spool_full = {"task": "spooling", "reason": "spool_full"}
        wait(lambda: value(node, "otus_reporter_dropped_total", **spool_full) > 0, what="the spool is full")
        (folder / "busy" / "busy").touch()  # the last of all: it leaves little CPU to the others
        return before, busy_twice(node)
    finally:
        node.end()


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> States:
    needs.tool("promtool")
    folder = tmp_path_factory.mktemp("n")
    for name in ("good", "bad", "well", "ill"):
        (folder / name).mkdir()
    for name in ("good", "bad"):
        Site(folder=folder / name).install("otus-plugin-moody", PLUGIN, modules={"moody_parts": PARTS})
    Site(folder=folder / "bad").install("otus-plugin-broken", BROKEN)
    healthy, crowded, gone = healthy_then_crowded_then_gone(folder / "well", folder / "good")
    before, ill = before_and_ill(folder / "ill", folder / "bad")
    return States(healthy=healthy, before=before, ill=ill, crowded=crowded, gone=gone)


ILL: dict[str, list[dict[str, str]]] = {
    "OtusTaskFailed": [{"task": "failing", "status": "failed"}],
    "OtusInterfaceDown": [{"task": "absent", "pipeline": "0", "interface": "otusnone0"}],
    "OtusNoTraffic": [{"task": "silent", "interface": "moody"}],
    "OtusKernelDrops": [{"task": "slow", "stage": "kernel"}],
    "OtusReporterDisconnected": [{"task": "cut", "reporter": "kafka"}],
    "OtusReporterDrops": [{"task": task, "reporter": "moody"} for task in ("raising", "slow", "spooling")],
    "OtusSpoolFilling": [{"task": "spooling", "reporter": "moody"}],
    "OtusQueueFilling": [{"task": "raising", "reporter": "moody"}, {"task": "slow", "reporter": "moody"}],
    "OtusTaskDegraded": [{"task": task} for task in ("absent", "cut", "failing", "raising", "slow")],
    "OtusComponentCutOff": [{"task": "raising", "pipeline": "0", "component": "reporter:moody", "state": "closed"}],
    "OtusWorkerRestarts": [{"task": "dying"}],
    "OtusWorkerBusy": [{"task": "busy", "pipeline": "0"}],
    "OtusWorkerMemory": [{"task": "greedy", "pipeline": "0"}],
    "OtusPluginDown": [{"plugin": "broken", "version": "1.0", "stage": "import"}],
    "OtusCommandChannelDown": [{"channel": "kafka"}],
    "OtusUnaccounted": [{"task": "silent"}],
    "OtusReloadRefused": [{}],
    "OtusLogLinesLost": [{}],
}
FROM_START = {"OtusPluginDown", "OtusCommandChannelDown", "OtusLogLinesLost"}
"""The ill daemon was so from its start."""
EVENTS = {"OtusWorkerRestarts", "OtusReloadRefused", "OtusLogLinesLost"}
"""These tell of something that happened, and go quiet when it does not happen again."""


def test_the_rules_are_valid() -> None:
    subprocess.run([needs.tool("promtool"), "check", "rules", str(RULES)], check=True, capture_output=True)


@pytest.mark.parametrize("name", sorted(alerts()))
def test_a_healthy_daemon_alarms_nobody(states: States, tmp_path: Path, name: str) -> None:
    assert firing(tmp_path, states.healthy[0], states.healthy, name, []) == ""


@pytest.mark.parametrize("name", sorted(ILL))
def test_an_alert_fires(states: States, tmp_path: Path, name: str) -> None:
    calm = states.healthy[0] if name in FROM_START else states.before
    after_min = 2 if name in EVENTS else 30
    assert firing(tmp_path, calm, states.ill, name, ILL[name], after_min) == ""


def test_a_daemon_that_is_gone_is_noticed(states: States, tmp_path: Path) -> None:
    assert firing(tmp_path, states.healthy[0], (states.gone, states.gone), "OtusDown", [{}]) == ""


def test_descriptors_that_run_out_are_noticed(states: States, tmp_path: Path) -> None:
    assert firing(tmp_path, states.healthy[0], states.crowded, "OtusDescriptors", [{}]) == ""


def test_a_node_name_that_is_used_twice_is_noticed(states: States, tmp_path: Path) -> None:
    assert firing(tmp_path, states.healthy[0], states.crowded, "OtusNodeNameTwice", [{"channel": "moody"}]) == ""


def test_what_alerts_and_panels_ask_for_is_exported(states: States) -> None:
    """Every metric, with every label that is asked for, is one of a real daemon's."""
    found: dict[str, set[str]] = {}
    for one in (*states.healthy, *states.ill, *states.crowded):
        for name, labels in one.values:
            found.setdefault(name, {"instance", "job"}).update(label for label, _ in labels)
    panels = json.loads((DEPLOY / "grafana" / "otus.json").read_text())
    expressions = [target["expr"] for panel in panels["panels"] for target in panel["targets"]]
    expressions += [variable["query"] for variable in panels["templating"]["list"]]
    expressions += [rule["expr"] for rule in alerts().values()]
    asked = [pair for expression in expressions for pair in ASKED.findall(expression)]
    assert len(asked) > 50
    for name, matchers in asked:
        wanted = set(re.findall(r"(\w+)\s*(?:=|!=)", matchers))
        assert name in found and wanted <= found[name], (name, wanted - found.get(name, set()))


ONLY_WITH = {
    "otus_command_channel_counted_total": "a command channel that counts",
    "otus_component_routed_total": "a component that routes",
    "otus_component_routed_lost_total": "a component that routes",
}


def test_the_reference_names_what_is_exported(states: States) -> None:
    """The page is made from a view that nobody exported: a real daemon has exactly its metrics, with exactly its
    labels.
    """
    rows = re.findall(r"^\| `(otus_\w+)` \| (\w+) \| (.*?) \|", REFERENCE.read_text(), re.MULTILINE)
    told = {name: set(re.findall(r"\w+", labels)) for name, _, labels in rows}
    found: dict[str, set[str]] = {}
    for one in (*states.healthy, *states.ill, *states.crowded):
        for name, labels in one.values:
            if name.startswith("otus_"):
                bare = re.sub(r"_(bucket|sum|count)$", "", name)
                found.setdefault(bare, set()).update(label for label, _ in labels if label != "le")
    for name in told.keys() - found.keys():  # where no task has such a component there is nothing to count
        assert name in ONLY_WITH, name
        del told[name]
    assert told == found
