"""Starts the daemon, in the foreground or in the background."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path

from otus_core.daemon import Daemon
from otus_core.errors import OtusError
from otus_core.process.systemd import READY_FD

PRIVATE = 0o027
"""Of the umask: whatever the daemon or a plugin makes without saying how is not written by others, nor read by
everybody.
"""


def run_daemon(
    config: Path | None, socket: Path | None, no_plugin: tuple[str, ...], safe: bool, daemonize: bool
) -> None:
    """Run until the daemon is told to stop; with ``daemonize`` return when it is ready. Raises OtusError."""
    os.umask(os.umask(PRIVATE) | PRIVATE)
    if daemonize:
        _to_background()
    _allow_descriptors()
    asyncio.run(_run(config, socket, no_plugin, safe))


def _allow_descriptors() -> None:
    """Take as many descriptors as the system gives: a shell's ordinary 1,024 are few for callers, workers and their
    rings.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _run(config: Path | None, socket: Path | None, no_plugin: tuple[str, ...], safe: bool) -> None:
    await Daemon(config, socket=socket, no_plugin=no_plugin, safe=safe).run()


def _to_background() -> None:
    """Leave the terminal: the parent waits until the child is ready or has failed, with its words on standard error."""
    reader, writer = os.pipe()
    # Before asyncio and threads: a child has only the thread that forked (fork(2)).
    if os.fork():
        os.close(writer)
        with os.fdopen(reader) as told:
            word = told.read()
        if word != "ready":
            raise OtusError("the daemon did not start; see the messages above or its log file")
        os._exit(0)
    os.close(reader)
    # Without a controlling terminal (setsid(2)): when it closes, the daemon would be sent SIGHUP, which means a reload.
    os.setsid()
    os.environ[READY_FD] = str(writer)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
