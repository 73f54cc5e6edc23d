"""Starts our own helper processes: a fresh interpreter, one channel, nothing else inherited."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping

from otus_core.interpreter import command, environment
from otus_core.model.text import printable
from otus_core.process.channel import Channel, M
from otus_core.process.systemd import READY_FD

WORDS_BYTES = 1 << 16
"""What is kept of a helper's standard error: a traceback has room many times over."""
REASON_MAX = 300
"""Characters of a process's last words that go into a reason."""
RESERVED = 16
"""Descriptors kept for starting a helper; a worker takes seven for a moment, an opener six."""


class Reserve:
    """Descriptors that are held so that a helper can be started when all others are taken: a worker's death must not be
    the moment to find out.
    """

    def __init__(self) -> None:
        self._held: list[int] = []
        self._fill()

    @contextlib.contextmanager
    def lend(self) -> Iterator[None]:
        """Let go of them for as long as something is started, which must not wait for anything."""
        while self._held:
            os.close(self._held.pop())
        try:
            yield
        finally:
            self._fill()

    def _fill(self) -> None:
        with contextlib.suppress(OSError):  # there are fewer; the next loan fills up what it can
            while len(self._held) < RESERVED:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def spawn(
    module: str, kinds: Mapping[str, type[M]], words: int | None = None
) -> tuple[subprocess.Popen[bytes], Channel[M]]:
    """Run ``python -P -m module CHANNEL_FD PARENT_PID``; gives the process and our end of its channel, which takes
    messages of these kinds. Raises OSError.

    Standard error goes to the descriptor ``words``, else to where ours goes.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    if words is None and READY_FD in os.environ:
        words = subprocess.DEVNULL  # the helpers of a daemon in the background
    try:
        with theirs:
            process = subprocess.Popen(
                command(module, str(theirs.fileno()), str(os.getpid())),
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
                # Everything else is closed on exec (PEP 446): a helper holds neither log files, sockets nor other
                # workers' pipes.
                pass_fds=(theirs.fileno(),),
            )
    except OSError:
        ours.close()
        raise
    channel = Channel(ours, kinds)
    channel.listen()
    return process, channel


def open_words() -> int:
    """Give a descriptor that takes a helper's last words, and no more than that. Raises OSError."""
    descriptor = os.memfd_create("otus-words", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, WORDS_BYTES)
    # A helper that never stops complaining gets EPERM from here on instead of our memory (memfd_create(2)).
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return descriptor


def last_words(descriptor: int) -> str:
    """Give the last line of what a helper said, made printable; empty when it said nothing."""
    lines = os.pread(descriptor, WORDS_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace").strip().splitlines()
    return printable(lines[-1].strip(), REASON_MAX) if lines else ""
