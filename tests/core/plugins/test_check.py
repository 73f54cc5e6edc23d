"""``otus plugins check``: each rule that needs no data, broken by a plugin that is really installed; one that dies or
hangs is a finding too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import otus_core
from otus_core.plugins import check
from otus_core.plugins.selection import Selection
from otus_core.testing.contract import ReporterContract
from tests.core.plugins.distributions import Site

DECLARED = """
import otus_core

@otus_core.hookimpl
def otus_components():
    yield otus_core.{kind}(name="odd", factory="odd_parts:Odd", summary="Odd"{more})
"""
CHANNEL = """
class Odd:
    def __init__(self, config): pass
    def wire(self, context): pass
    async def start(self, handler): pass
    async def stop(self): pass
    def status(self): return {status}
"""
HEARER = (
    CHANNEL.format(status="{{}}").replace("\nclass", "import otus_core, time\n\nclass")
    + """
    {mark}
    {method}
"""
)
MARK = "@otus_core.hookimpl"
HOOK = "def otus_task_state_changed(self, task_id, new): {}"
HEARING_REPORTER = """
import otus_core
class Odd(otus_core.BaseReporter):
    def __init__(self, config): pass
    {mark}
    {method}
"""
CAPTURER = """
class Odd:
    def __init__(self, config): pass
    def wire(self, context): pass
    def open(self, shard=0, shards=1, fds=()): pass
    def read(self): pass
    def fileno(self): pass
    def stats(self): pass
    def close(self): pass
"""
REPORTER = """
import otus_core
class Odd(otus_core.BaseReporter):
    def __init__(self, config): pass
    def report(self, batch): pass
"""
PARSER = """
import otus_core
class Odd(otus_core.BaseParser):
    def __init__(self, config): pass
    {method}
"""
GIVEN = """
import otus_core
class Odd(otus_core.Base{kind}):
    def __init__(self, config): pass
    def wire(self, context): assert context.{given} is not None
"""
PARSES = ", payload_types=('odd',)"


def findings(site: Site, kind: str, parts: str, more: str = "", imports: str = "") -> tuple[int, list[dict[str, Any]]]:
    source = imports + DECLARED.format(kind=kind, more=more)
    site.install("otus-plugin-odd", source, modules={"odd_parts": parts})
    done = site.otus("--output", "json", "plugins", "check", "odd")
    (report,) = json.loads(done.stdout)
    return done.returncode, report["findings"]


@pytest.mark.parametrize(
    ("kind", "parts", "more", "told"),
    [
        ("CommandChannel", CHANNEL.format(status="{}"), "", ""),
        ("CommandChannel", CHANNEL.format(status="{'x': object()}"), "", "not JSON serializable"),
        ("CommandChannel", CHANNEL.replace("async def stop", "def stop").format(status="{}"), "", "stop must be async"),
        ("Capturer", CAPTURER, "", ""),
        ("Capturer", CAPTURER, ", privileged=True", "no method acquire"),
        ("Reporter", REPORTER, "", "report must be async"),
        ("Reporter", GIVEN.format(kind="Reporter", given="stdout"), "", ""),
        ("Parser", GIVEN.format(kind="Parser", given="flows"), PARSES + ", wants_flows=True", ""),
        ("Parser", PARSER.format(method="def handle(self): pass"), PARSES, "handle must take 1 argument"),
        ("Parser", PARSER.format(method="def start(self): raise SystemExit('no')"), PARSES, "SystemExit: no"),
        ("Parser", "raise RuntimeError('broken')", PARSES, "RuntimeError: broken"),
        ("Parser", "import os; os.kill(os.getpid(), 11)", PARSES, "its process ended with status -11"),
    ],
    ids=[
        "channel", "status", "channel stop", "capturer", "acquire", "reporter", "stdout", "flows", "handle", "exits",
        "raises", "dies"
    ],
)  # fmt: skip
def test_what_a_plugin_breaks_is_told(tmp_path: Path, kind: str, parts: str, more: str, told: str) -> None:
    status, found = findings(Site(folder=tmp_path), kind, parts, more)
    failed = [finding["message"] for finding in found if finding["status"] == "failed"]
    if told:
        assert status == 1
        assert any(told in message for message in failed), found
    else:
        assert (status, failed) == (0, [])


@pytest.mark.parametrize(
    ("mark", "method", "told"),
    [
        (MARK, HOOK.format("pass"), ""),
        ("", "def otus_nothing_of_the_kind(self): pass", ""),
        ("", "def otus_task_state_change(self, task_id): pass", "did you mean otus_task_state_changed?"),
        (MARK, "def otus_task_state_change(self, task_id): pass", "did you mean otus_task_state_changed?"),
        ("", HOOK.format("pass"), "is not marked with otus_core.hookimpl"),
        (MARK, "def otus_task_state_changed(self, task, state): pass", "task"),
        (MARK, "async " + HOOK.format("pass"), "must not be async"),
        ("", "def otus_startup(self, node): pass", "a component receives only otus_task_state_changed"),
    ],
    ids=["fine", "its own", "misspelt", "misspelt and marked", "unmarked", "arguments", "async", "not a component's"],
)
def test_what_is_wrong_with_a_hook_is_told(tmp_path: Path, mark: str, method: str, told: str) -> None:
    status, found = findings(Site(folder=tmp_path), "Reporter", HEARING_REPORTER.format(mark=mark, method=method))
    failed = [finding["message"] for finding in found if finding["status"] == "failed"]
    assert (status, len(failed)) == (int(bool(told)), int(bool(told))), found
    assert all(told in message for message in failed)


class Hearing(otus_core.BaseReporter):
    @otus_core.hookimpl
    def otus_task_state_changed(self, task_id: str) -> None:
        pass


class Sleeping(otus_core.BaseReporter):
    @otus_core.hookimpl
    def otus_task_state_changed(self, task_id: str) -> None:
        time.sleep(0.3)


class Misspelling(otus_core.BaseReporter):
    def otus_task_state_change(self, task_id: str) -> None:
        pass


@pytest.mark.parametrize(
    ("reporter", "told"), [(Hearing, ""), (Sleeping, "1000 hooks took"), (Misspelling, "did you mean")]
)
def test_the_contract_suite_of_reporters_looks_at_hooks(reporter: Callable[[], Any], told: str) -> None:
    suite = ReporterContract()
    suite.make = lambda *_: reporter()  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=told) if told else nullcontext():
        suite.test_hooks_are_taken_quickly()


def test_a_hook_that_waits_is_told(tmp_path: Path) -> None:
    parts = HEARER.format(mark=MARK, method=HOOK.format("time.sleep(0.05)"))
    status, found = findings(Site(folder=tmp_path), "CommandChannel", parts)
    assert status == 1 and any("its hooks are slow" in finding["message"] for finding in found)


def test_our_own_plugins_break_no_rule() -> None:
    reports = check.check_all(Selection(safe=True))
    assert {report["plugin"] for report in reports} >= {"console", "filter", "pcap", "sip"}
    assert [finding for report in reports for finding in report["findings"] if finding["status"] == "failed"] == []


def test_one_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(folder=tmp_path)
    site.install("otus-plugin-odd", "while True: pass")
    monkeypatch.setattr(check, "TIME_MAX_S", 2.0)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (report,) = check.check_plugin("odd")
    assert "is not done after 2 s" in report["findings"][0]["message"]
