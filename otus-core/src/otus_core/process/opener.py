"""The opener process: opens what needs privilege, and is the only one that keeps CAP_NET_RAW.

    python -P -c "from otus_core.process.opener import main; main()" CHANNEL_FD PARENT_PID

What it is told, and says, is in ``messages``: ``ToOpener`` and ``FromOpener``. One opener serves one task, so that what
a capturer's ``acquire`` calls share (a fanout group) stays within it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

from otus_core.errors import CaptureError
from otus_core.logs.events import setup_forwarding
from otus_core.model.text import tell
from otus_core.plugins.loader import load
from otus_core.process.channel import Channel
from otus_core.process.messages import TO_OPENER, Acquire, Acquired, InitOpener, Log, Ready, Refused, ToOpener
from otus_core.process.privilege import CAP_NET_RAW, call_acquire, die_with_parent, seal
from otus_core.process.signals import ENDING, hear, ignore
from otus_core.task.config import load_task
from otus_core.task.spec import ComponentSpec


class Opener:
    """This process's side of the channel."""

    def __init__(self, channel: Channel[ToOpener]) -> None:
        self._channel = channel
        self._capture: Capture | None = None
        channel.on_message = self._hear
        channel.listen()

    def _hear(self, message: ToOpener, _descriptors: list[int]) -> None:
        if isinstance(message, InitOpener):
            setup_forwarding(message.log_level, self._log)
            self._capture = Capture(load_task(message.task, load(message.plugins)).capture)
            self._channel.send(Ready())
        elif self._capture is not None:
            self._acquire(self._capture, message)

    def _log(self, level: str, event: dict[str, Any]) -> None:
        self._channel.send(Log(level, event))

    def _acquire(self, capture: Capture, asked: Acquire) -> None:
        try:
            descriptors = capture.acquire(asked.shard, asked.shards)
        except CaptureError as error:
            self._channel.send(Refused(asked.number, str(error.reason), bool(error.fatal)))
            return
        except BaseException as error:
            self._channel.send(Refused(asked.number, tell(error), fatal=True))
            return
        self._channel.send(Acquired(asked.number), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


class Capture:
    """The capturer whose ``acquire`` is called, with what its calls share."""

    def __init__(self, spec: ComponentSpec) -> None:
        self._spec = spec
        self._shared: dict[str, Any] = {}

    def acquire(self, shard: int, shards: int) -> list[int]:
        """Open one worker's descriptors. Raises what the capturer raises."""
        return call_acquire(self._spec, shard, shards, self._shared)


async def _main(descriptor: int) -> None:
    hear(dict.fromkeys(ENDING, lambda: None))
    channel = Channel(socket.socket(fileno=descriptor), TO_OPENER)
    gone = asyncio.Event()
    channel.on_closed = lambda _why: gone.set()
    opener = Opener(channel)
    await gone.wait()
    del opener
    ignore()


def main() -> None:
    """Be the process: ``sys.argv`` names the channel's descriptor and the parent."""
    die_with_parent(int(sys.argv[2]))
    seal(CAP_NET_RAW)
    asyncio.run(_main(int(sys.argv[1])))
