"""A task that was accepted stays wanted until somebody deletes it: real daemons, whose tasks cannot start for one
reason or another.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from otus_core.testing import packets
from tests.core.plugins.distributions import Site
from tests.e2e.node import Node, task
from tests.live.net import OTUS, children_of, run_otus
from tests.patience import wait
from tests.pcap.files import pcap_header, pcap_record

FRAGILE = """
import otus_core

@otus_core.configuration
class Fragile:
    breaks_with: str = otus_core.option(default="", help="Capturing fails while this file is there.")

@otus_core.configuration
class Needing:
    needs: str = otus_core.option(default="", help="A file that must be there at the start.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Capturer(name="fragile", factory="fragile_parts:Capturer", config=Fragile, live=True,
                             summary="May break")
    yield otus_core.Reporter(name="needing", factory="fragile_parts:Reporter", config=Needing, summary="Needs a file")
"""
PARTS = """
import os, time
import otus_core
from otus_core.testing import packets

class Capturer(otus_core.BaseCapturer):
    def __init__(self, config):
        self._config, self._given, self._halted = config, 0, False

    def read(self):
        if os.path.exists(self._config.breaks_with):
            raise otus_core.CaptureError("the wire", "is cut")
        if self._halted:
            return None
        self._given += 1
        return otus_core.FrameBatch.from_frames([(time.time_ns(), packets.udp(b"tick"))])

    def wait_hint(self):
        return 0.01

    def halt(self):
        self._halted = True

    def stats(self):
        return otus_core.CaptureStats(received=self._given)

class Reporter(otus_core.BaseReporter):
    def __init__(self, config):
        self._needs = config.needs

    async def start(self):
        if self._needs and not os.path.exists(self._needs):
            raise RuntimeError("the destination is not there")

    async def report(self, batch):
        return otus_core.ReportResult(reported=len(batch))
"""


class Place:
    """A node with the plugin, the file that its reporter needs, and the one that breaks its source."""

    def __init__(self, node: Node, folder: Path) -> None:
        Site(folder=folder).install("otus-plugin-fragile", FRAGILE, modules={"fragile_parts": PARTS})
        self.node, self.folder = node, folder
        self.needed, self.breaker = folder / "needed", folder / "breaker"
        self.needed.touch()

    def start(self, *arguments: str) -> None:
        self.node.start(*arguments, PYTHONPATH=str(self.folder))

    def create(self, task_id: str = "t", **entry: Any) -> dict[str, Any]:
        reporter = {"type": "needing", "config": {"needs": str(self.needed)}, **entry}
        capture = {"type": "fragile", "breaks_with": str(self.breaker)}
        return self.node.rpc("task_create", config={"id": task_id, "capture": capture, "reporters": [reporter]})

    def restart(self, *arguments: str) -> None:
        self.node.end()
        self.start(*arguments)

    def failed(self, reason: str, task_id: str = "t") -> bool:
        """Whether the task is shown as failed, for this reason, wherever one looks."""
        state = self.node.state(task_id)
        status = self.node.metrics()["otus_task_status", (("status", "failed"), ("task", task_id))]
        listed = task_id in self.node.rpc("task_list")["result"]["tasks"]
        kept = (self.node.folder / "data" / "tasks" / f"{task_id}.json").exists()
        return (state["state"], reason in state["reason"], status, listed, kept) == ("failed", True, 1.0, True, True)


@pytest.fixture
def place(node: Node, tmp_path: Path) -> Place:
    return Place(node, tmp_path)


def test_a_task_whose_plugin_is_missing_is_failed_and_comes_back_with_it(place: Place) -> None:
    place.start()
    assert "result" in place.create()
    for argument in (("--safe",), ("--no-plugin", "fragile")):
        place.restart(*argument)
        wait(lambda: place.failed("capturer 'fragile'"))
    place.restart()
    wait(lambda: place.node.runs("t"))
    assert place.node.state("t")["reason"] == ""


def test_a_failed_start_is_tried_again_until_it_succeeds(place: Place) -> None:
    place.start()
    assert "result" in place.create()
    place.needed.unlink()
    place.restart()
    wait(lambda: place.failed("the destination is not there"))
    wait(lambda: place.node.state("t")["next_try_at"] is not None)
    place.needed.touch()
    wait(lambda: place.node.runs("t"), what="it is tried again by itself")


def test_at_once_at_a_reload_or_when_an_operator_says_so(place: Place) -> None:
    place.start()
    assert "result" in place.create()
    place.needed.unlink()
    place.restart()
    wait(lambda: place.failed("the destination is not there"))
    refused = place.node.call("task", "start", "t")
    assert (refused[0], "the destination is not there" in refused[2]) == (1, True)
    place.needed.touch()
    assert place.node.call("task", "start", "t")[:2] == (0, {"task_id": "t", "status": "running"})
    place.needed.unlink()
    place.restart()
    wait(lambda: place.failed("the destination is not there"))
    assert place.node.rpc("config_reload")["result"]["tasks_started_anew"] == ["t"]
    wait(lambda: place.failed("the destination is not there"))
    told = run_otus("--socket", str(place.node.folder / "o.sock"), "reload").stdout
    assert told.splitlines() == ["reloaded: nothing changed", "task t is started anew"]


def test_a_live_task_that_breaks_is_tried_again(place: Place) -> None:
    place.start()
    assert "result" in place.create()
    wait(lambda: place.node.state("t")["counters"]["frames_read"] > 0)
    place.breaker.touch()
    wait(lambda: place.failed("the wire: is cut"))
    place.breaker.unlink()
    wait(lambda: place.node.runs("t") and place.node.state("t")["counters"]["frames_read"] > 0)
    assert place.node.state("t")["counters"]["unaccounted"] == 0


def test_only_a_delete_ends_a_failed_task(place: Place) -> None:
    place.start()
    assert "result" in place.create()
    place.needed.unlink()
    place.restart()
    wait(lambda: place.failed("the destination is not there"))
    assert "exists already" in place.create()["error"]["message"]
    assert place.node.rpc("task_delete", task_id="t")["result"]["status"] == "deleted"
    place.needed.touch()
    place.restart()
    assert place.node.rpc("task_list")["result"]["tasks"] == []
    assert "result" in place.create()


def test_a_task_is_known_before_anybody_can_ask(place: Place) -> None:
    place.start()
    assert "result" in place.create(on_failure="retry")
    place.needed.unlink()  # its start now takes for ever
    place.restart()
    assert place.node.rpc("task_list")["result"]["tasks"] == ["t"]
    assert "exists already" in place.create()["error"]["message"]
    wait(lambda: children_of(place.node.pid), what="its worker is starting")
    assert place.node.rpc("task_delete", task_id="t")["result"]["status"] == "deleted"
    assert children_of(place.node.pid) == []
    assert list((place.node.folder / "data" / "tasks").glob("*.json")) == []
    place.needed.touch()
    assert "result" in place.create()


def test_with_auto_restart_off_kept_tasks_wait_for_an_operator(place: Place) -> None:
    place.node.write("info", "  task_persistence: {auto_restart: false}\n")
    place.start()
    assert "result" in place.create()
    place.restart()
    state = place.node.state("t")
    assert (state["state"], "otus task start" in state["reason"]) == ("stopped", True)
    assert place.node.rpc("task_list")["result"]["tasks"] == ["t"]
    assert "exists already" in place.create()["error"]["message"]
    assert place.node.call("task", "start", "t")[0] == 0
    wait(lambda: place.node.runs("t"))
    assert place.node.call("task", "start", "t")[0] == 0  # it runs already
    assert place.node.call("task", "start", "other")[0] == 1
    place.restart()
    assert place.node.state("t")["state"] == "stopped"
    assert place.node.call("task", "delete", "t")[0] == 0


def test_a_task_file_of_a_newer_version_is_left_where_it_is(node: Node, examples: Path) -> None:
    node.start()
    node.end()
    path = node.folder / "data" / "tasks" / "later.json"
    content = json.dumps({"version": 99, "something": "new"})
    path.write_text(content)
    node.start()
    state = node.state("later")
    assert (state["state"], "newer Otus (version 99" in state["reason"]) == ("failed", True)
    config = json.loads(task(examples / "call.pcap", "later"))
    assert "exists already" in node.rpc("task_create", config=config)["error"]["message"]
    for method in ("task_start", "task_delete"):
        assert "newer Otus" in node.rpc(method, task_id="later")["error"]["message"]
    assert node.rpc("config_reload")["result"]["tasks_started_anew"] == []
    node.call("stop")
    node.ended()
    assert path.read_text() == content


def test_a_task_file_of_version_1_loses_the_defaults_that_it_was_stored_with(node: Node, examples: Path) -> None:
    node.write("info", "  backpressure: {send_buffer: {capacity: 999}}\n")
    node.start()
    config = {**json.loads(task(examples / "call.pcap")), "reporters": [{"type": "discard", "max_retries": 7}]}
    assert "result" in node.rpc("task_create", config=config)
    node.end()
    path = node.folder / "data" / "tasks" / "t1.json"
    stored = json.loads(path.read_text())
    assert (stored["version"], stored["config"]) == (2, config)
    reassembly = {"timeout": 30.0, "max_fragments": 10000}
    reporter = {"type": "discard", "capacity": 999, "max_bytes": 32 << 20, "send_timeout": 3.0, "max_retries": 7}
    decoder = {"tunnels": [], "ip_reassembly": reassembly}
    stored |= {"version": 1, "config": {**config, "decoder": decoder, "reporters": [reporter]}}
    path.write_text(json.dumps(stored))
    node.start()
    wait(lambda: node.runs("t1"))
    stored = json.loads(path.read_text())
    assert (stored["version"], stored["config"]) == (2, config)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_file_that_cannot_be_read_to_its_end_fails_its_task(node: Node, examples: Path, damage: str) -> None:
    capture = node.folder / "some.pcap"
    if damage == "cut":
        capture.write_bytes((examples / "call.pcap").read_bytes()[:-7])
    node.start()
    node.rpc("task_create", config=json.loads(task(capture, speed=0.0)))
    wait(lambda: node.state("t1")["ended_at"] is not None)
    state = node.state("t1")
    assert (state["state"], "some.pcap" in state["reason"]) == ("failed", True)
    (entry,) = [entry for entry in node.log() if entry["event"] == "task_state" and entry["new"] == "failed"]
    assert (entry["level"], entry["reason"]) == ("error", state["reason"])
    assert node.rpc("task_list")["result"]["tasks"] == []


def test_two_daemons_do_not_share_a_data_folder(node: Node, examples: Path) -> None:
    node.start()
    node.rpc("task_create", config=json.loads(task(examples / "call.pcap")))
    command = [OTUS, "--socket", f"{node.folder}/other.sock", "daemon", "-c", str(node.config)]
    environment = {**os.environ, "OTUS_METRICS_ENABLED": "false", "OTUS_CONTROL_PID_FILE": f"{node.folder}/other.pid"}
    second = subprocess.run(command, capture_output=True, timeout=60, check=False, env=environment, text=True)
    assert (second.returncode, f"{node.folder}/data: another daemon is running" in second.stderr) == (1, True)
    assert node.runs("t1")
    node.end()  # with its process the lock goes too
    node.start()
    wait(lambda: node.runs("t1"))


FRAGMENTS, HELD = 40, 8


def test_reassembly_that_is_just_on_has_the_daemon_s_limits(node: Node, tmp_path: Path) -> None:
    begun = [
        packets.fragments(packets.udp(bytes(2000), src=f"192.0.2.{n}"), identification=n)[0] for n in range(FRAGMENTS)
    ]
    records = [*(pcap_record(frame) for frame in begun), pcap_record(packets.udp(b"much later"), seconds=60)]
    (tmp_path / "begun.pcap").write_bytes(pcap_header() + b"".join(records))
    node.write("info", f"  core: {{decoder: {{ip_reassembly: {{max_fragments: {HELD}}}}}}}\n")
    node.start()
    config = {**json.loads(task(tmp_path / "begun.pcap")), "decoder": {"ip_reassembly": True}}
    assert "result" in node.rpc("task_create", config=config)
    wait(lambda: node.state("t1")["counters"]["frames_read"] == FRAGMENTS)
    counters = node.state("t1")["counters"]
    assert (counters["fragments_held"], counters["dropped"]) == (HELD, {"reassembly:limit": FRAGMENTS - HELD})
