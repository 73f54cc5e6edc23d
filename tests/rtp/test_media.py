"""``otus media``, as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
