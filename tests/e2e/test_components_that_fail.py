"""Components that fail or hang where no packet shows it, in a run of one process: what is missing then is said, and
nothing waits for ever.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from otus_core.testing import packets
from otus_core.testing.host import Host
from tests.core.plugins.distributions import Site
from tests.patience import wait

DECLARES = """
import otus_core

@otus_core.configuration
class Where:
    where: str = otus_core.option(default="", help="What goes wrong.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Capturer(name="oddcap", factory="odd_parts:Capturer", config=Where, summary="Has twenty frames")
    yield otus_core.Parser(name="oddparse", factory="odd_parts:Parser", config=Where, payload_types=("odd",),
                           summary="Takes everything")
    yield otus_core.Parser(name="oddrecord", factory="odd_parts:Recorder", config=Where, payload_types=("told",),
                           summary="Only tells at the end")
    yield otus_core.Processor(name="oddproc", factory="odd_parts:Processor", config=Where, produces=("told",),
                              summary="Tells at intervals")
    yield otus_core.Reporter(name="oddrep", factory="odd_parts:Reporter", config=Where, summary="Takes everything")
"""
PARTS = r"""
import re, time
import otus_core
from otus_core.testing import packets


class Odd:
    tick_interval = 0.1

    def __init__(self, config):
        self._where = config.where
        self._calls = 0
        self._do("construct")

    def _do(self, what):
        self._calls += 1
        where, _, how = self._where.partition(":")
        if where != what or self._calls < 3 and what not in ("construct", "finish", "tick", "report", "stop"):
            return
        if how == "wait":
            time.sleep(3600)
        elif how == "once" and self._calls == 5 or how == "loop":
            while True:
                pass
        elif how == "pattern":
            re.match(r"(a|aa)+$", "a" * 60 + "b")
        elif how == "deaf":
            while True:
                try:
                    time.sleep(3600)
                except BaseException:
                    pass
        elif how == "raise":
            raise RuntimeError(f"{what} does not work")

    def _tell(self, what, now):
        yield otus_core.Record("told", {"of": what}, now)
        self._do(what)
        yield otus_core.Record("told", {"of": what}, now)

    def tick(self, now):
        if "tick" in self._where:
            return self._tell("tick", now)

    def finish(self, now):
        if self._where.endswith("at once"):
            raise RuntimeError("finish does not work")
        if "finish" in self._where:
            return self._tell("finish", now)


class Capturer(Odd, otus_core.BaseCapturer):
    given = 0

    def read(self):
        self._do("read")
        self.given += 1
        if self.given > 20:
            return None
        return otus_core.FrameBatch.from_frames([(time.time_ns(), packets.udp(b"%d" % self.given, dst_port=9999))])


class Parser(Odd, otus_core.BaseParser):
    def can_handle(self, packet):
        return True

    def handle(self, packet):
        self._do("handle")
        return otus_core.Parsed({}, {"odd.text": packet.payload.decode()})


class Recorder(Odd, otus_core.BaseParser):
    def can_handle(self, packet):
        return False

    def handle(self, packet):
        return []


class Processor(Odd, otus_core.BaseProcessor):
    def process(self, output):
        self._do("process")
        return True


class Reporter(Odd, otus_core.BaseReporter):
    async def report(self, batch):
        self._do("report")
        return otus_core.ReportResult(reported=len(batch))

    async def stop(self):
        self._do("stop")
"""
SOONER = "import otus_core.cli.watchdog as w; w.HUNG_AFTER_S = w.START_WITHIN_S = 0.3; w.AGAIN_S = 0.1"
PRINTS = {"type": "console", "config": {"format": "json"}}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(folder=tmp_path / "site")
    made.folder.mkdir()
    made.install("otus-plugin-odd", DECLARES, modules={"odd_parts": PARTS})
    monkeypatch.setenv("PYTHONPATH", str(made.folder))
    return made


def task(kind: str, name: str, where: str) -> dict[str, Any]:
    """Give a task in which one component goes wrong."""
    odd = {"type": name, "config": {"where": where}}
    capture = {"type": "oddcap", **({"where": where} if kind == "capturer" else {})}
    return {
        "capture": capture,
        "parsers": ["oddparse", odd] if name == "oddrecord" else [odd if kind == "parser" else "oddparse"],
        "processors": [odd] if kind == "processor" else [],
        "reporters": [{**odd, "max_retries": 0} if kind == "reporter" else PRINTS],
    }


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("kind", "name", "where", "told"),
    [
        ("parser", "oddrecord", "finish:at once", 0),
        ("parser", "oddrecord", "finish:raise", 1),
        ("processor", "oddproc", "tick:raise", 1),
    ],
)
def test_records_that_are_missing_are_told_and_change_the_exit_status(
    otus_run: Host, kind: str, name: str, where: str, told: int
) -> None:
    frames = [(10**18 + n * 20_000_000, packets.udp(b"hello", dst_port=9999)) for n in range(10)]
    given = {key: value for key, value in task(kind, name, where).items() if key != "capture"}
    ran = otus_run(frames, task=given)
    assert len(ran.of("odd")) == 10, "the packets were reported all the same"
    assert len(ran.of("told")) == told * ran.summary["cut_short"][f"{kind}:{name}"] > 0 or not told
    assert ran.summary["errors"] == ran.summary["cut_short"]
    assert (ran.status, ran.summary["unaccounted"]) == (1, 0)
    assert f"otus: records may be missing, because tick or finish of {kind} {name} failed\n" in ran.errors
    shown = otus_run(frames, task={**given, "workers": 2})
    assert (shown.status, shown.summary["cut_short"].keys()) == (1, ran.summary["cut_short"].keys())


@attrs.frozen
class Ended:
    """How a run ended."""

    status: int
    outputs: int
    summary: dict[str, Any]
    errors: str


@pytest.fixture
def run(site: Site, tmp_path: Path) -> Callable[..., Ended]:
    def run_task(kind: str, name: str, where: str) -> Ended:
        path, summary = tmp_path / "task.json", tmp_path / "summary.json"
        path.write_text(json.dumps({"id": "t", **task(kind, name, where)}))
        done = site.otus("run", "--task", str(path), "--summary-json", str(summary), first=SOONER)
        told = json.loads((summary.exists() and summary.read_text()) or "{}")
        return Ended(done.returncode, len(done.stdout.splitlines()), told, done.stderr)

    return run_task


@pytest.mark.parametrize("how", ["wait", "loop", "pattern"])
def test_a_component_that_hangs_always_ends_the_run_with_its_name(run: Callable[..., Ended], how: str) -> None:
    done = run("parser", "oddparse", f"handle:{how}")
    assert done.status == 1
    assert "otus: parser oddparse did not come back for 0.4 s (odd_parts.py:" in done.errors
    assert "this has happened 3 times, so the run has ended early" in done.errors
    assert done.summary["unaccounted"] == 0 and done.summary["errors"] == {"parser:oddparse": 3}
    assert done.outputs == 1, "what came before is reported"


@pytest.mark.parametrize(
    ("kind", "name", "where"),
    [
        ("capturer", "oddcap", "read:loop"),
        ("processor", "oddproc", "process:wait"),
        ("processor", "oddproc", "finish:wait"),
        ("reporter", "oddrep", "report:wait"),
        ("reporter", "oddrep", "stop:wait"),
    ],
)
def test_components_of_every_kind_are_interrupted(run: Callable[..., Ended], kind: str, name: str, where: str) -> None:
    done = run(kind, name, where)
    assert done.status == 1 and done.summary["unaccounted"] == 0
    assert f"otus: {kind} {name} did not come back for 0.4 s (odd_parts.py:" in done.errors


def test_one_that_hangs_once_costs_one_packet(run: Callable[..., Ended]) -> None:
    done = run("parser", "oddparse", "handle:once")
    assert (done.status, done.outputs, done.summary["frames_read"]) == (1, 19, 20)
    assert "ended early" not in done.errors


def test_one_that_hangs_when_it_is_made_does_not_start(run: Callable[..., Ended]) -> None:
    done = run("parser", "oddparse", "construct:wait")
    assert done.status == 1
    assert "parser oddparse could not be constructed" in done.errors or "could not start" in done.errors


def test_one_that_cannot_be_interrupted_ends_the_process(run: Callable[..., Ended]) -> None:
    done = run("parser", "oddparse", "handle:deaf")
    assert done.status == 1
    assert "it cannot be interrupted, so the process ends" in done.errors


def test_a_run_that_was_stopped_for_a_while_goes_on(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "task.json"
    path.write_text(json.dumps({"id": "t", **task("parser", "oddparse", "")}))
    code = f"import sys; from otus_core.cli import main; {SOONER}; sys.exit(main())"
    command = [sys.executable, "-c", code, "run", "-q", "--task", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.send_signal(signal.SIGSTOP)
        wait(lambda: "T" in Path(f"/proc/{running.pid}/stat").read_text().split()[2], what="it is stopped")
        running.send_signal(signal.SIGCONT)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, len(out.splitlines()), err) == (0, 20, b"")
