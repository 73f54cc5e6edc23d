"""Brings the records of a run to the screen: a thread reads them, and the screen takes them when it draws."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from otus_calls.commands.source import CHOSEN, Source
from otus_core import RunFailed

INTERIM_S = 2
"""How often calls under way are reported."""
WAITING_MAX = 50_000
"""Records that wait for the screen; it takes them ten times a second."""
FAULTS_MAX = 100
"""Of the run: they are shown one at a time."""


class Feed:
    """Runs the task until ``stop``. ``faults`` is what the run said of itself, ``failed`` how it ended."""

    def __init__(self, source: Source, where: str | None) -> None:
        self._source = source
        self._where = where
        self._waiting: deque[dict[str, Any]] = deque(maxlen=WAITING_MAX)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.faults: deque[str] = deque(maxlen=FAULTS_MAX)
        self.failed: RunFailed | None = None
        self.ended = False

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def take(self) -> list[dict[str, Any]]:
        """Give what has come since the last time."""
        taken = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        return taken

    def stop(self) -> None:
        """End the run, and wait for that."""
        self._stopping.set()
        self._thread.join(10)

    def _read(self) -> None:
        config = {"interim": f"{INTERIM_S}s"}
        try:
            for one in self._source.records(config, self._where, on_fault=self.faults.append, stopping=self._stopping):
                if one["payload_type"] == "call" and (self._where is None or CHOSEN in one["labels"]):
                    self._waiting.append(one["payload"])
        except RunFailed as error:
            self.failed = error
        self.ended = True
