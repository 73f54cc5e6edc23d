"""Remembers which commands have been executed, over restarts too: a repeated request is not executed twice.

One line of JSON a request is appended and synced before the command runs, so a command that takes the daemon down is
not tried again either.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from pathlib import Path

from otus_core import open_regular

FILE_MAX_BYTES = 64 << 20
"""A larger one is not read: one line a command has some hundred bytes."""


class Executed:
    """Request ids of the last while.

    ``capacity`` bounds them; with the rate and age of commands bounded, none is forgotten that could still come.
    """

    def __init__(self, path: Path | None, capacity: int) -> None:
        self._path = path
        self._capacity = capacity
        self._ids: OrderedDict[str, float] = OrderedDict()
        self._lines = 0

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._ids

    def load(self, oldest: float) -> None:
        """Read what earlier processes executed since ``oldest``, and write the file anew.

        Raises OSError. Lines that cannot be read are left out.
        """
        if self._path is None:
            return
        try:
            file = os.fdopen(open_regular(self._path, os.O_RDONLY), "rb")
        except FileNotFoundError:
            pass
        else:
            with file:
                if os.fstat(file.fileno()).st_size <= FILE_MAX_BYTES:
                    for line in file:
                        self._take(line, oldest)
        self._rewrite()

    def _take(self, line: bytes, oldest: float) -> None:
        try:
            request_id, at = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            return
        if isinstance(request_id, str) and isinstance(at, (int, float)) and at >= oldest:
            self._remember(request_id, float(at))

    def _remember(self, request_id: str, at: float) -> None:
        self._ids[request_id] = at
        self._ids.move_to_end(request_id)
        while len(self._ids) > self._capacity:
            self._ids.popitem(last=False)

    def add(self, request_id: str, now: float) -> None:
        """Remember a request that is about to be executed.

        Raises OSError when the disk does not take it; it is remembered in memory all the same.
        """
        self._remember(request_id, now)
        if self._path is None:
            return
        if self._lines >= 2 * self._capacity:
            self._rewrite()
            return
        self._lines += 1
        with open(self._path, "ab", opener=_for_us_alone) as file:
            file.write(_line(request_id, now))
            file.flush()
            # The content alone: the file's time of change need not be on disk (fdatasync(2)).
            os.fdatasync(file.fileno())

    def _rewrite(self) -> None:
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(self._path.name + ".new")
        with open(new, "wb", opener=_for_us_alone) as file:
            file.writelines(_line(request_id, at) for request_id, at in self._ids.items())
            file.flush()
            os.fsync(file.fileno())
        # rename(2) is atomic: a crash leaves the old file or the new one, and no half.
        new.replace(self._path)
        self._lines = len(self._ids)


def _for_us_alone(path: str, flags: int) -> int:
    return open_regular(Path(path), flags, 0o600)


def _line(request_id: str, at: float) -> bytes:
    return json.dumps([request_id, at]).encode("ascii") + b"\n"
