"""The parent's side of the opener process: asks for a capturer's descriptors."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from typing import Any

from otus_core.errors import CaptureError
from otus_core.task.channel import Channel
from otus_core.task.config import TaskConfig
from otus_core.task.spawn import spawn

ACQUIRE_WITHIN_S = 10.0

Answer = tuple[list[int], CaptureError | None]


class Acquirer:
    """One task's opener. It is started again when it dies."""

    def __init__(self, config: TaskConfig, plugins: Mapping[str, Any]) -> None:
        self._config = config
        self._plugins = plugins
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    def begin(self) -> None:
        """Start the opener."""
        self._process, self._channel = spawn("otus_core.task.opener")
        self._channel.on_message = self._message
        self._channel.on_closed = self._gone
        self._channel.send(("init", {"task": self._config.source, "plugins": dict(self._plugins)}))

    def end(self) -> None:
        """End the opener."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.terminate()
            self._process.kill()
            self._process.wait()
            self._process = None

    async def acquire(self, shard: int, shards: int) -> Answer:
        """Give one worker's descriptors, which the caller closes, or why there are none."""
        if self._channel is None:
            self.end()
            self.begin()
        assert self._channel is not None
        self._number += 1
        number = self._number
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._channel.send(("acquire", number, shard, shards))
        try:
            async with asyncio.timeout(ACQUIRE_WITHIN_S):
                return await answer
        except TimeoutError:
            return [], self._refusal("the opener does not answer", fatal=False)
        finally:
            self._waiting.pop(number, None)

    def _message(self, message: tuple[Any, ...], descriptors: list[int]) -> None:
        answer = self._waiting.get(message[1])
        if answer is None or answer.done():
            return
        if message[0] == "acquired":
            answer.set_result((descriptors, None))
        else:
            answer.set_result(([], self._refusal(message[2], fatal=message[3])))

    def _gone(self) -> None:
        self._channel = None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(([], self._refusal("the opener died", fatal=False)))

    def _refusal(self, reason: str, *, fatal: bool) -> CaptureError:
        source = getattr(self._config.capture.settings, "interface", self._config.capture.type)
        return CaptureError(str(source), reason, fatal=fatal)
