"""The parent's side of the opener process: asks for a capturer's descriptors."""

from __future__ import annotations

import asyncio
import os
import subprocess

from otus_core.errors import CaptureError
from otus_core.log import Logger
from otus_core.logs.events import relay
from otus_core.process.messages import (
    FROM_OPENER,
    Acquire,
    Acquired,
    FromOpener,
    InitOpener,
    Log,
    Ready,
    Refused,
)
from otus_core.process.spawn import last_words, open_words, spawn
from otus_core.supervise.surroundings import Surroundings
from otus_core.task.spec import TaskConfig

log = Logger("otus.opener")

ACQUIRE_WITHIN_S = 10.0
"""Opening a socket takes milliseconds; a third party's capturer may have to reach a machine far away."""
EXIT_WITHIN_S = 1.0
"""An opener's channel is closed by its end, so that waiting for it takes no time, but for one that is being traced."""

Answer = tuple[list[int], CaptureError | None]


class Opener:
    """An opener process, from this side: its channel, and a descriptor that has taken its last words."""

    def __init__(self) -> None:
        """Start it. Raises OSError."""
        self._words = open_words()
        try:
            self._process, self.channel = spawn("otus_core.process.opener", FROM_OPENER, self._words)
        except OSError:
            os.close(self._words)
            raise

    def end(self) -> None:
        """End it, and let go of what belongs to it; once."""
        self.channel.close()
        self._process.kill()
        self._process.wait()
        os.close(self._words)

    def why_dead(self) -> str:
        """Give what an opener that has closed its channel said last, or how it ended."""
        try:
            status: object = self._process.wait(EXIT_WITHIN_S)
        except subprocess.TimeoutExpired:
            status = "unknown"
        return last_words(self._words) or f"exit status {status}"


class Acquirer:
    """One task's opener.

    It is started again when it dies; one that never got so far as to be ready ends the task, with its reason.
    """

    def __init__(self, config: TaskConfig, around: Surroundings) -> None:
        self._config = config
        self._around = around
        self._opener: Opener | None = None
        self._was_ready = False
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    def _begin(self) -> Opener:
        """Start the opener. Raises OSError."""
        # The descriptors of the reserve: a daemon that has no other left must still be able to replace its opener.
        with self._around.reserve.lend():
            opener = Opener()
        self._opener = opener
        opener.channel.on_message = self._hear
        opener.channel.on_closed = lambda why: self._lose(opener, why)
        opener.channel.send(self._init())
        return opener

    def _init(self) -> InitOpener:
        """Give the part of the task that the opener needs, and the one plugin that it is to import."""
        task, capture = self._config, self._config.capture
        part = {"id": task.id, "workers": task.workers, "capture": task.source["capture"], "reporters": ["discard"]}
        plugins = {**self._around.plugins, "enabled": [capture.record.plugin]}
        return InitOpener(part, plugins, self._around.log_level)

    def end(self) -> None:
        """End the opener."""
        if self._opener is not None:
            self._opener.end()
            self._opener = None

    async def acquire(self, shard: int, shards: int) -> Answer:
        """Give one worker's descriptors, which the caller closes, or why there are none. Raises OSError."""
        opener = self._opener or self._begin()
        # An answer that comes after its time must not be taken for the next question's.
        self._number += 1
        number = self._number
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        opener.channel.send(Acquire(number, shard, shards))
        try:
            # An opener that hangs, in a driver or in a third party's code, must not hold up the supervisor's turn for
            # long.
            async with asyncio.timeout(ACQUIRE_WITHIN_S):
                return await answer
        except TimeoutError:
            return [], self._refusal("the opener does not answer", fatal=False)
        finally:
            self._waiting.pop(number, None)

    def _hear(self, message: FromOpener, descriptors: list[int]) -> None:
        match message:
            case Ready():
                self._was_ready = True
            case Log(level, event):
                relay(log, level, event, task=self._config.id, process="opener")
            case Acquired(number):
                log.debug("descriptors_acquired", task=self._config.id, descriptors=len(descriptors))
                if not self._answer(number, descriptors, None):
                    for descriptor in descriptors:  # whoever asked has given up
                        os.close(descriptor)
            case Refused(number, reason, fatal):
                self._answer(number, [], self._refusal(reason, fatal=fatal))

    def _answer(self, number: int, descriptors: list[int], refusal: CaptureError | None) -> bool:
        """Give an answer to whoever asked; false when nobody waits for it any more."""
        answer = self._waiting.get(number)
        if answer is None or answer.done():
            return False
        answer.set_result((descriptors, refusal))
        return True

    def _lose(self, opener: Opener, why: str) -> None:
        """The opener has ended, or is not to be trusted any more."""
        reason = f"the opener {why or 'died'}"
        if not self._was_ready:
            reason = f"the opener cannot start: {why or opener.why_dead()}"
        opener.end()
        self._opener = None
        for number in self._waiting:
            self._answer(number, [], self._refusal(reason, fatal=not self._was_ready))

    def _refusal(self, reason: str, *, fatal: bool) -> CaptureError:
        source = getattr(self._config.capture.settings, "interface", self._config.capture.type)
        return CaptureError(str(source), reason, fatal=fatal)
