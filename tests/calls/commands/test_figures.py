"""``otus registrations`` and ``otus kpi``, as a user runs them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from otus_core import columns_of
from tests.calls.commands.running import B2BUA, otus, shown

WRONG = "goffinet__sip-register-wrong_password-401-403-401-403.pcapng"


def test_registrations_are_a_table(corpora: Path, examples: Path) -> None:
    date, head, line = shown("registrations", corpora / WRONG)
    assert date == "2016-05-17 UTC"
    assert head.split()[:5] == ["first", "address", "of", "record", "source"]
    assert "telephone1@172.16.98.101  172.16.98.1:42952  172.16.98.101:5060  wrong password   403" in line
    (good,) = shown("registrations", examples / "register.pcap")[2:]
    assert "registered   200   3600 s" in good
    assert shown("registrations", examples / "call.pcap") == ["no registrations in it"]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(corpora: Path, columns: int) -> None:
    for command in (["registrations", corpora / WRONG], ["kpi", corpora / B2BUA, "--by", "agent", "--every", "1s"]):
        lines = shown(*command, columns=columns)
        assert max(map(columns_of, lines)) <= columns
        assert len(lines) > 1


def test_registrations_are_chosen(corpora: Path, examples: Path) -> None:
    files = [corpora / WRONG, examples / "register.pcap"]
    assert len(shown("registrations", *files, "--json")) == 2
    (one,) = map(json.loads, shown("registrations", *files, "--problems", "--json"))
    assert (one["state"], one["failures"]) == ("wrong_password", 1)
    (row,) = csv.DictReader(
        io.StringIO("\n".join(shown("registrations", *files, "--where", "registration.code == 200", "--csv")))
    )
    assert (row["aor"], row["expires"]) == ("sip:alice@example.com", "3600")


def test_figures_are_those_of_the_calls(corpora: Path, examples: Path) -> None:
    files = [examples / name for name in ("call.pcap", "cancel.pcap", "tcp.pcap", "reinvite.pcap")]
    (whole,) = map(json.loads, shown("kpi", *files, "--json"))
    assert (whole["attempts"], whole["answered"], whole["asr"], whole["ner"]) == (4, 3, 75.0, 100.0)
    calls = [json.loads(line) for line in shown("calls", *files, "--json")]
    talks = [one["talk"] for one in calls if one["talk"] is not None]
    assert whole["acd"] == pytest.approx(sum(talks) / 3, abs=1e-6)
    delays = [one["srd"] for one in calls]
    assert whole["srd"] == pytest.approx(sum(delays) / 4, abs=1e-6)


def test_figures_by_group_and_by_interval_add_up(corpora: Path) -> None:
    capture = corpora / "pkts__sipp.pcap"
    rows = [json.loads(line) for line in shown("kpi", capture, "--every", "2s", "--by", "callee", "--json")]
    assert [row["begin"] for row in rows] == [f"2012-06-23T23:45:{n:02}.000000Z" for n in (8, 10, 12)]
    assert [row["attempts"] for row in rows] == [1, 2, 2]
    assert {row["by"] for row in rows} == {"127.0.0.1"}
    assert shown("kpi", capture)[1].split()[0] == "5"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["kpi", "--by", "moon"], "--by: 'moon' is not one of caller, callee, from"),
        (["kpi", "--every", "5"], "--every: '5' is no time such as 30s, 5m"),
        (["kpi", "--every", "0m"], "--every: '0m' is no time"),
        (["kpi", "--json", "--csv"], "--csv: give --json or --csv, not both"),
        (["registrations", "--where", "registration.state"], "--where: at column 19"),
        (["registrations", "-i", "lo"], "FILE: give capture files, or an interface with -i"),
    ],
)
def test_a_mistake_is_told_with_the_option(examples: Path, arguments: list[str], said: str) -> None:
    done = otus(*arguments, examples / "register.pcap")
    assert done.returncode == 2
    assert f"otus: {said}" in done.stderr
    assert done.stdout == ""
