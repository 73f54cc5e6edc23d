"""``otus run`` on a terminal: lines as wide as it is, of one process and of workers, also when it changes."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import subprocess
import termios
from pathlib import Path

import dpkt
import pytest

from otus_core.testing import packets
from tests.e2e.test_run import OTUS
from tests.patience import wait

MESSAGE = (
    b"SIP/2.0 480 Temporarily Unavailable\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    b"From: <sip:+4930123456789@sip.carrier.example>;tag=1\r\nTo: <sip:+4940987654321@sip.carrier.example>;tag=2\r\n"
    b"Call-ID: 0123456789abcdef0123456789abcdef@192.0.2.1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)
ENVIRONMENT = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}


class Terminal:
    """A pseudo-terminal and what came out of it."""

    def __init__(self, columns: int) -> None:
        self.master, self.slave = os.openpty()
        self.came = b""
        self.resize(columns)

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def run(self, *arguments: object, **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [OTUS, "run", *map(str, arguments), "-q"],
            stdout=self.slave, stderr=subprocess.DEVNULL, env=ENVIRONMENT | {"TERM": "xterm"} | environment,
        )  # fmt: skip

    def lines(self) -> list[str]:
        """Take what has come, without its colours, line by line."""
        os.set_blocking(self.master, False)
        try:
            while data := os.read(self.master, 1 << 16):
                self.came += data
        except BlockingIOError:
            pass
        return re.sub(r"\x1b\[[\d;]*m", "", self.came.decode()).splitlines()


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A message in each of two seconds that are three seconds apart, to two phones."""
    sent = [(1_771_669_800 + 3 * n, packets.udp(MESSAGE, src_port=5060, dst_port=5060 + n)) for n in range(2)]
    path = tmp_path / "two.pcap"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for at, frame in sent:
            writer.writepkt(frame, at)
    return path


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("columns", [80, 110])
def test_no_line_is_wider_than_the_terminal(capture: Path, workers: int, columns: int) -> None:
    terminal = Terminal(columns)
    assert terminal.run(capture, "--workers", workers).wait(60) == 0
    told = [line for line in terminal.lines() if "480 Temporarily Unavailable" in line]
    assert len(told) == 2 and max(map(len, terminal.lines())) <= columns
    assert b"\x1b[31m480 Temporarily Unavailable" in terminal.came


def test_no_color_is_heeded(capture: Path) -> None:
    terminal = Terminal(80)
    assert terminal.run(capture, NO_COLOR="1").wait(60) == 0
    assert len(terminal.lines()) == 3 and b"\x1b" not in terminal.came


def test_lines_follow_a_terminal_that_becomes_narrower(capture: Path) -> None:
    """The workers learn of it from their parent, to whom the terminal belongs."""
    terminal = Terminal(200)
    running = terminal.run(capture, "--workers", 2, "--speed", 1)
    wait(terminal.lines)
    terminal.resize(70)
    running.send_signal(signal.SIGWINCH)
    assert running.wait(60) == 0
    first, second = terminal.lines()
    assert len(first) > 100 and len(second) <= 70
