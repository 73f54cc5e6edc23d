"""A log file that is put away when it is large: numbered, compressed, and removed by number and age.

    otus.log  otus.log.1.gz (the newest)  otus.log.2.gz …

Writing never raises: a disk that is full or a folder that is gone costs lines, which are counted, and is tried again.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import threading
import time
from pathlib import Path

REOPEN_EVERY_S = 5.0
OLD = re.compile(r"\.(\d{1,6})(\.gz)?\Z")


class RotatingFile:
    """``write`` appends one line. Sizes are in bytes, ages in seconds (0: for ever)."""

    def __init__(self, path: Path, *, max_size: int, max_age: float, max_backups: int, compress: bool) -> None:
        self.lost = 0
        self._path = path
        self._max_size = max_size
        self._max_age = max_age
        self._max_backups = max_backups
        self._compress = compress
        self._lock = threading.Lock()
        self._file: int | None = None
        self._size = 0
        self._tried_at = float("-inf")
        self._compressing: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Append a line, putting the file away first when it would grow too large."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._lock:
            try:
                if self._size + len(data) > self._max_size and self._size:
                    self._rotate()
                if self._open():
                    assert self._file is not None
                    os.write(self._file, data)
                    self._size += len(data)
                    return
            except OSError:
                self._close()
            self.lost += 1

    def close(self) -> None:
        """Let go of the file, and see the last compression to its end."""
        with self._lock:
            self._close()
            if self._compressing is not None:
                self._compressing.join()

    def _open(self) -> bool:
        """Have the file open, trying every few seconds when it cannot be."""
        if self._file is not None:
            return True
        now = time.monotonic()
        if now - self._tried_at < REOPEN_EVERY_S:
            return False
        self._tried_at = now
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        self._size = os.fstat(self._file).st_size
        self._tried_at = float("-inf")
        return True

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None
        self._size = 0

    def _rotate(self) -> None:
        """Move each old file one number up, and the current one to the first."""
        self._close()
        if self._compressing is not None:  # it works on a name that is about to change
            self._compressing.join()
        for number, path in sorted(self._old(), reverse=True):
            if number >= self._max_backups or self._is_aged(path):
                path.unlink(missing_ok=True)
            else:
                path.rename(self._numbered(number + 1, path.suffix == ".gz"))
        if not self._max_backups:
            self._path.unlink(missing_ok=True)
            return
        first = self._numbered(1, False)
        self._path.rename(first)
        if self._compress:
            self._compressing = threading.Thread(target=_compress, args=(first,), name="otus-log-gzip", daemon=True)
            self._compressing.start()

    def _old(self) -> list[tuple[int, Path]]:
        found = ((OLD.search(path.name), path) for path in self._path.parent.glob(self._path.name + ".*"))
        return [(int(match[1]), path) for match, path in found if match]

    def _numbered(self, number: int, compressed: bool) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}{'.gz' if compressed else ''}")

    def _is_aged(self, path: Path) -> bool:
        return bool(self._max_age) and time.time() - path.stat().st_mtime > self._max_age


def _compress(path: Path) -> None:
    """Compress a file that was put away; the plain one stays when that fails."""
    done = path.with_name(path.name + ".gz")
    partial = path.with_name(path.name + ".gz.tmp")
    try:
        with path.open("rb") as plain, gzip.open(partial, "wb", compresslevel=6) as packed:
            shutil.copyfileobj(plain, packed, 1 << 20)
        partial.rename(done)
        path.unlink()
    except OSError:
        partial.unlink(missing_ok=True)
