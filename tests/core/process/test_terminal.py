"""How wide a terminal is, and whether colours are wanted on it."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections.abc import Iterator

import pytest

from otus_core import is_coloured, terminal_columns, write_csv


@pytest.fixture
def terminal() -> Iterator[int]:
    """A terminal of 132 columns."""
    parent, child = os.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 132, 0, 0))
    yield child
    os.close(parent)
    os.close(child)


@pytest.mark.parametrize(
    ("preferred", "columns"),
    [(None, 132), ("60", 60), ("4096", 4096), ("4097", 132), ("0", 132), ("wide", 132), ("-5", 132), ("9" * 5000, 132)],
)
def test_the_users_columns_come_before_the_terminals(
    monkeypatch: pytest.MonkeyPatch, terminal: int, preferred: str | None, columns: int
) -> None:
    if preferred is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", preferred)
    assert terminal_columns(terminal) == columns


def test_a_pipe_has_no_columns_but_those_that_the_user_prefers(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal_columns(writer) == 0
    monkeypatch.setenv("COLUMNS", "70")
    assert terminal_columns(writer) == 70
    os.close(reader)
    os.close(writer)
    monkeypatch.delenv("COLUMNS")
    assert terminal_columns(writer) == 0  # a closed descriptor is no terminal either


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, terminal: int, environment: dict[str, str], coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with os.fdopen(os.dup(terminal), "w") as out:
        monkeypatch.setattr("sys.stdout", out)
        assert is_coloured() is coloured
    with open(os.devnull, "w") as out:
        monkeypatch.setattr("sys.stdout", out)
        assert not is_coloured()


def test_cells_are_written_as_values_of_json_are(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv([{"yes": True, "no": False, "nothing": None, "n": 1, "x": 1.5}], ("yes", "no", "nothing", "n", "x"))
    assert capsys.readouterr().out == "yes,no,nothing,n,x\ntrue,false,,1,1.5\n"


def test_a_spreadsheet_runs_nothing_that_a_packet_says(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "\x1b[2J", "plain", "a,b", ""]
    write_csv(({"text": text, "n": -1, "other": "left out"} for text in texts), ("n", "text"))
    cells = ["'=1+1", "'+1", "'-1", "'@a", "'\\x09=1", "'\\x0d=1", "\\x1b[2J", "plain", '"a,b"', ""]
    assert capsys.readouterr().out.splitlines() == ["n,text", *(f"-1,{cell}" for cell in cells)]
