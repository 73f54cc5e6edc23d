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
REQUIRED = """
import otus_core
@otus_core.configuration
class Config:
    path: str = otus_core.option(pattern="/dev/[a-z]+", help="Nobody can make this up")
"""
ACQUIRING = """
import os, otus_core
class Odd(otus_core.BaseCapturer):
    def __init__(self, config): pass
    {method}
"""
PLUGIN = """
import otus_core
{more}
@otus_core.hookimpl
def otus_components():
    yield otus_core.Parser(name="odd", factory="odd_parts:Odd", payload_types=("odd",), summary="Odd")
"""
COMMANDED = """
@otus_core.hookimpl
def otus_cli_commands():
    return {answer}
"""
GROUP = "otus_core.CommandGroup(app='odd_cli:{name}', summary='Odd')"
CLI = """
import typer
app = typer.Typer()
inner = typer.Typer()
app.add_typer(inner, name="inner")

@app.command()
def fine(count: int = 1) -> None: ...

@inner.command()
def deep() -> None: ...

broken = typer.Typer()

@broken.command()
def one(odd: complex) -> None: ...

def single(name: str) -> None: ...
number = 7
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
TIMED = """
import otus_core
@otus_core.configuration
class Config:
    wait: otus_core.Duration = otus_core.option(default="1m", help="A default as users write it")
"""


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
        (
            "Parser",
            TIMED + PARSER.format(method=""),
            PARSES + ", config='odd_parts:Config'",
            "its defaults do not pass its own validation unchanged: wait is 60.0 instead of '1m'",
        ),
        ("Parser", "import os; os.kill(os.getpid(), 11)", PARSES, "its process ended with status -11"),
    ],
    ids=[
        "channel", "status", "channel stop", "capturer", "acquire", "reporter", "stdout", "flows", "handle", "exits",
        "raises", "default", "dies"
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
@pytest.mark.parametrize("options", ["", REQUIRED], ids=["defaults", "options without default"])
def test_what_is_wrong_with_a_hook_is_told(tmp_path: Path, mark: str, method: str, told: str, options: str) -> None:
    """Its class shows them, also where nobody can know the values that it needs."""
    parts = options + HEARING_REPORTER.format(mark=mark, method=method)
    more = ", config='odd_parts:Config'" if options else ""
    status, found = findings(Site(folder=tmp_path), "Reporter", parts, more)
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


def of(rule: str, found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["status"], one["message"]) for one in found if rule in one["rule"]]


CLASSMETHOD = "@classmethod\n    def acquire(cls, config, shard, shards, state): "
ACQUIRES = {
    "none, and privileged": ("pass", True, "it is declared privileged and has no method acquire of its own"),
    "none": ("pass", False, ""),
    "opens": (CLASSMETHOD + "return [os.open('/dev/null', 0)]", True, ""),
    "an instance's": ("def acquire(self, config, shard, shards, state): return []", True, "must be a classmethod"),
    "arguments": ("@classmethod\n    def acquire(cls, config): return []", False, "must be a classmethod that takes"),
    "async": (
        "@classmethod\n    async def acquire(cls, config, shard, shards, state): return []",
        False,
        "not be async",
    ),
    "raises": (CLASSMETHOD + "raise KeyError('x')", False, "KeyError: 'x'"),
    "is not allowed": (CLASSMETHOD + "raise PermissionError(1, 'no')", True, ""),
    "refuses": (CLASSMETHOD + "raise otus_core.CaptureError('eth9', 'is not there')", True, ""),
    "says nothing": (CLASSMETHOD + "raise OSError", True, "raises OSError without a word"),
    "gives nothing": (CLASSMETHOD + "return None", False, "gave None, not a list of descriptors"),
    "gives a file": (CLASSMETHOD + "return [open('/dev/null')]", False, "not a list of descriptors"),
    "gives a closed one": (CLASSMETHOD + "return [987]", False, "gave 987, which is no open descriptor"),
    "opens nothing": (CLASSMETHOD + "return []", True, "its method acquire opened nothing"),
}


@pytest.mark.parametrize(("method", "privileged", "told"), ACQUIRES.values(), ids=ACQUIRES)
def test_what_is_wrong_with_acquire_is_told(tmp_path: Path, method: str, privileged: bool, told: str) -> None:
    more = f", privileged={privileged}"
    status, found = findings(Site(folder=tmp_path), "Capturer", ACQUIRING.format(method=method), more)
    ((state, message),) = of("opens what needs privilege", found)
    assert (state, status) == (("failed", 1) if told else ("passed", 0)), found
    assert told in message


COMMANDS = {
    "fine": (COMMANDED.format(answer="{'odd': " + GROUP.format(name="app") + "}"), ""),
    "one function": (COMMANDED.format(answer="{'odd': " + GROUP.format(name="single") + "}"), ""),
    "none": ("", ""),
    "not there": (
        COMMANDED.format(answer="{'odd': " + GROUP.format(name="nothing") + "}"),
        "has no attribute 'nothing'",
    ),
    "a number": (
        COMMANDED.format(answer="{'odd': " + GROUP.format(name="number") + "}"),
        "is 7, neither a typer.Typer",
    ),
    "a type that is none": (COMMANDED.format(answer="{'odd': " + GROUP.format(name="broken") + "}"), "complex"),
    "taken": (COMMANDED.format(answer="{'run': " + GROUP.format(name="app") + "}"), "'run' is one of Otus itself"),
    "a list": (COMMANDED.format(answer="['odd']"), "gave ['odd'], not a mapping"),
    "no group": (COMMANDED.format(answer="{'odd': 'odd_cli:app'}"), "not a name and an otus_core.CommandGroup"),
    "raises": (COMMANDED.format(answer="1 / 0"), "ZeroDivisionError"),
    "no summary": (
        COMMANDED.format(answer="{'odd': " + GROUP.format(name="app").replace("'Odd'", "' '") + "}"),
        "has no summary",
    ),
    "an object": (
        COMMANDED.format(answer="{'odd': otus_core.CommandGroup(app=print, summary='x')}"),
        "give 'package.module:name'",
    ),
}


@pytest.mark.parametrize(("more", "told"), COMMANDS.values(), ids=COMMANDS)
def test_what_is_wrong_with_a_command_group_is_told(tmp_path: Path, more: str, told: str) -> None:
    site = Site(folder=tmp_path)
    parser = PARSER.format(method="def can_handle(self, packet): return False")
    site.install("otus-plugin-odd", PLUGIN.format(more=more), modules={"odd_parts": parser, "odd_cli": CLI})
    ((report),) = json.loads(site.otus("--output", "json", "plugins", "check", "otus_plugin_odd").stdout)
    ((state, message),) = of("its commands can be used", report["findings"])
    assert state == ("failed" if told else "passed"), message
    assert told in message


MODULE_HOOKS = {
    "async": ("@otus_core.hookimpl\nasync def otus_startup(node): pass", "failed", "otus_startup must not be async"),
    "fine": ("@otus_core.hookimpl\ndef otus_startup(node): pass", "passed", ""),
    "misspelt and unmarked": ("def otus_shutdwon(): pass", "warning", "did you mean otus_shutdown?"),
    "its own": ("def odd_business(): pass", "passed", ""),
}


@pytest.mark.parametrize(("more", "expected", "told"), MODULE_HOOKS.values(), ids=MODULE_HOOKS)
def test_what_is_wrong_with_a_hook_of_the_module_is_told(tmp_path: Path, more: str, expected: str, told: str) -> None:
    site = Site(folder=tmp_path)
    parser = PARSER.format(method="def can_handle(self, packet): return False")
    site.install("otus-plugin-odd", PLUGIN.format(more=more), modules={"odd_parts": parser})
    ((report),) = json.loads(site.otus("--output", "json", "plugins", "check", "odd").stdout)
    ((state, message),) = of("its hooks can be called", report["findings"])
    assert (state, told in message) == (expected, True), message


@pytest.mark.parametrize(("seconds", "expected"), [(0.4, "warning"), (1.2, "failed")])
def test_a_slow_import_is_told_with_what_takes_the_time(tmp_path: Path, seconds: float, expected: str) -> None:
    site = Site(folder=tmp_path)
    (tmp_path / "heavyweight.py").write_text(f"import time\ntime.sleep({seconds})\n")
    parser = PARSER.format(method="def can_handle(self, packet): return False")
    site.install("otus-plugin-odd", PLUGIN.format(more="import heavyweight"), modules={"odd_parts": parser})
    done = site.otus("--output", "json", "plugins", "check", "odd")
    ((state, message),) = of("is imported quickly", json.loads(done.stdout)[0]["findings"])
    assert (state, done.returncode) == (expected, int(expected == "failed"))
    assert f"importing it takes {seconds}" in message and "(most of it: heavyweight " in message


@pytest.mark.parametrize("kind", ["Parser", "Processor"])
def test_a_hook_of_a_component_that_receives_none_is_told(tmp_path: Path, kind: str) -> None:
    parts = f"""
import otus_core
class Odd(otus_core.Base{kind}):
    def __init__(self, config): pass
    @otus_core.hookimpl
    def otus_task_state_changed(self, task_id): pass
"""
    _, found = findings(Site(folder=tmp_path), kind, parts, PARSES if kind == "Parser" else "")
    ((state, message),) = of("receives the hooks", found)
    assert (state, "receives no hooks" in message) == ("failed", True)


TIMELY = """
import otus_core
class Odd(otus_core.Base{kind}):
    def __init__(self, config): pass
    def take(self, packet): return None
    def process(self, output): return True
    {more}
"""
ABILITIES = {
    "a tick": ("Processor", "tick_interval = 1.0\n    def tick(self, now): pass", "", ""),
    "no interval": ("Processor", "def tick(self, now): pass", "", "tick_interval is 0.0: use 0.1 to 86400 seconds"),
    "an interval in text": ("Parser", "tick_interval = '1s'\n    def tick(self, now): pass", PARSES, "is '1s'"),
    "no time": (
        "Processor",
        "tick_interval = 1\n    def tick(self): pass",
        "",
        "tick must take 1 argument beside self",
    ),
    "a finish": ("Parser", "def finish(self): pass", PARSES, "finish must take 1 argument beside self"),
    "routes nowhere": ("Processor", "pass", ", routes=True", "it declares routes, and has no method on_route"),
    "undeclared": ("Processor", "def on_route(self, key, message): pass", "", "does not declare routes"),
    "never asked": (
        "Processor",
        "def before_finish(self, now): pass",
        "",
        "it has a method before_finish, and is no processor that declares routes",
    ),
    "no last word": (
        "Processor",
        "def on_route(self, key, message): pass\n    def before_finish(self): pass",
        ", routes=True",
        "before_finish must take 1 argument beside self",
    ),
    "no frame": ("Parser", "pass", PARSES + ", streams=('tcp',)", "no method frame that takes data and a place"),
    "streams": (
        "Parser",
        "def frame(self, data, at): return -1\n    def resync(self, data, at): return -1",
        PARSES + ", streams=('tcp',)",
        "",
    ),
}


@pytest.mark.parametrize(("kind", "method", "more", "told"), ABILITIES.values(), ids=ABILITIES)
def test_what_does_not_fit_the_declaration_is_told(
    tmp_path: Path, kind: str, method: str, more: str, told: str
) -> None:
    _, found = findings(Site(folder=tmp_path), kind, TIMELY.format(kind=kind, more=method), more)
    messages = [message for state, message in of("is made by its factory", found) if state == "failed"]
    assert bool(messages) is bool(told), found
    assert told in "".join(messages)


MADE_UP = """
import otus_core
@otus_core.configuration
class Config:
    path: str = otus_core.option(help="Where")
class Odd(otus_core.BaseProcessor):
    def __init__(self, config): {init}
    def start(self): {start}
    def process(self, output): return True
"""


@pytest.mark.parametrize(
    ("init", "start", "told"),
    [
        ("self.path = config.path", "pass", ""),
        ("open(config.path)", "pass", "it was not made: with made-up values"),
        ("self.path = config.path", "open(self.path)", "with made-up values for options without default it raises"),
    ],
    ids=["fine", "when made", "when started"],
)
def test_what_a_component_says_to_made_up_values_is_a_warning(tmp_path: Path, init: str, start: str, told: str) -> None:
    parts = MADE_UP.format(init=init, start=start)
    status, found = findings(Site(folder=tmp_path), "Processor", parts, ", config='odd_parts:Config'")
    ((state, message),) = of("is made by its factory", found)
    assert (status, state) == (0, "warning" if told else "passed"), message
    assert told in message


def test_one_that_leaves_threads_behind_is_checked_to_the_end(tmp_path: Path) -> None:
    site = Site(folder=tmp_path)
    threads = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()"
    parser = PARSER.format(method="def can_handle(self, packet): return False")
    site.install("otus-plugin-odd", PLUGIN.format(more=threads), modules={"odd_parts": parser})
    assert site.otus("plugins", "check", "odd").returncode == 0


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
