"""Has plugins imported in a process of their own (``probe``), with a time limit, and gives what came of each.

One that ends the process or hangs is known by what the process said last; the others are then looked at in another.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import IO, Any

from otus_core.interpreter import command, environment

LIMIT_S = 5.0
"""For one plugin. Its module is light, or should be: most need some milliseconds."""
END_S = 1.0
"""Its last word is said: what is left is Python's own end, which takes milliseconds."""
LINE_MAX = 1 << 20
"""Bytes of an answer: a plugin in the process under examination may write to the pipe as well."""
PIECE = 1 << 16
"""What a pipe holds (pipe(7))."""

Names = tuple[str, str]
"""Of a plugin: its entry point and its distribution."""


def look_at(plugins: Sequence[Names]) -> list[dict[str, Any]]:
    """Give for each plugin what ``probe`` says of it; of one that did not survive it, ``stage``, ``reason`` and
    ``deadly``.
    """
    told: list[dict[str, Any]] = []
    while len(told) < len(plugins):
        told += _look_once(plugins[len(told) :])
    return told


def _look_once(plugins: Sequence[Names]) -> list[dict[str, Any]]:
    """Look at plugins until one of them ends the process; gives at least one answer."""
    reader, writer = os.pipe()
    try:
        with _ask(plugins) as question:
            probing = _start(question, writer)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)  # a pipe ends when all its writing ends are closed (pipe(7)), ours too
    told: list[dict[str, Any]] = []
    reason = ""
    try:
        for line in _lines(reader, LIMIT_S):
            if isinstance(line, dict):
                told.append(line)
            if len(told) == len(plugins):
                return told
        _let_it_end(probing)
    except TimeoutError:
        reason = f"it is not imported within {LIMIT_S:g} s"
    finally:
        os.close(reader)
        _end(probing)
    return [*told, _dead(reason or _how_it_ended(probing.returncode))]


def _ask(plugins: Sequence[Names]) -> IO[bytes]:
    """Give a file that holds the question. A pipe would have to be written to while the process may already have ended
    or wait, and a file on disk needs room there; this one is memory (memfd_create(2)).
    """
    question = os.fdopen(os.memfd_create("plugins"), "w+b")
    question.write(json.dumps({"path": sys.path, "plugins": list(plugins)}).encode())
    question.seek(0)
    return question


def _start(question: IO[bytes], writer: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command("otus_core.plugins.probe", str(writer)),
        env=environment(os.environ),
        stdin=question,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(writer,),
        start_new_session=True,  # what it starts ends with it
    )


def _lines(descriptor: int, within: float) -> Iterator[Any]:
    """Give what is written to a pipe, until everybody has closed it or a line is none of ours.

    Raises TimeoutError when a line does not come in time.
    """
    rest = b""
    until = time.monotonic() + within
    while len(rest) < LINE_MAX:
        if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
            raise TimeoutError
        piece = os.read(descriptor, PIECE)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            try:
                said = json.loads(line)
            except (ValueError, RecursionError):
                return
            yield said
            until = time.monotonic() + within


def _end(probing: subprocess.Popen[bytes]) -> None:
    """End the process, and what it has started in its session: before it is waited for, since its number names the
    session until then.
    """
    with contextlib.suppress(OSError):
        os.killpg(probing.pid, signal.SIGKILL)
    probing.wait()


def _let_it_end(probing: subprocess.Popen[bytes]) -> None:
    """Give a process that has said its last word a moment to end by itself, so that it is known how it does."""
    until = time.monotonic() + END_S
    while time.monotonic() < until:
        # WNOWAIT (waitid(2)): it stays to be waited for, so that no other process gets its number, and its session.
        if os.waitid(os.P_PID, probing.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
            return
        time.sleep(0.005)


def _how_it_ended(status: int) -> str:
    if status >= 0:  # below, it is the number of the signal that ended it (subprocess)
        return f"importing it ends the process, with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"importing it ends the process, by {name}"


def _dead(reason: str) -> dict[str, Any]:
    return {"stage": "import", "reason": reason, "deadly": True}
