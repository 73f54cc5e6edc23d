"""The opener process: opens what needs privilege, and is the only one that keeps CAP_NET_RAW.

    python -P -c "from otus_core.process.opener import main; main()" CHANNEL_FD PARENT_PID

What it logs goes to its parent, as ``("log", level, event)``. It says ``("ready",)`` when it has read its task. It
answers ``("acquire", number, shard, shards)`` with ``("acquired", number)`` and the descriptors, or with ``("refused",
number, reason, fatal)``. One opener serves one task, so that what a capturer's ``acquire`` calls share (a fanout group)
stays within it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import Any

from otus_core.errors import CaptureError
from otus_core.logs.events import setup_forwarding
from otus_core.model.text import told
from otus_core.plugins.loader import load
from otus_core.process.channel import Channel
from otus_core.process.privilege import CAP_NET_RAW, acquired, die_with_parent, seal
from otus_core.task.config import TaskConfig, load_task


class Opener:
    """This process's side of the channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._config: TaskConfig | None = None
        self._state: dict[str, Any] = {}
        channel.on_message = self._message
        channel.listen()

    def _message(self, message: tuple[Any, ...], _descriptors: list[int]) -> None:
        if message[0] == "init":
            setup_forwarding(message[1]["log_level"], self._log)
            self._config = load_task(message[1]["task"], load(message[1]["plugins"]))
            self._channel.send(("ready",))
            return
        _, number, shard, shards = message
        try:
            descriptors = self._acquire(shard, shards)
        except CaptureError as error:
            self._channel.send(("refused", number, error.reason, error.fatal))
            return
        except BaseException as error:
            self._channel.send(("refused", number, told(error), True))
            return
        self._channel.send(("acquired", number), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def _log(self, level: str, event: dict[str, Any]) -> None:
        self._channel.send(("log", level, event))

    def _acquire(self, shard: int, shards: int) -> list[int]:
        assert self._config is not None
        return acquired(self._config.capture, shard, shards, self._state)


async def _main(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
    channel = Channel(socket.socket(fileno=descriptor))
    gone = asyncio.Event()
    channel.on_closed = gone.set
    opener = Opener(channel)
    await gone.wait()
    del opener


def main() -> None:
    """Be the process: ``sys.argv`` names the channel's descriptor and the parent."""
    die_with_parent(int(sys.argv[2]))
    seal(CAP_NET_RAW)
    asyncio.run(_main(int(sys.argv[1])))
