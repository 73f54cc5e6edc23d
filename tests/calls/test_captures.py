"""Calls of real captures: an independent script that puts tshark's fields together gives the same table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dpkt
import pytest

from tests import needs
from tests.calls.oracle import Row, table

OTUS = str(Path(sys.executable).with_name("otus"))
TASK = {
    "id": "calls",
    "parsers": ["sip", "rtp", "icmp"],
    "processors": [{"type": "calls", "config": {"consume": True}}],
    "reporters": [{"type": "console", "config": {"format": "json"}}],
    "capture": {},
}
SHARE = 5
"""One capture of so many is compared, unless OTUS_ALL_CAPTURES is set: tshark and Otus take two seconds for each."""
CALLS_LEAST = 20
SAME_S = 0.000002
"""Captures have microseconds, and so have we."""


def calls_in(capture: Path, folder: Path) -> list[dict[str, Any]]:
    """Give the calls that Otus finds in a capture."""
    task = folder / "task.json"
    task.write_text(json.dumps(TASK))
    done = subprocess.run([OTUS, "run", "-q", "-t", str(task), str(capture)], capture_output=True, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [one["payload"] for one in found if one["payload_type"] == "call"]


EXPLAINED = {
    ("17-other-ports.pcap", "c1@192.0.2.10"): "tshark knows SIP by its ports, and shows one of the two messages",
    (
        "sngrep__ipip.pcap",
        "1RLuVzzBClYCf2",
    ): "a part of it runs in a tunnel, which we look into only with --tunnels ipip",
    **{
        (name, "c1@192.0.2.10"): why
        for why, names in {
            "the frame is cut within the INVITE, which tshark then gives no name": ("15-snaplen.pcap",),
            "odd start lines, of which we and tshark take different ones": ("18-start-lines.pcap",),
            "several messages in a segment, of which the fields of the first are compared": (
                "20-tcp-several-per-segment.pcap",
                "22-tcp-no-content-length.pcap",
            ),
            "SIP in a tunnel, over SCTP or in a file format that is not looked into": (
                "39-ipip.pcap",
                "46-snoop.pcap",
                "50-sctp.pcap",
                "51-erspan3.pcap",
                "51b-erspan-1-2-3.pcap",
                "52-tzsp.pcap",
            ),
        }.items()
        for name in names
    },
}
"""By capture and Call-ID: why tshark's fields give another row than we do."""


def row_of(call: dict[str, Any]) -> Row:
    return Row(*(call[name] for name in ("state", "code", "pdd", "setup", "talk", "hangup_by")))


def agree(one: Row | None, other: Row | None) -> bool:
    """Whether two rows are the same, times to the microsecond."""
    if one is None or other is None:
        return one is other
    if (one.state, one.code, one.hangup_by) != (other.state, other.code, other.hangup_by):
        return False
    pairs = ((one.pdd, other.pdd), (one.setup, other.setup), (one.talk, other.talk))
    return all(a == b if a is None or b is None else abs(a - b) <= SAME_S for a, b in pairs)


def captures() -> list[Path]:
    corpora = needs.CORPORA
    return sorted(
        path
        for folder in (corpora, corpora.parent / "field")
        if folder.is_dir()
        for path in folder.glob("*.pcap*")
        if path.suffix in (".pcap", ".pcapng") and b"INVITE sip" in path.read_bytes()
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_independent_script_gives_the_same_table(tmp_path: Path) -> None:
    needs.tool("tshark")
    needs.corpora()
    compared, wrong = 0, []
    for capture in captures()[:: 1 if os.environ.get("OTUS_ALL_CAPTURES") else SHARE]:
        wanted = table(capture)
        found = {
            (call["call_id"], call["from_tag"]): row_of(call)
            for call in calls_in(capture, tmp_path)
            if not call["partial"]
        }
        for key in sorted(wanted.keys() | found.keys()):
            compared += 1
            if not agree(wanted.get(key), found.get(key)) and (capture.name, key[0]) not in EXPLAINED:
                wrong.append(f"{capture.name} {key}: tshark {wanted.get(key)}, otus {found.get(key)}")
    assert not wrong, "\n".join(wrong)
    assert compared > CALLS_LEAST


def test_legs_of_a_b2bua_are_linked_with_reasons(tmp_path: Path) -> None:
    one, other = calls_in(needs.corpora() / "goffinet__sip-2phones-B2BUA-Asterisk.pcapng", tmp_path)
    (leg,), (back,) = one["legs"], other["legs"]
    assert (leg["call_id"], back["call_id"]) == (other["call_id"], one["call_id"])
    assert (leg["role"], back["role"]) == ("outbound", "inbound")
    assert leg["score"] == back["score"] >= 60
    assert "the same calling user" in leg["reasons"]
    assert {stream["by"] for stream in one["media"]} == {"caller", "callee"}


def test_hops_of_a_proxy_are_one_call_and_the_media_of_its_relay_are_told(tmp_path: Path) -> None:
    (call,) = calls_in(needs.field() / "55-proxy-with-media-relay.pcap", tmp_path)
    assert (call["state"], len(call["hops"]), len(call["media"])) == ("completed", 2, 2)
    assert call["retransmissions"] == 0


def test_copies_with_other_link_headers_are_no_retransmissions(tmp_path: Path) -> None:
    """A mirror's copies come 20 ms later, without the VLAN tag: RFC 3261 §17.1.1.2 has T1 at 500 ms."""
    (call,) = calls_in(needs.field() / "47-duplicates-any.pcap", tmp_path)
    assert (call["retransmissions"], call["duplicates"]) == (0, 2)
    assert {flag["flag"] for flag in call["flags"]} == {"captured_twice"}


def test_a_mirrored_capture_gives_the_same_calls(tmp_path: Path) -> None:
    """Everything twice, as a mirror port gives it."""
    capture = needs.corpora() / "pkts__sipp_sll.pcap"
    mirrored = tmp_path / "twice.pcap"
    with capture.open("rb") as file, mirrored.open("wb") as out:
        reader = dpkt.pcap.Reader(file)
        writer = dpkt.pcap.Writer(out, linktype=reader.datalink())
        for at, data in reader:
            writer.writepkt(data, at)
            writer.writepkt(data, at + 0.00001)
    once, twice = calls_in(capture, tmp_path), calls_in(mirrored, tmp_path)
    assert [call["call_id"] for call in once] == [call["call_id"] for call in twice]
    assert all(agree(row_of(a), row_of(b)) for a, b in zip(once, twice, strict=True))
    assert all("captured_twice" in {flag["flag"] for flag in call["flags"]} for call in twice)
    assert all(call["retransmissions"] == 0 for call in twice)
