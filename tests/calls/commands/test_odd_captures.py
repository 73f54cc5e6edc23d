"""Captures that begin at no time, and identifiers that are longer than records hold: every command tells of them."""

from __future__ import annotations

import json
from pathlib import Path

import dpkt
import pytest

from otus_core.testing import packets
from tests.calls.commands.running import otus, shown


def call(call_id: str, to_tag: str = "t") -> list[bytes]:
    """Make a call that is answered and hung up."""

    def message(start: str, cseq: str, tag: str = f";tag={to_tag}") -> bytes:
        head = (start, "Via: SIP/2.0/UDP h;branch=z9hG4bK1", "From: <sip:1@a>;tag=f", f"To: <sip:2@b>{tag}")
        return "\r\n".join((*head, f"Call-ID: {call_id}", f"CSeq: {cseq}", "", "")).encode()

    asked = [("INVITE sip:2@b SIP/2.0", "1 INVITE", ""), ("BYE sip:2@b SIP/2.0", "2 BYE", f";tag={to_tag}")]
    invite, bye = (packets.udp(message(start, cseq, tag)) for start, cseq, tag in asked)
    back = {"src": packets.DST, "dst": packets.SRC}
    answered, done = (packets.udp(message("SIP/2.0 200 OK", cseq), **back) for _, cseq, _ in asked)  # type: ignore[arg-type]
    return [invite, answered, bye, done]


def capture(path: Path, frames: list[bytes], start: float) -> Path:
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, snaplen=262144)
        for n, frame in enumerate(frames):
            writer.writepkt(frame, ts=start + n)
    return path


def test_a_capture_that_begins_at_no_time_is_told_whole(tmp_path: Path) -> None:
    made = capture(tmp_path / "zero.pcap", call("zero"), 0.0)
    (one,) = map(json.loads, shown("calls", made, "--json"))
    times = ("start", "answer", "end")
    assert [one[name][:20] for name in times] == [
        "1970-01-01T00:00:00.",
        "1970-01-01T00:00:01.",
        "1970-01-01T00:00:02.",
    ]
    assert (one["setup"], one["talk"], one["hangup_by"]) == (1.0, 1.0, "caller")
    (figures,) = map(json.loads, shown("kpi", made, "--every", "1s", "--json"))
    assert (figures["begin"][:19], figures["attempts"], figures["answered"]) == ("1970-01-01T00:00:00", 1, 1)
    assert otus("report", made, "-o", tmp_path / "page.html").returncode == 0
    assert sum("sip:2@b SIP/2.0" in line for line in shown("ladder", made, "--raw")) == 2


@pytest.mark.parametrize("length", [255, 256, 300, 8000])
def test_a_call_with_a_long_identifier_is_found_again_in_its_capture(tmp_path: Path, length: int) -> None:
    made = capture(tmp_path / "long.pcap", call("i" * length), 1e9)
    done = otus("extract", made, "--call", 1, "-o", tmp_path / "part.pcapng")
    assert done.stderr.startswith("otus: 4 frames of 1 call")
    assert sum("sip:2@b SIP/2.0" in line for line in shown("ladder", made, "--raw")) == 2


def test_long_tags_are_cut_whatever_the_call_id_is(tmp_path: Path) -> None:
    made = capture(tmp_path / "tag.pcap", call("short", "t" * 9000), 1e9)
    (one,) = map(json.loads, shown("calls", made, "--json"))
    assert {len(message["to_tag"] or "") for message in one["messages"]} == {0, 256}
    assert one["state"] == "completed"
