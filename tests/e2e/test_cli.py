"""The command line as scripts use it: exit statuses, JSON everywhere, watching, completion, and help when no daemon
runs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node import Node, task
from tests.live.net import OTUS

DAEMON_COMMANDS = [
    ("stop",),
    ("reload",),
    ("status",),
    ("stats",),
    ("task", "list"),
    ("task", "status"),
    ("task", "status", "x"),
    ("task", "delete", "x"),
    ("task", "create", "-f", "examples/task.yaml"),
]


def otus(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OTUS, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", DAEMON_COMMANDS, ids=" ".join)
def test_without_a_daemon_the_status_is_3_and_one_line_says_so(command: tuple[str, ...], tmp_path: Path) -> None:
    done = otus("--socket", f"{tmp_path}/o.sock", *command)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert "otus daemon" in line and str(tmp_path) in line


@pytest.mark.parametrize(
    "command",
    [
        ("nonsense",),
        ("task", "nonsense"),
        ("task", "create"),
        ("run", "--bogus"),
        ("run",),
        ("plugins", "list", "--kind", "x"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(command: tuple[str, ...]) -> None:
    done = otus(*command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr and "Traceback" not in done.stderr


def test_every_answer_can_be_json(node: Node, examples: Path, tmp_path: Path) -> None:
    node.start()

    def answer(*command: str) -> Any:
        done = otus("--socket", f"{node.folder}/o.sock", *command, "--output", "json")
        assert (done.returncode, done.stderr) == (0, ""), done
        return json.loads(done.stdout)

    file = tmp_path / "task.json"
    file.write_text(task(examples / "call.pcap"))
    assert answer("validate", "-f", str(file)) == {"valid": True, "task_id": "t1", "warnings": []}
    assert answer("validate", "-f", str(node.config))["valid"] is True
    assert answer("task", "create", "-f", str(file)) == {"task_id": "t1", "status": "created"}
    assert answer("task", "list") == {"tasks": ["t1"], "count": 1}
    assert answer("task", "status")["count"] == 1
    one = answer("task", "status", "t1")
    assert {"frames_read", "units", "matched", "kept", "unaccounted"} <= set(one["workers"][0]["counters"])
    assert one["counters"]["reporters"]["discard"]["reported"] >= 0
    assert set(answer("stats")["tasks"]) == {"t1"}
    assert answer("status")["tasks"] == {"t1": "running"}
    assert answer("reload")["status"] == "reloaded"
    assert answer("task", "delete", "t1") == {"task_id": "t1", "status": "deleted"}
    assert {row["name"] for row in answer("plugins", "list")} >= {"sip", "pcap", "console"}
    assert answer("plugins", "show", "sip")["schema"]["properties"]["ports"]
    assert answer("plugins", "check", "sip")[0]["plugin"] == "sip"
    assert answer("plugins", "new", "parser", "x", "--folder", str(tmp_path))["folder"] == f"{tmp_path}/otus-plugin-x"
    assert answer("schema", "task")["title"] == "Otus task"
    assert answer("stop") == {"status": "shutting_down"}


def test_statistics_are_watched(node: Node) -> None:
    node.start()
    command = [OTUS, "--socket", f"{node.folder}/o.sock", "stats", "--watch", "--output", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stdout is not None and watching.stderr is not None
        told = [json.loads(watching.stdout.readline()) for _ in range(3)]
        assert told[0]["uptime_sec"] < told[1]["uptime_sec"] < told[2]["uptime_sec"]
        watching.send_signal(signal.SIGINT)
        assert (watching.wait(60), watching.stderr.read()) == (130, b"")


def test_watching_ends_quietly_when_nobody_reads(node: Node) -> None:
    node.start()
    command = f"{OTUS} --socket {node.folder}/o.sock stats --watch | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [("otus ta", "task"), ("otus task cre", "create"), ("otus run --for", "--format"), ("otus plu", "plugins")],
)
def test_commands_and_options_are_completed(words: str, expected: str) -> None:
    count = str(len(words.split()) - 1)
    done = otus(_OTUS_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)
    assert expected in done.stdout.split(), done


def test_the_completion_of_a_shell_can_be_installed(tmp_path: Path) -> None:
    done = otus("--install-completion", "bash", HOME=str(tmp_path), SHELL="/bin/bash")
    assert done.returncode == 0, done.stderr
    assert any("_OTUS_COMPLETE" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_a_misspelt_subcommand_gets_one_suggestion() -> None:
    done = otus("task", "creat")
    assert (done.returncode, done.stderr.count("'create'")) == (2, 1), done.stderr


def test_a_daemon_that_cannot_start_says_why(node: Node) -> None:
    node.config.write_text("otus: {log: {level: loud}, nodes: {}}")
    done = otus("daemon", "-c", str(node.config))
    assert done.returncode == 2
    assert "otus.log.level" in done.stderr
    assert "did you mean node?" in done.stderr


@pytest.mark.parametrize(
    ("command", "example"),
    [
        (("run",), 'sudo otus run -i eth0 --bpf "udp port 5060"'),
        (("plugins", "new"), "otus plugins new processor rates --records"),
        (("ladder",), "otus ladder call.pcap --where \"call.state == 'busy'\""),
    ],
    ids=["a command", "one of a group", "a plugin's"],
)
def test_each_example_of_a_help_page_is_on_a_line_of_its_own(command: tuple[str, ...], example: str) -> None:
    assert f"\n  {example}\n" in otus(*command, "--help", COLUMNS="60").stdout
