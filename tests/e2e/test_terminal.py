"""``otus run`` on a terminal, which is a real one: the bar, the lines beside it, colours and Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import select
import sys
import time
from pathlib import Path

OTUS = str(Path(sys.executable).with_name("otus"))


def on_a_terminal(*arguments: object, keys: bytes = b"", after_s: float = 0.0) -> tuple[int, bytes]:
    """Run ``otus`` with all its standard streams on one terminal, and type there; gives the exit status and what was
    shown.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(OTUS, [OTUS, *map(str, arguments)], {**os.environ, "TERM": "xterm"})
    shown, typed, begun = b"", not keys, time.monotonic()
    while time.monotonic() - begun < 60:
        if not typed and time.monotonic() - begun > after_s and shown:
            typed = os.write(terminal, keys) > 0
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # EIO: the other side is gone
                break
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


def test_a_slow_run_shows_a_bar_that_grows(examples: Path) -> None:
    percents: list[int] = []
    for _ in range(5):  # a machine that stands still just then shows it once, or not at all
        status, shown = on_a_terminal("run", examples / "call.pcap", "--speed", "0.1", "--format", "none")
        percents = [int(found) for found in re.findall(rb"(\d+) %", shown)]
        assert (status, percents) == (0, sorted(percents))
        if len(set(percents)) > 1:
            break
    assert 0 < percents[0] < percents[-1] < 100


def test_several_workers_have_one_bar(examples: Path) -> None:
    command = ("run", examples / "call.pcap", "--speed", "0.1", "--workers", "2", "--format", "none")
    percents: list[int] = []
    for _ in range(5):  # a machine that stands still just then shows too little of it
        status, shown = on_a_terminal(*command)
        percents = [int(found) for found in re.findall(rb"(\d+) %", shown)]
        assert (status, percents) == (0, sorted(percents))
        if percents and percents[0] < 50 < percents[-1]:
            break
    assert percents[0] < 50 < percents[-1]


def test_the_bar_makes_room_for_lines_on_the_same_terminal(examples: Path) -> None:
    status, shown = on_a_terminal("run", examples / "call.pcap", "--speed", "0.1")
    screen = [line.rpartition(b"\r\x1b[K")[2] for line in shown.split(b"\r\n")]
    lines = [line for line in screen if b"alice@example.com" in line]
    assert (status, len(lines)) == (0, 7)
    assert not [line for line in lines if b"frames/s" in line]
    assert b"\x1b[1;36mINVITE" in lines[0]


def test_control_c_on_a_terminal_ends_a_replay_with_its_summary(examples: Path) -> None:
    status, shown = on_a_terminal("run", examples / "call.pcap", "--speed", "0.001", keys=b"\x03", after_s=1.5)
    assert status == 130
    assert b"frames read" in shown
