"""Programs that are started without standard input, output or error, or with ones that take nothing: they work, say
what they can, and end with the right status.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.node import Node, task
from tests.live.net import OTUS
from tests.patience import PATIENCE_S, wait

CLOSED = {"<&-": "input", ">&-": "output", "2>&-": "errors", "<&- >&- 2>&-": "all"}
closed = pytest.mark.parametrize("redirection", CLOSED, ids=CLOSED.values())


def shell(command: str, redirection: str, *, background: bool = False) -> subprocess.Popen[str]:
    """Run ``otus`` from a shell, as users close descriptors; what is left of its output is read here."""
    line = f"exec {OTUS} {command} {redirection}"
    pipes = subprocess.DEVNULL if background else subprocess.PIPE
    return subprocess.Popen(["/bin/sh", "-c", line], stdin=subprocess.DEVNULL, stdout=pipes, stderr=pipes, text=True)


def ran(command: str, redirection: str) -> tuple[int, str, str]:
    process = shell(command, redirection)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert "internal error" not in errors and "Traceback" not in errors, errors
    return process.returncode, output, errors


@closed
def test_a_run_works_without_them(redirection: str, examples: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    for workers in (1, 2):
        command = f"run {examples}/call.pcap --format json --workers {workers} --summary-json {summary}"
        status, output, errors = ran(command, redirection)
        counters = json.loads(summary.read_text())
        assert (status, counters["unaccounted"], counters["kept"] > 0) == (0, 0, True)
        assert len(output.splitlines()) == (0 if " >" in f" {redirection}" else counters["kept"])
        assert bool(errors) == ("2>" not in redirection)


@closed
def test_status_and_refusals_keep_their_exit_status(redirection: str, node: Node) -> None:
    ask = f"--socket {node.folder}/o.sock"
    assert ran(f"{ask} status", redirection)[0] == 3
    assert ran("no-such-command", redirection)[0] == 2
    node.start()
    status, output, _ = ran(f"{ask} status", redirection)
    assert (status, bool(output)) == (0, " >" not in f" {redirection}")
    assert ran(f"{ask} task delete none", redirection)[0] == 1
    assert ran(f"{ask} task create -f -", redirection)[0] == 2  # nothing comes from there


@closed
def test_a_daemon_works_without_them(redirection: str, node: Node, examples: Path) -> None:
    node.process = shell(f"daemon -c {node.config}", redirection, background=True)  # type: ignore[assignment]
    wait(lambda: node.call("status")[0] == 0, what="the daemon answers")
    assert "result" in node.rpc("task_create", config=json.loads(task(examples / "call.pcap")))
    for number, name in enumerate(("input", "output", "errors")):
        if CLOSED[redirection] in (name, "all"):  # no socket and no log file got its number
            assert os.readlink(f"/proc/{node.pid}/fd/{number}") == os.devnull
    node.rpc("daemon_shutdown")
    assert node.ended() == 0
    assert node.log()[-1]["event"] == "daemon_stopped"


def test_an_output_that_is_full_is_no_defect_of_ours(examples: Path, node: Node) -> None:
    node.start()
    full = "otus: standard output: No space left on device"
    for command in (f"--socket {node.folder}/o.sock status", "plugins list", "config sample", "--version"):
        status, _, errors = ran(command, ">/dev/full")
        assert (status, errors.splitlines()) == (1, [full]), (command, errors)
    assert ran(f"--socket {node.folder}/none.sock status", "2>/dev/full")[0] == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_lines_of_a_run_that_find_no_room_are_a_failure(workers: int, examples: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    command = f"run --quiet {examples}/call.pcap --workers {workers} --summary-json {summary}"
    status, _, errors = ran(command, ">/dev/full")
    assert (status, errors.splitlines()) == (1, ["otus: standard output: No space left on device"])
    assert json.loads(summary.read_text())["unaccounted"] == 0
