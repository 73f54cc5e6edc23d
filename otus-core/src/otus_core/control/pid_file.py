"""The file that names the daemon's process."""

from __future__ import annotations

import os
from pathlib import Path

from otus_core.errors import OtusError
from otus_core.folders import make_folder, open_regular, refusal

NO_PID = "is there and does not hold a process id; remove it or choose another path"
PID_MAX = 32
"""Bytes; a file that holds more is somebody else's."""


class PidFile:
    """The file that names the daemon's process. The control socket's lock, not this, tells whether one runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self) -> None:
        """Write it, over a stale one. Raises OtusError when the path is not a file of ours."""
        try:
            make_folder(self._path.parent, 0o755)
            with os.fdopen(open_regular(self._path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
                # An empty one is taken: a daemon that dies between making its file and writing it leaves that.
                if not file.read(PID_MAX).strip().isdigit() and file.seek(0, os.SEEK_END):
                    raise refusal(self._path, NO_PID)
                file.seek(0)
                file.truncate()
                file.write(b"%d\n" % os.getpid())
        except OSError as error:
            raise OtusError(f"control.pid_file {self._path}: {error.strerror or error}") from error

    def remove(self) -> None:
        """Remove it if it still names this process."""
        try:
            with os.fdopen(open_regular(self._path, os.O_RDONLY), "rb") as file:
                named = file.read(PID_MAX).strip()
            if named == b"%d" % os.getpid():
                self._path.unlink()
        except OSError:
            pass
