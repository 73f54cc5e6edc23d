"""Starts our own helper processes: a fresh interpreter, one channel, nothing else inherited."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from otus_core.observe.systemd import READY_FD
from otus_core.task.channel import Channel


def spawn(module: str) -> tuple[subprocess.Popen[bytes], Channel]:
    """Run ``python -m module CHANNEL_FD PARENT_PID``; gives the process and our end of its channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if READY_FD in os.environ else None,  # the helpers of a daemon in the background
            pass_fds=(theirs.fileno(),),
        )
    channel = Channel(ours)
    channel.listen()
    return process, channel
