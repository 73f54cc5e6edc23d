"""Log lines to standard error, from a thread of its own: whoever is on the other end may read as slowly as he likes, or
not at all.

A pipe that nobody reads takes 64 KiB (pipe(7)), and whoever writes then waits for ever. The daemon's event loop must
not: a line that finds no room here is counted.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque

LINES_MAX = 1000
"""Lines that may wait. They are in the log file as well."""
CLOSE_WITHIN_S = 1.0
"""A pipe that nobody reads must not keep the process from ending."""


class StandardError:
    """``write`` takes one line and never waits."""

    def __init__(self, descriptor: int = 2) -> None:
        self.lost = 0
        self.trouble = "nobody reads it"
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="otus-stderr", daemon=True)
        self._thread.start()

    def write(self, line: str) -> bool:
        """Take one line; false when it is lost, because too many wait."""
        with self._changed:
            if self._closing or len(self._lines) >= LINES_MAX:
                self.lost += 1
                return False
            self._lines.append(line.encode("utf-8", "backslashreplace") + b"\n")
            self._changed.notify()
            return True

    def close(self) -> None:
        """Write what waits, for at most ``CLOSE_WITHIN_S``; what is left then is lost."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_WITHIN_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or bool(self._lines))
                if not self._lines:
                    return
                line = self._lines.popleft()
            try:
                self._put(line)
            except OSError:  # the reader is gone, or it is a file on a full disk
                with self._changed:
                    self.lost += 1

    def _put(self, line: bytes) -> None:
        view = memoryview(line)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:  # it was handed to us non-blocking
                # Descriptor 2 is far below the 1,024 that select(2) can take.
                select.select([], [self._descriptor], [])
