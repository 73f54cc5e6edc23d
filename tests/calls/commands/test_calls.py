"""``otus calls``, as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import select
import subprocess
import time
from pathlib import Path

import dpkt
import pytest

from otus_core import columns_of
from otus_core.testing import packets
from tests.calls.commands.running import B2BUA, OTUS, otus, shown

HEAD = ["#", "start", "from", "→", "to", "state", "code", "pdd", "setup", "talk", "hops", "media", "mos", "flags"]


def test_calls_are_a_table_whose_header_and_date_stand_once(corpora: Path) -> None:
    date, head, *calls = shown("calls", corpora / "pkts__sipp.pcap")
    assert date == "2012-06-23 UTC"
    assert head.split() == [*HEAD, "by", "call", "id"]
    assert calls[0].split()[:8] == ["1", "23:45:09.7", "sipp", "→", "service", "completed", "200", "0.00"]
    assert [line.split()[-1] for line in calls] == [f"{n}-16732@127.0.1.1" for n in range(1, 6)]


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(corpora: Path, columns: int) -> None:
    lines = shown("calls", corpora / B2BUA, columns=columns)
    assert max(map(columns_of, lines)) <= columns
    assert "state" in lines[1].split()
    assert {"mos", "flags"} <= set(lines[1].split()) or columns < 80
    assert ("pdd" in lines[1].split()) == (columns >= 120)


def test_numbers_are_the_same_with_and_without_a_filter(corpora: Path) -> None:
    (line,) = shown("calls", corpora / B2BUA, "--where", "call.to_user == 'telephone2'")[2:]
    assert line.split()[0] == "2"


def test_problems_say_why(corpora: Path) -> None:
    _, _, call, *reasons = shown("calls", corpora / B2BUA, "--problems")
    assert call.split()[0] == "2"
    assert [line.strip() for line in reasons] == ["retransmissions: 1 messages were sent again"]


def test_calls_as_json_and_as_csv_say_the_same(corpora: Path) -> None:
    told = [json.loads(line) for line in shown("calls", corpora / B2BUA, "--json")]
    rows = list(csv.DictReader(io.StringIO("\n".join(shown("calls", corpora / B2BUA, "--csv")))))
    for name in ("call_id", "state", "pdd", "mos"):
        assert [str(one[name]) for one in told] == [row[name] for row in rows]
    assert [json.dumps(one["partial"]) for one in told] == [row["partial"] for row in rows]
    assert [one["number"] for one in told] == [1, 2]
    assert len(told[0]["messages"]) > 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "FILE: give capture files, or an interface with -i"),
        (["nothere.pcap"], "nothere.pcap: cannot be read: No such file or directory"),
        (["a.pcap", "--json", "--csv"], "--csv: give --json or --csv, not both"),
        (["a.pcap", "--where", "call.flgs == 'x'"], "--where: there is no label 'call.flgs'; did you mean call.flags?"),
        (["a.pcap", "--where", ""], "--where: at column 1: empty"),
        (["a.pcap", "--where", "sip.method == 'BYE'"], "--where: sip.method is no label of a call"),
        (["a.pcap", "--tunnels", "moon"], "--tunnels: must be one of vxlan, "),
        (["a.pcap", "--where", "call.code = 200"], "--where: at column 11: = is not an operator"),
    ],
)
def test_a_mistake_is_told_with_the_option(arguments: list[str], said: str) -> None:
    done = otus("calls", *arguments)
    assert done.returncode in (1, 2)
    assert f"otus: {said}" in done.stderr
    assert done.stdout == ""


def test_the_calls_of_a_damaged_capture_are_shown_all_the_same(examples: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "cut.pcap"
    damaged.write_bytes((examples / "call.pcap").read_bytes()[:-10])
    done = otus("calls", damaged)
    assert done.returncode == 1
    assert f"{damaged}: at offset" in done.stderr
    assert "alice → bob" in done.stdout


def hostile_capture(path: Path) -> Path:
    """Make a capture of one call whose users and Call-ID would take over a terminal and a spreadsheet."""
    text = (
        "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nCSeq: 1 INVITE\r\n"
        "Call-ID: =cmd|'/c'!A1\x1b[2J\r\n"
        "From: <sip:\x1b]0;x\x07\u202e@h>;tag=1\r\nTo: <sip:王小明@h>\r\nContent-Length: 0\r\n\r\n"
    )
    with path.open("wb") as file:
        dpkt.pcap.Writer(file).writepkt(packets.udp(text.encode()), 1_700_000_000)
    return path


def test_what_packets_say_reaches_no_terminal_and_no_formula(tmp_path: Path) -> None:
    capture = hostile_capture(tmp_path / "hostile.pcap")
    for options in ((), ("--problems",), ("--csv",)):
        text = "\n".join(shown("calls", capture, *options))
        assert not any(ord(character) < 32 and character != "\n" for character in text)
        assert "\u202e" not in text
    assert "王小明" in "\n".join(shown("calls", capture))
    (row,) = csv.DictReader(io.StringIO("\n".join(shown("calls", capture, "--csv"))))
    assert row["call_id"].startswith("'=cmd")


def on_terminal(*arguments: object, **more: str) -> str:
    """Run it on a terminal, and give what it writes there."""
    parent, child = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm", "COLUMNS": "120", **more}
    process = subprocess.Popen([OTUS, *map(str, arguments)], stdin=child, stdout=child, stderr=child, env=environment)
    os.close(child)
    written, last = b"", time.monotonic() + 60
    while time.monotonic() < last and select.select([parent], [], [], 60)[0]:
        try:
            written += os.read(parent, 65536)
        except OSError:  # the other end is closed
            break
    os.close(parent)
    assert process.wait(10) == 0
    return written.decode()


def test_colours_are_for_terminals_that_want_them(examples: Path) -> None:
    capture = examples / "call.pcap"
    assert "\x1b[32mcompleted" in on_terminal("calls", capture)
    assert "\x1b[" not in on_terminal("calls", capture, NO_COLOR="1")
    assert "\x1b[36m" in on_terminal("ladder", capture)
    assert "\x1b[" not in on_terminal("ladder", capture, TERM="dumb")
