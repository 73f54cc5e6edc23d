"""Components that cannot be made, wired or started: parsers that nobody named are left out, what is to be tried again
is, and a signal ends the trying.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.core.plugins.distributions import Site
from tests.patience import PATIENCE_S, wait

DECLARES = """
import otus_core

@otus_core.hookimpl
def otus_components():
    yield otus_core.Parser(name="frail", factory="frail_parts:Parser", payload_types=("frail",), priority=1,
                           summary="Is frail")
    yield otus_core.Reporter(name="frailer", factory="frail_parts:Reporter", summary="Is frail")
    yield otus_core.Processor(name="frailest", factory="frail_parts:Processor", summary="Is frail")
"""
PARTS = """
import os
import otus_core

def fails(step):
    where = os.environ.get("FRAIL_UNTIL")
    if step == os.environ.get("FRAIL", "").partition(":")[2] and not (where and os.path.exists(where)):
        raise SystemExit("no") if os.environ["FRAIL"].startswith("exit") else ValueError("it is frail")

if os.environ.get("FRAIL") == "raise:import":
    raise ImportError("a library is missing")

class Frail:
    def __init__(self, config):
        fails("construct")
    def wire(self, context):
        fails("wire")

class Parser(Frail, otus_core.BaseParser):
    def start(self):
        fails("start")
    def can_handle(self, packet):
        return False

class Processor(Frail, otus_core.BaseProcessor):
    def start(self):
        fails("start")
    def process(self, output):
        return True

class Reporter(Frail, otus_core.BaseReporter):
    async def start(self):
        fails("start")
    async def report(self, batch):
        return otus_core.ReportResult(reported=len(batch))
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    made = Site(folder=folder)
    made.install("otus-plugin-frail", DECLARES, modules={"frail_parts": PARTS})
    return made


@pytest.mark.parametrize(
    ("how", "workers"),
    [
        ("raise:import", "1"),
        ("exit:construct", "1"),
        ("raise:wire", "1"),
        ("exit:start", "1"),
        ("raise:construct", "2"),
    ],
)
def test_a_parser_that_nobody_named_and_that_does_not_work_is_left_out(
    site: Site, examples: Path, how: str, workers: str
) -> None:
    done = site.otus("run", str(examples / "call.pcap"), "-w", workers, "--format", "json", FRAIL=how)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 7)
    warnings = [line for line in done.stderr.splitlines() if "component_skipped" in line]
    assert len(warnings) == int(workers)
    assert all("component=frail" in line and "kind=parser" in line for line in warnings)


def test_one_that_was_named_fails_the_run_with_the_reason(site: Site, examples: Path) -> None:
    done = site.otus("run", str(examples / "call.pcap"), "--parser", "frail", FRAIL="raise:construct")
    assert done.returncode == 1
    assert done.stderr == "otus: parser frail could not be constructed: ValueError: it is frail\n"


def test_a_run_without_any_parser_that_works_says_so_and_fails(site: Site, examples: Path) -> None:
    done = site.otus("--no-plugin", "sip", "run", str(examples / "call.pcap"), FRAIL="raise:start")
    assert done.returncode == 1
    assert "otus: no parser could be started, so nothing was reported\n" in done.stderr


def task(examples: Path, **more: Any) -> dict[str, Any]:
    reporter = {"type": "frailer", "on_failure": "retry"}
    capture = {"type": "pcap", "files": [str(examples / "call.pcap")]}
    return {"id": "t", "capture": capture, "reporters": [reporter], **more}


@pytest.fixture
def started(site: Site, tmp_path: Path, examples: Path) -> Callable[..., subprocess.Popen[str]]:
    def run(how: str, first: str = "pass", **more: Any) -> subprocess.Popen[str]:
        (tmp_path / "task.json").write_text(json.dumps(task(examples, **more)))
        code = f"import sys, otus_core.supervise.supervisor; from otus_core.cli import main; {first}; sys.exit(main())"
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                code,
                "run",
                "--task",
                str(tmp_path / "task.json"),
                "--summary-json",
                str(tmp_path / "summary.json"),
            ],
            env={**os.environ, "PYTHONPATH": str(site.folder), "FRAIL": how, "FRAIL_UNTIL": str(tmp_path / "well")},
            stderr=(tmp_path / "errors").open("w"),
            text=True,
        )

    return run


def retries(tmp_path: Path) -> int:
    return (tmp_path / "errors").read_text().count("component_start_failed")


@pytest.mark.parametrize(("step", "workers"), [("construct", 1), ("wire", 1), ("start", 1), ("construct", 2)])
def test_what_is_to_be_tried_again_is_until_it_works(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path, step: str, workers: int
) -> None:
    with started(f"raise:{step}", workers=workers) as running:
        try:
            wait(lambda: retries(tmp_path) >= workers, what="it fails")
            (tmp_path / "well").touch()
            assert running.wait(PATIENCE_S) == 0
        finally:
            running.kill()
    assert json.loads((tmp_path / "summary.json").read_text())["reporters"]["frailer"]["reported"] == 7


@pytest.mark.slow
def test_trying_takes_as_long_as_it_takes(started: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    limit = "otus_core.supervise.supervisor.START_WITHIN_S = 4"  # seconds, of which a process needs one
    with started("raise:construct", limit, workers=2) as running:
        try:
            wait(lambda: retries(tmp_path) >= 10, what="each has failed five times, which takes longer than that")
            assert running.poll() is None
            (tmp_path / "well").touch()
            assert running.wait(PATIENCE_S) == 0
        finally:
            running.kill()
    assert json.loads((tmp_path / "summary.json").read_text())["reporters"]["frailer"]["reported"] == 7


@pytest.mark.parametrize(("step", "workers"), [("construct", 1), ("wire", 1), ("start", 1), ("construct", 2)])
def test_a_signal_ends_the_trying(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path, step: str, workers: int
) -> None:
    with started(f"exit:{step}", workers=workers) as running:
        try:
            wait(lambda: retries(tmp_path) >= 2, what="it fails twice")
            running.send_signal(signal.SIGINT)
            assert running.wait(PATIENCE_S) == 130
        finally:
            running.kill()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["frames_read"], summary["unaccounted"]) == (0, 0)
