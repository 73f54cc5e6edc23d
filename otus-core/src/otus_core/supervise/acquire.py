"""The parent's side of the opener process: asks for a capturer's descriptors."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import Any

from otus_core.errors import CaptureError
from otus_core.log import Logger
from otus_core.logs.events import relay
from otus_core.process.channel import Channel
from otus_core.process.spawn import last_words, open_words, spawn
from otus_core.supervise.surroundings import Surroundings
from otus_core.task.config import TaskConfig

log = Logger("otus.opener")

ACQUIRE_WITHIN_S = 10.0
EXIT_WITHIN_S = 1.0
"""An opener's channel is closed by its end, so that waiting for it takes no time, but for one that is being traced."""

Answer = tuple[list[int], CaptureError | None]


class Acquirer:
    """One task's opener.

    It is started again when it dies; one that never got so far as to be ready ends the task, with its reason.
    """

    def __init__(self, config: TaskConfig, around: Surroundings) -> None:
        self._config = config
        self._around = around
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._words: int | None = None
        self._was_ready = False
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    def _begin(self) -> None:
        """Start the opener. Raises OSError."""
        with self._around.reserve.lent():
            self._words = open_words()
            self._process, self._channel = spawn("otus_core.process.opener", self._words)
        self._channel.on_message = self._message
        self._channel.on_closed = self._gone
        self._channel.send(("init", self._init()))

    def _init(self) -> dict[str, Any]:
        """Give the part of the task that the opener needs, and the one plugin that it is to import."""
        task, capture = self._config, self._config.capture
        part = {"id": task.id, "workers": task.workers, "capture": task.source["capture"], "reporters": ["discard"]}
        plugins = {**self._around.plugins, "enabled": [capture.record.plugin]}
        return {"task": part, "plugins": plugins, "log_level": self._around.log_level}

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
        if self._words is not None:
            os.close(self._words)
            self._words = None

    async def acquire(self, shard: int, shards: int) -> Answer:
        """Give one worker's descriptors, which the caller closes, or why there are none. Raises OSError."""
        if self._channel is None:
            self.end()
            self._begin()
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
        if message[0] == "ready":
            self._was_ready = True
            return
        if message[0] == "log":
            relay(log, message, task=self._config.id, process="opener")
            return
        answer = self._waiting.get(message[1])
        if answer is None or answer.done():
            return
        if message[0] == "acquired":
            log.debug("descriptors_acquired", task=self._config.id, descriptors=len(descriptors))
            answer.set_result((descriptors, None))
        else:
            answer.set_result(([], self._refusal(message[2], fatal=message[3])))

    def _gone(self) -> None:
        self._channel = None
        reason = "the opener died" if self._was_ready else f"the opener cannot start: {self._why_dead()}"
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(([], self._refusal(reason, fatal=not self._was_ready)))

    def _why_dead(self) -> str:
        """Give what an opener that has closed its channel said last, or how it ended."""
        assert self._process is not None and self._words is not None
        try:
            status: object = self._process.wait(EXIT_WITHIN_S)
        except subprocess.TimeoutExpired:
            status = "unknown"
        return last_words(self._words) or f"exit status {status}"

    def _refusal(self, reason: str, *, fatal: bool) -> CaptureError:
        source = getattr(self._config.capture.settings, "interface", self._config.capture.type)
        return CaptureError(str(source), reason, fatal=fatal)
