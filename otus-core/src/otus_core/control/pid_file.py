"""The file that names the daemon's process."""

from __future__ import annotations

import os
from pathlib import Path

from otus_core.errors import OtusError


class PidFile:
    """The file that names the daemon's process. The control socket's lock, not this, tells whether one runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self) -> None:
        """Write it, over a stale one. Raises OtusError when the path is not a file of ours."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o644)
        except OSError as error:
            raise OtusError(f"control.pid_file {self._path}: {error.strerror or error}") from error
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{os.getpid()}\n")

    def remove(self) -> None:
        """Remove it if it still names this process."""
        try:
            if self._path.read_text().strip() == str(os.getpid()):
                self._path.unlink()
        except (OSError, UnicodeDecodeError):
            pass
