"""Parsers hear what others announce, and when what they looked up ends; an error there costs no packet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dpkt
import pytest

from otus_core.cli import foreground
from otus_core.plugins.loader import load
from otus_core.task.config import load_task
from otus_core.testing import packets
from tests.core.plugins.distributions import Site

PLUGIN = """
import otus_core

@otus_core.hookimpl
def otus_components():
    for name in ("caller", "media"):
        yield otus_core.Parser(name=name, factory="calls_parts:" + name.title(), payload_types=(name,),
                               wants_flows=True, summary="Half of a protocol")
"""
PARTS = '''
import otus_core

class Caller(otus_core.BaseParser):
    """``call PORT NAME`` announces a port, ``bye NAME`` ends it."""

    def __init__(self, config):
        pass

    def wire(self, context):
        self._flows = context.flows

    def can_handle(self, packet):
        return packet.dst_port == 5060

    def handle(self, packet):
        word, *rest = packet.payload.decode().split()
        if word == "call":
            key = otus_core.FlowKey.endpoint(packet.dst_ip, int(rest[0]), 17)
            self._flows.announce([key], {"name": rest[1]}, rest[1])
        elif word == "news":
            self._flows.announce((), {"name": rest[0]}, rest[0])
        else:
            self._flows.end(rest[0])
        return []

news = []
ends = []
raises = []

class Media(otus_core.BaseParser):
    def __init__(self, config):
        self._now = 0

    def wire(self, context):
        self._flows = context.flows

    def take(self, packet):
        self._now = packet.timestamp // 10**9
        matches = self._flows.find(packet)
        return otus_core.Parsed({}, {"name": matches[0].context["name"]}) if matches else None

    def on_announce(self, owner, keys, context):
        news.append((owner, [key.dst_port for key in keys], context["name"], self._now))
        if raises:
            raise RuntimeError("no good")

    def on_flow_end(self, key, context):
        ends.append((key.dst_port, context["name"], self._now))
        if raises:
            raise RuntimeError("no good")
'''
SAID = (
    (0, 5060, b"call 4000 ann"),
    (1, 5060, b"call 4002 bob"),
    *((n, 4000, b"media") for n in range(2, 8)),
    (8, 5060, b"news ann"),
    (8, 5060, b"bye ann"),
    (9, 5060, b"bye bob"),  # nobody looked bob up
    (37, 4000, b"late media"),
    (39, 4000, b"too late"),
    (40, 4000, b"much too late"),
)


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    Site(folder=tmp_path).install("otus-plugin-calls-by-word", PLUGIN, modules={"calls_parts": PARTS})
    monkeypatch.syspath_prepend(str(tmp_path))
    import calls_parts  # type: ignore[import-not-found]

    calls_parts.news.clear()
    calls_parts.ends.clear()
    calls_parts.raises.clear()
    return calls_parts


def run(folder: Path) -> dict[str, Any]:
    with (folder / "said.pcap").open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for at, port, text in SAID:
            writer.writepkt(packets.udp(text, src_port=999, dst_port=port), 1_700_000_000 + at)
    request = foreground.RunRequest(
        files=(str(folder / "said.pcap"),), format="none", parsers=("caller", "media"), quiet=True
    )
    registry = load()
    result = foreground.run_task(load_task(foreground.task_data(request), registry), registry, request)
    assert result.summary["unaccounted"] == 0
    return result.summary


def test_a_parser_hears_of_the_end_of_what_it_looked_up(parts: Any, tmp_path: Path) -> None:
    summary = run(tmp_path)
    assert summary["matched"] == 7
    assert [(port, name, now - 1_700_000_000) for port, name, now in parts.ends] == [(4000, "ann", 37)]


def test_what_fails_there_costs_no_packet(parts: Any, tmp_path: Path) -> None:
    parts.raises.append(True)
    summary = run(tmp_path)
    assert summary["matched"] == 7
    assert (len(parts.news), len(parts.ends)) == (3, 1)


def test_a_parser_hears_what_is_announced_before_the_next_packet(parts: Any, tmp_path: Path) -> None:
    run(tmp_path)
    told = [(owner, ports, name, now - 1_700_000_000) for owner, ports, name, now in parts.news]
    assert told[2] == ("ann", [], "ann", 7), "news that concern no endpoint"
    assert [one[:3] for one in told[:2]] == [("ann", [4000], "ann"), ("bob", [4002], "bob")]
