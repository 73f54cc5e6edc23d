"""``otus media``, as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import dpkt
import pytest

from otus_core.testing import packets
from otus_rtp.media import _note

CAPTURE = "sibilant__SIP_CALL_RTP_G711.pcap"


def media(*arguments: str, columns: int | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environment |= {} if columns is None else {"COLUMNS": str(columns)}
    command = [str(Path(sys.executable).with_name("otus")), "media", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_streams_are_shown_as_a_table(corpora: Path) -> None:
    done = media(str(corpora / CAPTURE), columns=140)
    assert (done.returncode, done.stderr) == (0, "")
    head, first, second = [line.split() for line in done.stdout.splitlines()]
    names = ["START", "FROM", "TO", "CODEC", "PACKETS", "LOST", "LATE", "JITTER", "MAX", "MOS", "END", "CALL"]
    assert head == names
    assert first[1:8] == ["200.57.7.204:8000", "200.57.7.196:40376", "PCMA", "548", "0", "2.0", "%"]
    assert second[9:] == ["4.41", "finish", "12013223@200.57.7.195"]


def test_a_mos_that_is_low_without_loss_is_explained(corpora: Path) -> None:
    lines = media(str(corpora / "goffinet__sip-2phones-B2BUA-Asterisk.pcapng"), columns=80).stdout.splitlines()
    head, *rows = [line.replace(" %", "%").split() for line in lines]
    told = dict(zip(head, rows[1][:-1], strict=False))
    assert (told["PACKETS"], told["LOST"], float(told["MOS"]) < 4) == ("355", "0", True)
    assert told["LATE"] not in ("0", "–")


@pytest.mark.parametrize(
    ("facts", "note"),
    [({}, ""), ({"nat": True, "encrypted": True}, "srtp nat"), ({"capture_loss": True}, "lost here")],
)
def test_what_is_special_is_noted(facts: dict[str, bool], note: str) -> None:
    assert _note({"capture_loss": False, "encrypted": False, "nat": False, **facts}) == note


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_no_line_is_wider_than_the_terminal(corpora: Path, columns: int) -> None:
    done = media(str(corpora / CAPTURE), columns=columns)
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert "MOS" in done.stdout


def test_streams_are_shown_as_json_and_as_csv(corpora: Path) -> None:
    told = [json.loads(line) for line in media("--json", str(corpora / CAPTURE)).stdout.splitlines()]
    rows = list(csv.DictReader(io.StringIO(media(str(corpora / CAPTURE), "--csv").stdout)))
    assert sorted(one["ssrc"] for one in told) == sorted(row["ssrc"] for row in rows) == ["58f33dea", "d2bd4e3e"]
    assert {row["packets"] for row in rows} == {"548", "891"}
    assert told[0]["src_ip"].startswith("200.57.7.")


def test_streams_under_way_are_shown_at_intervals(corpora: Path) -> None:
    done = media(str(corpora / CAPTURE), "--interval", "5s", columns=160)
    lines = done.stdout.splitlines()
    assert len(lines) > 6
    assert sum("…" in line.split() for line in lines) == len(lines) - 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothere.pcap"], "nothere.pcap: cannot be read: No such file or directory"),
        (["a.pcap", "-i", "lo"], "FILE: give capture files, or an interface with -i"),
        (["a.pcap", "--json", "--csv"], "--csv: give --json or --csv, not both"),
        (["a.pcap", "--interval", "soon"], "interval"),
    ],
)
def test_what_cannot_be_done_is_said_once(arguments: list[str], said: str) -> None:
    done = media(*arguments)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_a_capture_without_streams_says_so() -> None:
    done = media("examples/register.pcap")
    assert (done.returncode, done.stdout.startswith("no streams: ")) == (0, True)


def test_a_damaged_capture_shows_what_there_is_and_nothing_that_controls_a_terminal(tmp_path: Path) -> None:
    heads = ["INVITE sip:2@b SIP/2.0", "Via: SIP/2.0/UDP h;branch=z9hG4bK1", "From: <sip:1@a>;tag=f", "To: <sip:2@b>"]
    heads += ["Call-ID: \x1b[31m", "CSeq: 1 INVITE", "Content-Type: application/sdp"]
    sdp = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 96\r\na=rtpmap:96 \x1b[32m/8000\r\n"
    invite = "\r\n".join([*heads, f"Content-Length: {len(sdp)}", "", sdp]).encode()
    media_of = [struct.pack("!BBHII", 0x80, 96, n, n * 160, 7) + bytes(160) for n in range(60)]
    sent = [packets.udp(one, src=packets.DST, dst=packets.SRC, src_port=5000, dst_port=4000) for one in media_of]
    capture = tmp_path / "cut.pcap"
    with capture.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n, frame in enumerate([packets.udp(invite), *sent]):
            writer.writepkt(frame, ts=1e9 + n / 50)
    capture.write_bytes(capture.read_bytes()[:-9])
    for form in ([], ["--csv"], ["--json"]):
        done = media(str(capture), *form, columns=200)
        assert (done.returncode, "the file ends inside" in done.stderr) == (1, True)
        assert "192.0.2.1" in done.stdout and "\x1b" not in done.stdout
