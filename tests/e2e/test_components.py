"""Components that misbehave in a run: each suffers alone, is stopped once, and never writes where answers go."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.core.plugins.distributions import Site, good

DECLARED = """
    import otus_core

    @otus_core.hookimpl
    def otus_components():
        yield otus_core.Parser(name="mute", factory="odd_parts:Mute", payload_types=("mute",), priority=1)
        yield otus_core.Parser(name="keeper", factory="odd_parts:Keeper", payload_types=("kept",), priority=1)
        yield otus_core.Parser(name="raiser", factory="odd_parts:Raiser", payload_types=("x",), priority=1)
        yield otus_core.Processor(name="unwired", factory="odd_parts:Unwired")
        yield otus_core.Processor(name="unmade", factory="odd_parts:unmade")
        yield otus_core.Processor(name="exits", factory="odd_parts:Exits")
        yield otus_core.Reporter(name="cold", factory="odd_parts:Cold")
        yield otus_core.Capturer(name="solo", factory="odd_parts:Solo")
        yield otus_core.Reporter(name="picky", factory="odd_parts:Third", payload_types=("sip", "rtp"))
        yield otus_core.Parser(name="first", factory="odd_parts:First", payload_types=("x",), priority=1)
        yield otus_core.Processor(name="second", factory="odd_parts:Second")
        yield otus_core.Reporter(name="third", factory="odd_parts:Third")
"""
PARTS = """
    import sys
    import structlog
    import otus_core

    class Told:
        def stop(self):
            print(f"stopped {type(self).__name__}", file=sys.stderr)

    class Value:
        def to_json(self):
            raise RuntimeError("not to be had")

    class Mute(otus_core.BaseParser):
        def __init__(self, config): structlog.get_logger().warning("made", by="Mute")
        def can_handle(self, packet): return True
        def handle(self, packet): return otus_core.Parsed(Value(), {"mute.x": "1"})

    class Raiser(Mute):
        def handle(self, packet): raise RuntimeError("boom")

    class Keeper(otus_core.BaseParser):
        def __init__(self, config): self.kept = []
        def can_handle(self, packet):
            self.kept.append(packet)
            return False
        def stop(self):
            begun = [packet.payload[:8].decode("ascii", "replace") for packet in self.kept]
            ends = [(str(packet.src_ip), packet.src_port, len(packet.payload)) for packet in self.kept]
            shown = [(*end, text) for end, text in zip(ends, begun, strict=True)]
            print(len(self.kept), shown[0], shown[-1], file=sys.stderr)

    class Unwired(Told, otus_core.BaseProcessor):
        def __init__(self, config): pass
        def wire(self, context): raise OSError("no wire")
        def process(self, output): return True

    def unmade(config):
        sys.exit("no such thing")

    class Exits(otus_core.BaseProcessor):
        def __init__(self, config): pass
        def process(self, output): sys.exit("enough")

    class Cold(Told, otus_core.BaseReporter):
        def __init__(self, config): pass
        async def start(self): raise ConnectionError("nobody there")
        async def stop(self): Told.stop(self)
        async def report(self, batch): return otus_core.ReportResult(len(batch))

    class Ordered:
        def __init__(self, config): pass
        def start(self): print(f"started {type(self).__name__}", file=sys.stderr)
        def stop(self): print(f"stopped {type(self).__name__}", file=sys.stderr)

    class First(Ordered, otus_core.BaseParser):
        def can_handle(self, packet): return True
        def handle(self, packet): return otus_core.Parsed(None, {})

    class Second(Ordered, otus_core.BaseProcessor):
        def process(self, output): return True

    class Third(Ordered, otus_core.BaseReporter):
        async def start(self): Ordered.start(self)
        async def flush(self): print("flushed Third", file=sys.stderr)
        async def stop(self): Ordered.stop(self)
        async def report(self, batch): return otus_core.ReportResult(len(batch))
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(folder=tmp_path)
    site.install("otus-plugin-odd", DECLARED, modules={"odd_parts": PARTS})
    return site


def run(site: Site, examples: Path, **task: Any) -> tuple[int, list[str], list[str], dict[str, Any]]:
    """Run a task over a call; gives exit status, lines of standard output and of standard error, and the summary."""
    file, summary = site.folder / "task.json", site.folder / "summary.json"
    whole = {
        "id": "t",
        "capture": {"type": "pcap", "file": [str(examples / "call.pcap")]},
        "parsers": ["sip"],
        "reporters": [{"type": "console", "config": {"format": "json"}}],
    }
    file.write_text(json.dumps({**whole, **task}))
    done = site.otus("run", "--task", str(file), "-q", "--summary-json", str(summary))
    counted = json.loads(summary.read_text()) if summary.exists() else {}
    assert counted.get("unaccounted", 0) == 0
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), counted


PREFERENCES = ('prefer: {"parser:sip": otus-plugin-sip}', "disabled: [acmesip]", "enabled: [sip, pcap, console]")


def test_a_run_heeds_the_plugins_of_the_configuration(tmp_path: Path, examples: Path) -> None:
    site = Site(folder=tmp_path)
    site.install("acme-sip", good("sip"), entry_point="acmesip")
    config, call = tmp_path / "config.yml", str(examples / "call.pcap")
    disputed = site.otus("run", call, "-q")
    assert (disputed.stdout, "there is no parser" in disputed.stderr) == ("", True)
    for plugins in PREFERENCES:
        config.write_text(f"otus: {{plugins: {{{plugins}}}}}")
        done = site.otus("-c", str(config), "run", call, "-q")
        assert (done.returncode, len(done.stdout.splitlines())) == (0, 8)  # the date, and seven messages


@pytest.mark.parametrize(
    ("plugins", "told"),
    [
        ("[sip]", "otus.plugins: expected a mapping, got a list"),
        ("{enabled: sip}", 'otus.plugins.enabled: expected a list of text or null, got the text "sip"'),
        ("{disable: [sip]}", "otus.plugins.disable: unknown key; did you mean disabled?"),
    ],
)
def test_a_wrong_selection_is_refused(tmp_path: Path, plugins: str, told: str) -> None:
    config = tmp_path / "config.yml"
    config.write_text(f"otus: {{plugins: {plugins}}}")
    done = Site(folder=tmp_path).otus("-c", str(config), "plugins", "list")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"otus: {config}: {told}\n")


def test_what_anybody_logs_stays_off_standard_output(site: Site, examples: Path) -> None:
    status, out, err, counted = run(site, examples, parsers=["mute"])
    assert (status, out) == (1, [])
    assert [line for line in err if "made" in line]
    assert [line for line in err if "message_not_encoded" in line]
    assert counted["reporters"]["console"]["dropped"] == {"report_error:encode": counted["kept"]}


def test_a_parser_that_raises_on_every_packet_is_named_and_the_others_go_on(site: Site, examples: Path) -> None:
    status, out, err, counted = run(site, examples, parsers=["raiser"])
    assert (status, out, counted["dropped"]) == (1, [], {"parse_error:raiser": 7})  # everything failed
    (line,) = [line for line in err if "component=raiser" in line and "boom" in line]
    assert re.search(r"at=\w+\.py:\d+ ", line), line


def test_packets_may_be_kept_for_ever(site: Site, examples: Path) -> None:
    status, out, err, _ = run(site, examples, parsers=["keeper", "sip"])
    assert (status, len(out)) == (0, 7)
    assert err == ["7 ('192.0.2.10', 5060, 726, 'INVITE s') ('192.0.2.20', 5060, 264, 'SIP/2.0 ')"]


@pytest.mark.parametrize(("on_error", "kept"), [("drop", 0), ("pass", 7)])
def test_a_processor_that_raises_drops_or_passes(site: Site, examples: Path, on_error: str, kept: int) -> None:
    status, out, _, counted = run(site, examples, processors=[{"type": "exits", "on_error": on_error}])
    assert (status, len(out), counted["kept"]) == (int(not kept), kept, kept)  # 1 where everything failed
    assert counted["dropped"] == ({} if kept else {"processor_error:exits": 7})


def validated(site: Site, **task: Any) -> tuple[int, str]:
    """Have a task checked without running it; gives the exit status, and what is wrong."""
    file = site.folder / "task.json"
    whole = {"id": "t", "capture": {"type": "solo"}, "parsers": ["sip"], "reporters": ["discard"]}
    file.write_text(json.dumps({**whole, **task}))
    done = site.otus("validate", "-f", str(file))
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("task", "told"),
    [
        pytest.param({}, "", id="one worker"),
        pytest.param({"workers": 1}, "", id="one worker, said"),
        pytest.param({"workers": 2}, "workers: is 2, but capturer solo cannot be shared", id="two workers"),
        pytest.param(
            {"capture": {"type": "solo", "fanout_size": 3}},
            "capture.fanout_size: is 3, but capturer solo cannot be shared",
            id="three by fanout",
        ),
        pytest.param({"reporters": ["picky"]}, "", id="one of two payload types is made"),
        pytest.param(
            {"parsers": ["first"], "reporters": ["discard", "picky"]},
            "reporters[1]: picky takes payloads of type sip, rtp, and what comes to it is of type x",
            id="no payload type that is taken is made",
        ),
        pytest.param({"parsers": ["first", "sip"], "reporters": ["picky"]}, "", id="one parser of two makes it"),
        pytest.param(
            {"parsers": ["first"], "reporters": ["picky"], "unmatched_policy": "forward"},
            "and what comes to it is of type raw, x",
            id="what no parser takes is made too, and is not taken",
        ),
    ],
)
def test_what_does_not_fit_together_is_told_before_it_runs(site: Site, task: dict[str, Any], told: str) -> None:
    status, text = validated(site, **task)
    assert (status == 0) == (told == "")
    assert told in text


def test_components_start_from_the_reporters_and_stop_from_the_parsers(site: Site, examples: Path) -> None:
    """Whoever gives something to others stops before them: a reporter is there, and has been flushed, until nothing
    more can come.
    """
    status, _, err, _ = run(site, examples, parsers=["first"], processors=["second"], reporters=["third"])
    assert status == 0
    assert err[:3] == ["started Third", "started Second", "started First"]
    assert err[3:] == ["flushed Third", "stopped First", "stopped Second", "stopped Third"]


@pytest.mark.parametrize(
    ("processor", "told"),
    [
        ("unwired", "otus: processor unwired could not be wired: OSError: no wire"),
        ("unmade", "otus: processor unmade could not be constructed: SystemExit: no such thing"),
    ],
)
def test_a_component_that_cannot_be_made_or_wired_ends_the_run(
    site: Site, examples: Path, processor: str, told: str
) -> None:
    status, out, err, _ = run(site, examples, processors=[processor])
    assert (status, out, err[-1]) == (1, [], told)
    assert err.count("stopped Unwired") == (processor == "unwired")
    skipped = run(site, examples, processors=[{"type": processor, "on_failure": "skip"}])
    assert (skipped[0], len(skipped[1])) == (0, 7)


def test_the_fallback_of_a_reporter_that_was_left_out_takes_its_place(site: Site, examples: Path) -> None:
    reporters = [{"type": "cold", "fallback": "console"}, {"type": "console", "config": {"format": "json"}}]
    status, _, err, _ = run(site, examples, reporters=reporters)
    assert (status, err[-1]) == (1, "otus: reporter cold could not start: ConnectionError: nobody there")
    assert err.count("stopped Cold") == 1
    reporters[0]["on_failure"] = "skip"
    status, out, err, counted = run(site, examples, reporters=reporters)
    assert (status, len(out), list(counted["reporters"])) == (0, 7, ["console"])
    assert err.count("stopped Cold") == 1
