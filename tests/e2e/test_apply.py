"""Tasks as files: ``otus task apply``, and the folder that a daemon keeps its tasks to, on real daemons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node import Node
from tests.patience import wait

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "call.pcap")


def content(task_id: str, **changes: Any) -> str:
    data = {
        "id": task_id,
        "capture": {"type": "pcap", "files": [EXAMPLE], "speed": 0.001},
        "parsers": ["sip"],
        "reporters": ["discard"],
    }
    return json.dumps({**data, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tasks"
    made.mkdir()
    (made / "a.json").write_text(content("a"))
    (made / "b.yaml").write_text(content("b"))
    (made / ".hidden.json").write_text("{")
    (made / "README").write_text("not a task")
    return made


def applied(node: Node, folder: Path, *more: str) -> dict[str, str]:
    _, answer, error = node.call("task", "apply", "-f", str(folder), *more)
    assert answer is not None, error
    return {one["task_id"]: one["status"] for one in answer["tasks"]}


def test_apply_creates_changes_leaves_and_prunes(node: Node, folder: Path) -> None:
    node.start()
    assert node.call("task", "create", "-f", "-", text=content("by-hand"))[0] == 0
    assert applied(node, folder) == {"a": "created", "b": "created"}
    pids = {name: node.state(name)["workers"][0]["pid"] for name in ("a", "b")}
    (folder / "b.yaml").write_text(content("b", unmatched_policy="forward"))
    assert applied(node, folder) == {"a": "unchanged", "b": "changed"}
    assert node.state("a")["workers"][0]["pid"] == pids["a"]
    assert node.state("b")["workers"][0]["pid"] != pids["b"]
    assert node.rpc("task_get", task_id="b")["result"]["config"]["unmatched_policy"] == "forward"
    (folder / "a.json").unlink()
    assert applied(node, folder) == {"b": "unchanged"}
    assert applied(node, folder, "--prune") == {"b": "unchanged", "a": "deleted"}
    assert set(node.rpc("task_list")["result"]["tasks"]) == {"b", "by-hand"}


def test_a_file_that_is_wrong_keeps_apply_from_doing_anything(node: Node, folder: Path) -> None:
    node.start()
    (folder / "c.json").write_text("{")
    (folder / "d.json").write_text(content("a"))
    status, answer, error = node.call("task", "apply", "-f", str(folder))
    assert (status, answer) == (2, None)
    paths = [problem["path"] for problem in json.loads(error)["error"]["problems"]]
    assert paths == [str(folder / "c.json"), str(folder / "d.json")]
    assert node.rpc("task_list")["result"]["count"] == 0


def test_a_change_that_cannot_be_started_is_undone(node: Node, folder: Path) -> None:
    """Its worker cannot have the reporter's broker port, so the task goes on as it was."""
    node.start()
    applied(node, folder)
    bad = {"type": "pcap", "files": [EXAMPLE], "speed": 0.001}
    (folder / "a.json").write_text(content("a", capture=bad, workers=5))
    status, answer, _ = node.call("task", "apply", "-f", str(folder))
    assert status == 1
    refused = answer["tasks"][0]
    assert (refused["task_id"], refused["status"], refused["file"]) == ("a", "refused", str(folder / "a.json"))
    assert "resources.max_workers" in refused["reason"]
    wait(lambda: node.state("a")["state"] == "running", what="the task runs as before")
    assert "workers" not in node.rpc("task_get", task_id="a")["result"]["config"]


def test_the_daemon_keeps_its_tasks_to_its_folder(node: Node) -> None:
    folder = node.folder / "tasks.d"
    folder.mkdir()
    (folder / "a.json").write_text(content("a"))
    (folder / "broken.json").write_text("{")
    node.start()
    wait(lambda: node.runs("a"), what="the declared task runs")
    refused = [line for line in node.log() if line["event"] == "task_file_refused"]
    assert refused and all(line["file"] == str(folder / "broken.json") for line in refused)
    status, answer, _ = node.call("status")
    (trouble,) = answer["troubles"]
    assert status == 1 and trouble["task_file"] == str(folder / "broken.json") and trouble["reason"]
    assert node.call("task", "create", "-f", "-", text=content("by-hand"))[0] == 0

    (folder / "a.json").unlink()
    (folder / "c.json").write_text(content("c"))
    status, answer, _ = node.call("reload")
    assert (status, answer["tasks_applied"]) == (1, {"c": "created"}), "a broken file may be the missing one's"
    assert answer["task_files_refused"][0].startswith(str(folder / "broken.json"))

    (folder / "broken.json").unlink()
    status, answer, _ = node.call("reload")
    assert (status, answer["tasks_applied"]) == (0, {"a": "deleted"})
    assert node.rpc("daemon_status")["result"]["troubles"] == []
    assert set(node.rpc("task_list")["result"]["tasks"]) == {"c", "by-hand"}


def test_a_folder_that_is_gone_deletes_nothing(node: Node) -> None:
    """What it lies on was not mounted, or ``tasks_dir`` has a typing error: an explicit empty folder would delete."""
    folder = node.folder / "tasks.d"
    folder.mkdir()
    (folder / "one.yaml").write_text(content("one"))
    node.start()
    wait(lambda: node.runs("one"))
    folder.rename(node.folder / "elsewhere")
    answer = node.rpc("config_reload")["result"]
    assert answer["tasks_applied"] == {}
    (refused,) = answer["task_files_refused"]
    assert refused.startswith(f"{folder}: is no folder")
    node.call("stop")
    assert node.ended() == 0
    node.start()
    wait(lambda: node.runs("one"))


def test_what_the_folder_declares_stays_wanted_though_it_cannot_start(node: Node) -> None:
    folder = node.folder / "tasks.d"
    folder.mkdir()
    (folder / "a.json").write_text(content("a", parsers=["nosuch"]))
    node.start()
    state = node.state("a")
    assert state["state"] == "failed"
    assert "nosuch" in state["reason"]
    (folder / "a.json").write_text(content("a"))
    node.call("reload")
    wait(lambda: node.runs("a"), what="the mended task runs")


def test_a_file_that_was_read_to_its_end_is_not_read_again(node: Node) -> None:
    folder = node.folder / "tasks.d"
    folder.mkdir()
    (folder / "a.json").write_text(content("a", capture={"type": "pcap", "files": [EXAMPLE]}))
    node.start()
    wait(lambda: node.rpc("task_list")["result"]["count"] == 0, what="the file has been read")
    assert node.call("reload")[1]["tasks_applied"] == {}
    node.end()
    node.start()
    ended = node.rpc("task_status")["result"]["ended"]
    assert [(one["task_id"], one["state"]) for one in ended] == [("a", "stopped")]


def test_more_workers_than_cpus_are_a_warning_without_a_limit(node: Node) -> None:
    node.config.write_text(node.config.read_text().replace("max_workers: 4", "max_workers: 0"))
    node.start()
    status, _, error = node.call("task", "create", "-f", "-", text=content("many", workers=6))
    assert status == 0, error
    assert [line["workers"] for line in node.log() if line["event"] == "more_workers_than_cpus"] == [6]


def test_a_secret_in_the_folder_is_refused_and_not_copied(node: Node) -> None:
    """What the daemon keeps of a task lies on its disk in clear text, so a file may name a secret only by a file of its
    own.
    """
    folder = node.folder / "tasks.d"
    folder.mkdir()
    sasl = {"enabled": True, "mechanism": "PLAIN", "username": "otus", "password": "open-sesame"}
    kafka = {"type": "kafka", "config": {"brokers": ["127.0.0.1:1"], "topic": "sip", "sasl": sasl}}
    (folder / "a.json").write_text(content("a", reporters=[kafka]))
    node.start()

    def refused() -> list[str]:
        return [line["error"] for line in node.log() if line["event"] == "task_file_refused"]

    wait(refused, what="it is refused")  # the daemon answers before it has looked into the folder
    assert "password_file" in refused()[0]
    assert node.rpc("task_list")["result"]["count"] == 0
    kept = [path for path in (node.folder / "data").rglob("*") if path.is_file()]
    assert [path for path in kept if b"open-sesame" in path.read_bytes()] == []
    assert "open-sesame" not in (node.folder / "otus.log").read_text()


def test_a_component_that_a_task_goes_on_without_is_warned_of(node: Node) -> None:
    kafka = {"brokers": ["127.0.0.1:1"], "topic": "t", "tls": {"enabled": True, "ca_file": "/nowhere"}}
    away = {"type": "kafka", "on_failure": "skip", "config": kafka}
    node.start()
    status, _, error = node.call("task", "create", "-f", "-", text=content("a", reporters=["discard", away]))
    assert status == 0, error
    wait(lambda: node.runs("a"), what="the task runs without it")
    status, answer, _ = node.call("status")
    assert (status, answer["troubles"]) == (0, [])
    (warning,) = [one for one in answer["warnings"] if "left out" in one]
    assert warning.startswith("task a: reporter kafka could not be started and is left out")
