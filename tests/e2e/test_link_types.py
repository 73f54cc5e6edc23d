"""Link types that put a header of the capturing machine before the packet: ``otus run`` says of a capture what tshark
does.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from otus_core.testing import packets
from tests.core.decode.captures import read_capture
from tests.core.decode.frames import erf, exported, radiotap, wireless
from tests.e2e.test_corpora import run as run_here
from tests.e2e.test_run import outputs

FIELD = ("37-nflog.pcap", "42-exported-pdu.pcap", "43-enc.pcap", "44-radiotap.pcap")
TSHARK_FIELDS = ("ip.src", "ip.dst", "sip.Method", "sip.Call-ID")
INVITE = (
    b"INVITE sip:bob@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK-1\r\nMax-Forwards: 70\r\n"
    b"From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.net>\r\nCall-ID: built@192.0.2.10\r\n"
    b"CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)
FRAME = packets.udp(INVITE, src="192.0.2.10", dst="198.51.100.20", src_port=5060, dst_port=5060)
BUILT = {
    "erf": (197, erf(2, b"\0\0" + FRAME)),
    "erf-extended": (197, erf(2, b"\0\0" + FRAME, extensions=2)),
    "erf-ipv4": (197, erf(22, FRAME[14:])),
    "wireless": (105, wireless(FRAME[14:], 0x88)),
    "radiotap-padded": (127, radiotap("02000000", "20", wireless(FRAME[14:], 0x88, pad=2))),
    "exported-tcp": (252, exported(INVITE, 2)),
}


def write(path: Path, link_type: int, *frames: tuple[bytes, int]) -> Path:
    """Write a capture of frames, each with its length on the wire."""
    records = (struct.pack("<IIII", 1767261600, 0, len(data), length) + data for data, length in frames)
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type) + b"".join(records))
    return path


@pytest.fixture(params=[*FIELD, *BUILT])
def capture(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A capture of one INVITE."""
    if request.param in BUILT:
        link_type, frame = BUILT[request.param]
        return write(tmp_path / "built.pcap", link_type, (frame, len(frame)))
    return Path(request.getfixturevalue("field") / request.param)


def test_the_invite_is_the_one_that_tshark_shows(capture: Path, require_tool: Callable[[str], str]) -> None:
    fields = [argument for name in TSHARK_FIELDS for argument in ("-e", name)]
    asked = [require_tool("tshark"), "-r", str(capture), "-T", "fields", *fields]
    told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout
    (output,) = outputs(capture)
    labels = output["labels"]
    ours = [output["src_ip"], output["dst_ip"], labels["sip.method"], labels["sip.call_id"]]
    assert ours == told.rstrip("\n").split("\t")
    assert labels["sip.method"] == "INVITE"


def test_every_cut_of_it_is_accounted_for(capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (frame,) = read_capture(capture)
    lengths = range(len(frame.data) + 1)
    snapped = [(frame.data[:n], len(frame.data)) for n in lengths]
    short = [(frame.data[:n], n) for n in lengths]
    cut = write(tmp_path / "cut.pcap", frame.link_type, *snapped, *short)
    told, summary = run_here(cut, monkeypatch)
    assert (summary["frames_read"], summary["unaccounted"]) == (2 * len(lengths), 0)
    assert told and {output["labels"]["sip.method"] for output in told} == {"INVITE"}
