"""What a call announces is found when its media come, from the capture's first packet on: by another parser, in a
capture of any length.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from otus_core.cli import foreground
from otus_core.plugins.loader import load
from otus_core.task.config import load_task
from tests.core.plugins.distributions import Site

TELLER = """
import otus_core

@otus_core.hookimpl
def otus_components():
    yield otus_core.Parser(name="looker", factory="looker_parts:Looker", payload_types=("x",), wants_flows=True,
                           summary="Looks flows up")
"""
PARTS = """
from collections import Counter
import otus_core

found = Counter()

class Looker(otus_core.BaseParser):
    def __init__(self, config):
        pass

    def wire(self, context):
        self._flows = context.flows

    def can_handle(self, packet):
        return packet.protocol == 17

    def handle(self, packet):
        ends = (str(packet.src_ip), packet.src_port, str(packet.dst_ip), packet.dst_port)
        found[ends] += bool(self._flows.find(packet))
        return []
"""
NOT_ANNOUNCED = {
    "ndpi__skinny.pcap": "announced by Skinny, not by SIP",
    "wireshark-wiki__umts__Mobile-Terminating-Call_AMR_ee10a9.pcap": "announced by RANAP, not by SIP",
}
STREAM = re.compile(r"^ *[\d.]+ +[\d.]+ +(\S+) +(\d+) +(\S+) +(\d+) +0x[0-9A-F]+ +.*? +(\d+) +-?\d+ \(")


def streams_of(path: Path) -> Counter[tuple[str, int, str, int]]:
    """Give the packets of each stream that tshark ties to an SDP."""
    streams: Counter[tuple[str, int, str, int]] = Counter()
    for line in path.read_text().splitlines():
        if row := STREAM.match(line):
            source, sport, destination, dport, packets = row.groups()
            streams[source, int(sport), destination, int(dport)] += int(packets)
    return streams


def test_media_find_their_call(corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Site(folder=tmp_path).install("otus-plugin-looker", TELLER, modules={"looker_parts": PARTS})
    monkeypatch.syspath_prepend(str(tmp_path))
    import looker_parts  # type: ignore[import-not-found]

    registry = load()
    expected = found = 0
    lost = []
    for oracle in sorted((corpora / "oracle").glob("*.rtp_sdp.txt")):
        name = oracle.name.removesuffix(".rtp_sdp.txt")
        if name in NOT_ANNOUNCED:
            continue
        streams = streams_of(oracle)
        looker_parts.found.clear()
        request = foreground.RunRequest(
            files=(str(corpora / name),), format="none", parsers=("sip", "looker"), quiet=True
        )
        foreground.run_task(load_task(foreground.task_data(request), registry), registry, request)
        here = sum(min(n, looker_parts.found[ends]) for ends, n in streams.items())
        expected, found = expected + streams.total(), found + here
        lost += [f"{name}: {here} of {streams.total()}"] if here < streams.total() else []
    assert found / expected >= 0.995, lost
    assert expected > 6_000
