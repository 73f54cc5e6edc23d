"""What an author sees of components at work: their own counters and status, why packets could not be read, where faults
are, and how a run ends that reported nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otus_core.testing import packets
from otus_core.testing.host import Host, Ran
from tests.core.plugins.distributions import Site
from tests.e2e.node import Node
from tests.patience import wait

DECLARES = """
import otus_core

@otus_core.configuration
class Voice:
    kind: str = otus_core.option(default="", help="What it does.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Capturer(name="voicecap", factory="voice_parts:Capturer", config=Voice, live=True,
                             counters=("called",), summary="Counts")
    yield otus_core.Parser(name="voice", factory="voice_parts:Parser", config=Voice, payload_types=("voice",),
                           priority=1, counters=("called",), failure_reasons=("too short",), summary="Counts")
    yield otus_core.Parser(name="next", factory="voice_parts:Next", payload_types=("next",), priority=2, summary="Next")
    yield otus_core.Processor(name="voiceproc", factory="voice_parts:Processor", config=Voice, counters=("called",),
                              summary="Counts")
    yield otus_core.Reporter(name="voicerep", factory="voice_parts:Reporter", config=Voice, counters=("called",),
                             summary="Counts")
    yield otus_core.CommandChannel(name="voicechan", factory="voice_parts:Channel", config=Voice,
                                   counters=("called",), summary="Counts")
"""
PARTS = """
import time
import otus_core
from otus_core.testing import packets


class Voice:
    def __init__(self, config):
        self._kind = config.kind

    def wire(self, context):
        self._called = context.counter("called")
        self._status = context.status
        if self._kind == "undeclared":
            context.counter("nowhere")

    def _call(self):
        self._called()
        self._called(2)
        if self._kind in ("degraded", "failed"):
            self._status(self._kind, "it is\\x1b[31m tired")
        elif self._kind == "word":
            self._status("fine")


class Capturer(Voice, otus_core.BaseCapturer):
    def read(self):
        self._call()
        time.sleep(0.01)
        return otus_core.FrameBatch.from_frames([(time.time_ns(), packets.udp(b"hello", dst_port=9999))])

    def wait_hint(self):
        return 0.01


class Parser(Voice, otus_core.BaseParser):
    def can_handle(self, packet):
        if self._kind == "unsure":
            raise RuntimeError("cannot say")
        return True

    def handle(self, packet):
        self._call()
        if self._kind == "refuse":
            raise otus_core.ParseError("too short" if len(packet.payload) < 6 else "too \\x1b[31m long")
        if self._kind == "list":
            return [otus_core.ParseError("too short"), otus_core.ParseError("too long")]
        if self._kind == "raise":
            raise RuntimeError("here it is")
        return otus_core.Parsed({}, {"voice.text": packet.payload.decode()})


class Next(otus_core.BaseParser):
    def __init__(self, config):
        pass

    def can_handle(self, packet):
        return True

    def handle(self, packet):
        return otus_core.Parsed({}, {"next.text": packet.payload.decode()})


class Processor(Voice, otus_core.BaseProcessor):
    def process(self, output):
        self._call()
        if self._kind == "raise":
            raise RuntimeError("here it is")
        return True


class Reporter(Voice, otus_core.BaseReporter):
    async def report(self, batch):
        self._call()
        return otus_core.ReportResult(reported=len(batch))


class Channel(Voice, otus_core.BaseCommandChannel):
    async def start(self, handler):
        self._call()

    async def stop(self):
        pass
"""
KINDS = ("capturer:voicecap", "parser:voice", "processor:voiceproc", "reporter:voicerep")


@pytest.fixture
def ran(otus_run: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a task of these components on some packets."""
    site = tmp_path / "site"
    site.mkdir()
    Site(folder=site).install("otus-plugin-voice", DECLARES, modules={"voice_parts": PARTS})
    monkeypatch.setenv("PYTHONPATH", str(site))

    def run(kind: str = "", payloads: tuple[bytes, ...] = (b"hello", b"hello you"), **of_kinds: str) -> Ran:
        task = {
            "id": "t",
            "parsers": [{"type": "voice", "config": {"kind": kind}}, *of_kinds.pop("more", ())],
            "processors": [{"type": "voiceproc", "config": {"kind": of_kinds.pop("processor", "")}}],
            "reporters": [{"type": "console", "config": {"format": "json"}}],
        }
        (tmp_path / "task.json").write_text(json.dumps(task))
        frames = [packets.udp(payload, dst_port=9999) for payload in payloads]
        return otus_run(frames, "--task", str(tmp_path / "task.json"))

    return run


def test_a_packet_that_a_parser_cannot_judge_goes_to_the_next_one(ran: Callable[..., Ran]) -> None:
    done = ran("unsure", more=["next"])
    assert [one["labels"] for one in done.outputs] == [{"next.text": "hello"}, {"next.text": "hello you"}]
    assert done.summary["errors"] == {"parser:voice": 2}
    assert (done.status, done.summary["unaccounted"]) == (0, 0)
    assert "cannot say" in done.errors


@pytest.mark.parametrize("kind", ["refuse", "list"])
def test_what_could_not_be_read_is_counted_by_its_reason(ran: Callable[..., Ran], kind: str) -> None:
    done = ran(kind)
    each = 1 if kind == "refuse" else 2
    assert done.summary["parse_errors"] == {"voice:too short": each, "voice:other": each}
    assert done.summary["dropped"] == {"parse_error:voice": 2 * each}
    assert (done.status, done.summary["unaccounted"]) == (1, 0)
    assert done.errors == f"otus: everything failed, and nothing was reported (parse error of voice: {2 * each})\n"


def test_faults_are_counted_shown_and_end_a_run_that_reported_nothing_with_1(ran: Callable[..., Ran]) -> None:
    done = ran("raise")
    assert done.summary["parse_errors"] == {"voice:fault": 2}
    assert done.summary["errors"] == {"parser:voice": 2}
    assert done.status == 1
    assert "traceback" not in done.errors and "Traceback" not in done.errors
    assert ran(processor="raise").status == 1


def test_a_run_in_which_something_was_reported_ends_well(ran: Callable[..., Ran]) -> None:
    done = ran("unsure", more=["next"], payloads=(b"x",))
    assert (done.status, len(done.outputs)) == (0, 1)


def test_where_a_fault_is_can_be_seen(ran: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTUS_DEBUG", "1")
    done = ran("raise")
    assert "voice_parts.py" in done.errors and "in handle" in done.errors


def test_a_counter_that_is_not_declared_is_refused_by_name(ran: Callable[..., Ran]) -> None:
    done = ran("undeclared")
    assert done.status == 1
    assert done.errors.endswith("ValueError: parser voice has no counter 'nowhere'; it declares called\n")


def test_a_status_that_there_is_not_is_refused(ran: Callable[..., Ran]) -> None:
    assert "parser:voice: status 'fine': use ok, degraded, failed" in ran("word").errors


def test_a_run_counts_for_its_components_and_logs_their_status(ran: Callable[..., Ran]) -> None:
    done = ran("degraded")
    assert done.summary["counted"] == {"parser:voice:called": 6, "processor:voiceproc:called": 6}
    (line,) = [line for line in done.errors.splitlines() if "component_status" in line]
    assert "degraded" in line and "component=parser:voice" in line and "\x1b" not in line


@pytest.fixture
def voices(node: Node, tmp_path: Path) -> Node:
    Site(folder=tmp_path).install("otus-plugin-voice", DECLARES, modules={"voice_parts": PARTS})
    node.write("debug", "  command_channel: {enabled: true, type: voicechan, options: {kind: degraded}}\n")
    node.start(PYTHONPATH=str(tmp_path))
    return node


def config(kind: str) -> dict[str, Any]:
    return {
        "id": "t",
        "capture": {"type": "voicecap", "kind": kind},
        "parsers": [{"type": "voice", "config": {"kind": kind}}],
        "processors": [{"type": "voiceproc", "config": {"kind": kind}}],
        "reporters": [{"type": "voicerep", "config": {"kind": kind}}],
    }


def sample(node: Node, name: str, **labels: str) -> float | None:
    return node.metrics().get((name, tuple(sorted(labels.items()))))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["degraded", "failed"])
def test_components_of_every_kind_count_and_say_how_they_are(voices: Node, kind: str) -> None:
    assert "result" in voices.rpc("task_create", config=config(kind))
    for component in KINDS:
        wait(
            lambda c=component: sample(voices, "otus_component_counted_total", task="t", component=c, counter="called")
        )
        about = {"task": "t", "pipeline": "0", "component": component}
        wait(lambda a=about: sample(voices, "otus_component_status", **a, status=kind) == 1)
        assert sample(voices, "otus_component_status", **about, status="ok") == 0
    wait(lambda: len(voices.state("t")["troubles"]) == 4, what="all four are told")
    state = voices.state("t")
    assert state["degraded"] and state["state"] == "running"
    assert f"parser voice {kind}: it is\\x1b[31m tired" in state["troubles"]
    assert {name: one["status"] for name, one in state["workers"][0]["components"].items()} == dict.fromkeys(
        KINDS, kind
    )
    assert {*state["counters"]["counted"]} == {f"{component}:called" for component in KINDS}
    told = voices.call("status")[1]["troubles"]
    assert {"command_channel": "voicechan", "reason": "it is\\x1b[31m tired"} in told
    assert sample(voices, "otus_command_channel_counted_total", channel="voicechan", counter="called") == 3
    assert sample(voices, "otus_command_channel_status", channel="voicechan", status="degraded") == 1


@pytest.mark.slow
def test_how_a_packet_begins_that_could_not_be_read_is_logged_at_debug_level(voices: Node) -> None:
    assert "result" in voices.rpc("task_create", config=config("refuse"))
    reason = {"task": "t", "parser": "voice", "reason": "too short"}
    wait(lambda: (sample(voices, "otus_parse_errors_total", **reason) or 0) > 5, what="they are counted")
    entries = [entry for entry in voices.log() if entry["event"] == "packet_not_read"]
    assert len(entries) == 1  # and not one for each packet
    assert {name: entries[0][name] for name in ("parser", "reason", "size", "begins")} == {
        "parser": "voice",
        "reason": "too short",
        "size": 5,
        "begins": "68 65 6c 6c 6f",
    }
