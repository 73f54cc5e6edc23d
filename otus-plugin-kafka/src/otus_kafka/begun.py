"""Remembers which record is being looked at, so that one that ended the process is not looked at again by the next.

The note is written without a sync: it has to outlive the process, not the machine.
"""

from __future__ import annotations

import os
from pathlib import Path

from otus_core import open_regular

NOTE_MAX = 256
"""Bytes: a record is named by its partition and offset, a batch by its offset and checksum."""


class Begun:
    """A file with the name of one record while it is being read.

    ``left`` is the one that the last process did not finish.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = -1
        self.left = ""

    def open(self) -> None:
        """Read what was left, and be ready to note. Raises OSError."""
        if self._path is None or self._file >= 0:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open_regular(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self.left = os.read(self._file, NOTE_MAX).decode("ascii", "replace")

    def begin(self, name: str) -> bool:
        """Note a record that is about to be read; false for the one that the last process did not survive."""
        if name and name == self.left:
            return False
        if self._file >= 0:
            os.pwrite(self._file, name.encode("ascii", "replace")[:NOTE_MAX], 0)
        return True

    def end(self) -> None:
        """It has been read."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
