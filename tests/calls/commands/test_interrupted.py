"""Ctrl-C before the end of a capture: what is known is a part, and the exit status says so."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from tests.calls.commands.running import OTUS, otus
from tests.live.net import children_of
from tests.patience import PATIENCE_S, wait


@pytest.mark.parametrize("command", [["calls"], ["kpi"], ["registrations"], ["report", "-o", "page.html"]])
def test_ctrl_c_ends_a_command_with_130_and_makes_no_file(examples: Path, tmp_path: Path, command: list[str]) -> None:
    reader, writer = os.pipe()
    whole = [OTUS, command[0], "-", *command[1:]]
    with subprocess.Popen(whole, stdin=reader, stdout=subprocess.PIPE, cwd=tmp_path, start_new_session=True) as running:
        os.write(writer, (examples / "call.pcap").read_bytes())
        wait(lambda: left_in(reader) == 0, what="the run has read what there is")
        os.killpg(running.pid, signal.SIGINT)
        output, _ = running.communicate(timeout=PATIENCE_S)
        os.close(writer)
        os.close(reader)
    assert running.returncode == 130
    assert list(tmp_path.iterdir()) == []
    assert (b"completed" in output) is (command == ["calls"])  # a table shows what there was until then


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_the_run_ends_with_its_command(examples: Path, number: signal.Signals, status: int) -> None:
    """A signal for the command alone, as of ``timeout`` or ``kill``: no capture goes on without a reader."""
    reader, writer = os.pipe()
    with subprocess.Popen([OTUS, "calls", "-"], stdin=reader, stdout=subprocess.DEVNULL) as running:
        os.write(writer, (examples / "call.pcap").read_bytes())
        wait(lambda: left_in(reader) == 0, what="the run has read what there is")
        (run,) = children_of(running.pid)
        os.kill(running.pid, number)
        assert running.wait(PATIENCE_S) == status
        wait(
            lambda: not Path(f"/proc/{run}/cmdline").exists() or not Path(f"/proc/{run}/cmdline").read_bytes(),
            what="it ended",
        )
        os.close(writer)
        os.close(reader)


def left_in(pipe: int) -> int:
    """Give how many bytes are in a pipe."""
    count: int = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]
    return count


def test_a_terminal_without_arrows_gets_question_marks(examples: Path) -> None:
    done = otus("calls", examples / "call.pcap", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "from ? to" in done.stdout
