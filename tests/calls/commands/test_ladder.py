"""``otus ladder``, as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from otus_core import columns_of
from tests.calls.commands.running import B2BUA, otus, shown
from tests.calls.commands.test_calls import hostile_capture

ARROWS = [
    ("INVITE", "▶"),
    ("100 Trying", "◀"),
    ("180 Ringing", "◀"),
    ("200 OK", "◀"),
    ("ACK", "▶"),
    ("BYE", "▶"),
    ("200 OK (BYE)", "◀"),
]


def drawn(lines: list[str]) -> list[tuple[str, str]]:
    """Give label and direction of each arrow."""
    heads = [(line, head) for line in lines for head in "▶◀" if head in line]
    return [(line.partition("│")[2].strip("│▶◀─╌═ ").strip(), head) for line, head in heads]


def test_each_message_is_an_arrow_between_its_hosts(examples: Path) -> None:
    head, hosts, *lines = shown("ladder", examples / "call.pcap", columns=120)
    assert head == "#1  alice → bob  completed 200 OK  2026-11-24 UTC  1-31016@192.0.2.10"
    assert hosts.split() == ["192.0.2.10:5060", "192.0.2.20:5060"]
    assert drawn(lines) == ARROWS
    assert lines[0].startswith("06:08:29.327 ")
    assert lines[3].startswith("06:08:29.355 +0.027 ")
    assert "audio 192.0.2.10:20000 PCMU,PCMA,telephone-event" in lines[1]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_ladder_fits_the_terminal(corpora: Path, columns: int) -> None:
    lines = shown("ladder", corpora / B2BUA, "--call", 2, columns=columns)
    assert max(map(columns_of, lines)) <= columns
    assert ("A = 172.16.98.101:5060" in lines) == (columns < 120)
    if columns > 40:  # there they are cut
        assert any("INVITE ↻ again" in line for line in lines)
        assert any("100 Trying ≡ copy" in line for line in lines)
        assert any("RTP PCMU 355" in line for line in lines)


def test_messages_themselves_stand_below_their_arrows(examples: Path) -> None:
    lines = shown("ladder", examples / "call.pcap", "--raw", columns=120)
    at = next(n for n, line in enumerate(lines) if "100 Trying" in line)
    assert lines[at + 1 : at + 3] == [
        "    SIP/2.0 100 Trying",
        "    Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-31016-1-0;rport",
    ]
    assert sum(line == "    Call-ID: 1-31016@192.0.2.10" for line in lines) == len(ARROWS)


def test_calls_are_chosen_by_number_by_id_and_by_expression(corpora: Path) -> None:
    capture, call_id = corpora / "pkts__sipp.pcap", "3-16732@127.0.1.1"
    by_number = shown("ladder", capture, "--call", 3)
    assert call_id in by_number[0]
    assert shown("ladder", capture, "--call", call_id) == by_number
    assert shown("ladder", capture, "--where", f"call.call_id == '{call_id}'") == by_number
    assert sum(line.startswith("#") for line in shown("ladder", capture)) == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--call", "7"], "--call: there is no call 7: otus calls numbers them 1 to 1"),
        (["--call", "x\x1b[2J"], "--call: no call has the Call-ID x\\x1b[2J; otus calls lists them"),
        (["--where", "call.code == 486"], "--where: the only call does not match"),
        (["--where", "call.code =="], "--where: at column 13"),
    ],
)
def test_a_call_that_is_not_there_is_told(examples: Path, arguments: list[str], said: str) -> None:
    done = otus("ladder", examples / "call.pcap", *arguments)
    assert done.returncode in (1, 2)
    assert f"otus: {said}" in done.stderr
    assert done.stdout == ""


def test_standard_input_cannot_be_read_twice() -> None:
    done = otus("ladder", "-", "--raw")
    assert (done.returncode, done.stdout) == (2, "")
    assert "FILE: standard input can be read only once" in done.stderr


def test_what_packets_say_reaches_no_terminal(tmp_path: Path) -> None:
    text = "\n".join(shown("ladder", hostile_capture(tmp_path / "hostile.pcap"), "--raw"))
    assert "Call-ID: =cmd|'/c'!A1\\x1b[2J" in text
    assert not any(ord(character) < 32 and character != "\n" for character in text)
