"""Runs what a page tells its reader to do: the commands of its console blocks, in order, in one shell.

In: a page. A block ``console`` has commands after ``$`` and what they print; a line ``…`` stands for any lines, and
``…`` in a line for any text. A block with ``title="NAME"`` is a file to write. Out: what differs from the page.

The shell has a terminal of 120 columns; empty lines are not compared. It is started in a folder of its own with a copy
of ``examples``, and in namespaces of its own for mounts and, if asked, for the network, so that paths and ports are
those of the page.
"""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from tests import needs
from tests.patience import PATIENCE_S

BLOCK = re.compile(r"^( *)```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
COLUMNS = 120
ANY = "…"
PLAIN = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
OWN_FOLDERS = ("/run", "/var/lib", "/var/log")
DONE = "\x1dDONE "
SOON_S = 6.0
"""A call is told half a minute after its end, or when its command is interrupted."""
JOB = re.compile(r"\[\d+\][ +-]+(\d+$|Done|Exit|Interrupt)")
"""What the shell says of a command in the background."""
ENDED = re.compile(rf"{DONE}(\d+)\r?\n")
TELL = "printf '\\035DONE %s\\n' $?\n"
PRELUDE = f"""\
set +m; PS1=; PS2=; stty -echo
sudo() {{ "$@"; }}
pip() {{ {sys.executable} -m pip -q "$1" --no-deps --no-build-isolation --no-index --target site "${{@: -1}}"; }}
"""


@attrs.frozen
class Step:
    """One command and the lines that it prints, or a file and its text."""

    command: str
    lines: tuple[str, ...] = ()
    file: str = ""


def steps(page: Path, changes: Mapping[str, str]) -> Iterator[Step]:
    """Give a page's steps, with texts changed: an address for one."""
    text = page.read_text()
    for old, new in changes.items():
        assert old in text, f"{page} does not say {old}"
        text = text.replace(old, new)
    for indent, language, title, body in BLOCK.findall(text):
        lines = [line.removeprefix(indent) for line in body.splitlines()]
        if title:
            yield Step("", file=title, lines=tuple(lines))
        elif language == "console":
            starts = [n for n, line in enumerate(lines) if line.startswith("$ ")]
            for at, end in zip(starts, [*starts[1:], len(lines)], strict=True):
                yield Step(lines[at][2:], tuple(line for line in lines[at + 1 : end] if line))


class Shell:
    """A shell at a terminal, in a folder and in namespaces of its own."""

    def __init__(self, folder: Path, *, network: bool) -> None:
        needs.root()
        self.folder = folder
        shutil.copytree(needs.ROOT / "examples", folder / "examples")
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (50, COLUMNS))
        mounts = "".join(f"mount -t tmpfs tmpfs {path}; " for path in OWN_FOLDERS)
        own_network = "ip link set lo up; " if network else ""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.process = subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"),
                *(["--net"] if network else []),
                *("bash", "-c"),
                f"set -e; {mounts}{own_network}exec bash --noprofile --norc",
            ],
            cwd=folder, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={
                "PATH": path, "TERM": "xterm", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(folder), "NO_COLOR": "1",
                "PYTHONPATH": str(folder / "site"), "XDG_CACHE_HOME": str(folder / "cache"),
            },
        )  # fmt: skip
        os.close(slave)
        self._master = master
        self.run(PRELUDE)

    def run(self, command: str) -> tuple[int, list[str]]:
        """Run a command; gives its status, and the lines that came on the terminal."""
        os.write(self._master, f"{command}\n{TELL}".encode())
        return self._end(command)

    def interrupt(self, command: str, expected: tuple[str, ...]) -> tuple[int, list[str]]:
        """Run a command until it has printed these lines, and interrupt it as Ctrl-C does.

        Where no lines are asked for, it is interrupted after a while even if it has printed none yet.
        """
        soon = time.monotonic() + SOON_S

        def printed(written: str) -> bool:
            if not expected and time.monotonic() > soon:
                return True
            whole = written[: written.rfind("\n") + 1]
            lines = [line for line in lines_of(whole) if not JOB.match(line)]
            return bool(lines) and agrees(lines, (*expected, ANY) if expected else ())

        # As a job whose process is the command itself. A shell without job control has its jobs ignore the signal.
        os.write(self._master, f"{{ exec env --default-signal=INT {command}\n}} &\n".encode())
        before = self._read(printed, command)
        os.write(self._master, f"kill -INT $!; wait $!\n{TELL}".encode())
        status, lines = self._end(command)
        return status, [line for line in (*lines_of(before), *lines) if not JOB.match(line)]

    def _end(self, command: str) -> tuple[int, list[str]]:
        written = self._read(ENDED.search, command)
        found = ENDED.search(written)
        assert found
        return int(found[1]), lines_of(written[: found.start()])

    def _read(self, is_enough: Callable[[str], object], command: str) -> str:
        """Read what is written until it is enough."""
        written, until = "", time.monotonic() + PATIENCE_S
        characters = codecs.getincrementaldecoder("utf-8")()  # a terminal gives 4 KiB, which may end within a character
        while not is_enough(written):
            assert time.monotonic() < until, f"{command} does not go on: {written}"
            if select.select([self._master], [], [], 0.1)[0]:
                written += characters.decode(os.read(self._master, 65536))
        return written

    def end(self) -> None:
        """End the shell and, as the first process of its namespace, all that it has started, whatever that does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._master)


def lines_of(written: str) -> list[str]:
    """Give the lines that a terminal shows, without colours and empty ones."""
    text = PLAIN.sub("", written).replace("\r\n", "\n")
    lines = (line.rpartition("\r")[2].rstrip() for line in text.splitlines())  # a progress bar writes over itself
    return [line for line in lines if line]


def agrees(told: list[str], expected: tuple[str, ...]) -> bool:
    """Whether lines are those of the page."""
    if not expected:
        return True
    if not told:
        return all(line == ANY for line in expected)
    if expected[0] == ANY:
        return any(agrees(told[n:], expected[1:]) for n in range(len(told) + 1)) if expected[1:] else True
    pattern = ".*".join(re.escape(part) for part in expected[0].rstrip().split(ANY))
    return bool(re.fullmatch(pattern, told[0])) and (agrees(told[1:], expected[1:]) if expected[1:] else len(told) == 1)


def follow(
    page: Path,
    folder: Path,
    *,
    network: bool = True,
    changes: Mapping[str, str] | None = None,
    prepare: Sequence[str] = (),
    live: Sequence[str] = (),
    apart: Collection[str] = (),
) -> int:
    """Do what a page says; gives the number of commands. Raises AssertionError at the first that differs.

    ``prepare`` are commands before those of the page. A command that begins as one of ``live`` does is interrupted
    when it has printed what the page says, or after a while; it has to have printed something.
    One that begins as one of ``apart`` does is not done.
    """
    shell = Shell(folder, network=network)
    count = 0
    met: set[str] = set()
    try:
        for command in prepare:
            status, told = shell.run(command)
            assert status == 0, f"{command}: {status}\n{told}"
        for step in steps(page, changes or {}):
            begins = {words for words in (*live, *apart) if step.command.startswith(words)}
            met |= begins
            if begins.intersection(apart):
                continue
            if begins:
                count += 1
                status, told = shell.interrupt(step.command.removeprefix("sudo "), step.lines)
                assert status in (0, 130) and told, f"{page.name}: {step.command}: {status}\n{told}"
                continue
            if step.file:
                (folder / step.file).parent.mkdir(parents=True, exist_ok=True)
                (folder / step.file).write_text("\n".join(step.lines) + "\n")
                continue
            count += 1
            status, told = shell.run(step.command)
            said = "\n".join(told)
            well = status == 0 or (status == 1 and step.lines) or "exit" in step.command
            assert well, f"{page.name}: {step.command}: {status}\n{said}"
            assert agrees(told, step.lines), f"{page.name}: {step.command} printed\n{said}"
    finally:
        shell.end()
    assert met == {*live, *apart}, f"{page.name} has no such commands: {sorted({*live, *apart} - met)}"
    return count
