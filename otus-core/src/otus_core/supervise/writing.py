"""Changes of what lies on the disk, made in one thread and in the order in which they were asked for: a slow disk holds
up nobody but whoever waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from otus_core.log import Logger

log = Logger("otus.store")


class Writing:
    """The one thread that changes a folder. Steps are functions that may raise OSError."""

    def __init__(self) -> None:
        # One: two would write in the order in which the disk is done, and the older state could be the one that stays.
        self._thread = ThreadPoolExecutor(1, "otus-store")

    def begin(self, step: Callable[..., object], *about: Any) -> asyncio.Future[object]:
        """Have a step done behind all those before it. It is done also when whoever waits for it is cancelled."""
        return asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, step, *about))

    def begin_unattended(self, event: str, step: Callable[..., object], *about: Any, **fields: Any) -> None:
        """Have a step done that nobody waits for: what goes wrong is logged as ``event``."""

        def done(future: asyncio.Future[object]) -> None:
            error = None if future.cancelled() else future.exception()
            if error is not None:
                log.error(event, error=str(error), **fields)

        self.begin(step, *about).add_done_callback(done)

    async def close(self) -> None:
        """Wait until everything is done."""
        await asyncio.to_thread(self._thread.shutdown)
