"""Labels and payloads of third parties that are not what they should be: refused and named once; invalid JSON never
comes out.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import dpkt
import pytest

from otus_core.testing import packets
from tests.core.plugins.distributions import Site

DECLARES = """
import otus_core

@otus_core.configuration
class Ill:
    kind: str = otus_core.option(default="", help="What is wrong.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Parser(name="ill", factory="ill_parts:Parser", config=Ill, payload_types=("ill",), priority=1,
                           summary="Gives what it should not")
    yield otus_core.Processor(name="illproc", factory="ill_parts:Processor", config=Ill, summary="Labels with numbers")
"""
PARTS = """
import otus_core


class Source:
    def __init__(self, value):
        self._value = value
    def label(self, name):
        return self._value
    def labels(self):
        return {"ill.a": self._value}


class Payload:
    def __init__(self, json):
        self._json = json
    def to_json(self):
        return self._json


class Parser(otus_core.BaseParser):
    def __init__(self, config):
        self._kind = config.kind

    def can_handle(self, packet):
        return True

    def handle(self, packet):
        kind, _, what = self._kind.partition(":")
        labels, payload = {"ill.a": "1"}, {"n": 1}
        if kind == "labels":
            labels = {"number": {"ill.a": 5}, "name": {5: "a"}, "none": {"ill.a": None}, "list": ["ill.a"],
                      "source": Source(5)}[what]
        if kind == "json":
            payload = Payload({"cut": b'{"a":', "nan": b'{"a":NaN}', "lines": b'{"a":\\n1}', "bytes": b'{"a":"\\xff"}',
                               "two": b'{} {}', "text": '{"a":1}', "none": None, "good": b' {"a":1}'}[what])
        if kind == "payload":
            payload = {"nan": {"a": float("nan"), "b": [float("inf")]}, "key": {b"a": 1}}[what]
        return otus_core.Parsed(payload, labels)


class Processor(otus_core.BaseProcessor):
    def __init__(self, config):
        self._kind = config.kind

    def process(self, output):
        if self._kind == "labels":
            output.labels["ill.b"] = 5
        if self._kind == "ask":
            return output.label("ill.a") != "2"
        return True
"""
FRAMES = 5


@pytest.fixture
def site(tmp_path: Path) -> Site:
    Site(folder=tmp_path).install("otus-plugin-ill", DECLARES, modules={"ill_parts": PARTS})
    with (tmp_path / "frames.pcap").open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n in range(FRAMES):
            writer.writepkt(packets.udp(b"%d" % n, dst_port=9999), ts=n)
    return Site(folder=tmp_path)


def run(site: Site, kind: str, processor: str = "") -> tuple[subprocess.CompletedProcess[str], dict[str, int]]:
    """Run, see to it that every line is JSON, and give the process, and what became of the messages."""
    task = {
        "id": "t",
        "capture": {"type": "pcap", "files": [str(site.folder / "frames.pcap")]},
        "parsers": [{"type": "ill", "config": {"kind": kind}}],
        "processors": [{"type": "illproc", "config": {"kind": processor}}],
        "reporters": [{"type": "console", "config": {"format": "json"}}],
    }
    (site.folder / "task.json").write_text(json.dumps(task))
    summary = site.folder / "summary.json"
    done = site.otus("run", "-q", "--task", str(site.folder / "task.json"), "--summary-json", str(summary))

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    for line in done.stdout.splitlines():
        json.loads(line, parse_constant=refuse)
    counters = json.loads(summary.read_text())
    assert counters["unaccounted"] == 0
    assert len(done.stdout.splitlines()) == counters["reporters"]["console"]["reported"]
    return done, {**counters["dropped"], **counters["reporters"]["console"]["dropped"]}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("labels:number", "the label 'ill.a' is int, not text"),
        ("labels:name", "the label 5 is str, not text"),
        ("labels:none", "the label 'ill.a' is NoneType, not text"),
        ("labels:list", "labels is list, neither a dict nor a LabelSource"),
    ],
)
def test_labels_that_are_no_text_are_a_fault_of_their_parser(site: Site, kind: str, told: str) -> None:
    done, dropped = run(site, kind)
    assert (done.returncode, done.stdout, dropped) == (1, "", {"parse_error:ill": FRAMES})
    (line, _) = done.stderr.splitlines()
    assert told in line and "component=ill" in line and "plugin=otus-plugin-ill" in line


@pytest.mark.parametrize(
    ("kind", "processor", "told"),
    [
        ("labels:source", "", "ill_parts.Source.labels(): the label 'ill.a' is int, not text"),
        ("", "labels", "the label 'ill.b' is int, not text"),
        ("json:cut", "", "ill_parts.Payload.to_json(): this is not JSON on one line: it is wrong at the end"),
        ("json:nan", "", "ill_parts.Payload.to_json(): this is not JSON on one line: it is wrong at byte 5"),
        ("json:lines", "", "wrong at byte 5"),
        ("json:bytes", "", "ill_parts.Payload.to_json()"),
        ("json:two", "", "wrong at byte 3"),
        ("json:text", "", "ill_parts.Payload.to_json() gave str, not bytes"),
        ("json:none", "", "ill_parts.Payload.to_json() gave NoneType, not bytes"),
        ("payload:key", "", "keys must be str"),
    ],
)
def test_what_cannot_be_written_is_refused_and_named_once(site: Site, kind: str, processor: str, told: str) -> None:
    done, dropped = run(site, kind, processor)
    assert (done.returncode, done.stdout, dropped) == (1, "", {"report_error:encode": FRAMES})
    (line,) = [line for line in done.stderr.splitlines() if "message_not_encoded" in line]
    assert told in line.replace("\\'", "'") and "payload_type=ill" in line


def test_what_a_source_answers_is_looked_at_too(site: Site) -> None:
    done, dropped = run(site, "labels:source", "ask")
    assert dropped == {"processor_error:illproc": FRAMES}
    assert "ill_parts.Source.label('ill.a') gave int, not text" in done.stderr


def test_nan_becomes_null_and_is_told_once(site: Site) -> None:
    done, dropped = run(site, "payload:nan")
    assert (done.returncode, dropped) == (0, {})
    assert {json.dumps(json.loads(line)["payload"]) for line in done.stdout.splitlines()} == {
        '{"a": null, "b": [null]}'
    }
    (line,) = [line for line in done.stderr.splitlines() if "held the thread" not in line]
    assert "payload_has_no_json_number" in line


def test_what_is_sound_passes(site: Site) -> None:
    done, dropped = run(site, "json:good")
    assert (done.returncode, done.stderr, dropped) == (0, "", {})
