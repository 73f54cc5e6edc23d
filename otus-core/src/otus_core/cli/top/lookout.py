"""Asks the daemon beside the screen: threads, each of which keeps the last answer."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from otus_core.cli.top.board import Sampled
from otus_core.control.client import call, follow, lines_of
from otus_core.errors import OtusError

LINES_MAX = 1000
"""Lines that can be scrolled back."""
SAMPLE_RATE = 50
"""Messages a second that the busiest sources are found among."""


class Poller:
    """Asks for ``daemon_stats`` at an interval. ``answers`` are those that nobody has taken yet, the newest last."""

    def __init__(self, path: Path, interval: float) -> None:
        self.answers: deque[Mapping[str, Any]] = deque(maxlen=2)
        self.trouble = ""
        self._path, self._interval = path, interval
        self._stopping = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                self.answers.append(call(self._path, "daemon_stats"))
                self.trouble = ""
            except OtusError as error:  # the daemon may come back
                self.trouble = str(error)


class Tapping:
    """Looks in on a task: its lines as text, or what a sample of them says."""

    def __init__(self, path: Path, task_id: str, *, columns: int = 0, sample: bool = False) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_MAX)
        self.sampled = Sampled()
        self.ended = ""
        self.news = 0
        self.begun = time.monotonic()
        self._stopping = threading.Event()
        shape: dict[str, Any] = {"format": "json", "rate": SAMPLE_RATE} if sample else {"columns": columns}
        self._params = {"task_id": task_id, **shape}
        self._path, self._sample = path, sample
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            with closing(follow(self._path, "task_tap", self._params)) as events:
                for event in events:
                    self._take(event)
                    if self._stopping.is_set() or self.ended:  # the daemon may hang up then, which is no news
                        return
        except OtusError as error:
            self.ended = str(error)

    def _take(self, event: Mapping[str, Any]) -> None:
        lines = lines_of(event)
        if self._sample:
            self.sampled.take([json.loads(line) for line in lines])
        else:
            self.lines.extend(lines)
        self.news += bool(lines)
        self.ended = event.get("ended", "")
