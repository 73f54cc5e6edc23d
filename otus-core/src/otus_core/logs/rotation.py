"""A log file that is put away when it is large: numbered, compressed, and removed by number and age.

    otus.log  otus.log.1.gz (the newest)  otus.log.2.gz …

Writing never raises: a disk that is full or a folder that is gone costs lines, which are counted, and is tried again. A
file that somebody else moves away, logrotate(8) for one, is written on until ``reopen``: nothing is lost in between.
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import os
import re
import shutil
import threading
import time
from pathlib import Path

from otus_core.folders import make_folder, open_regular

MODE = 0o640
"""Of the file, and of those that were put away: its group may read it."""
FOLDER_MODE = 0o750
"""Others may not look in: lines name addresses and users."""
REOPEN_EVERY_S = 5.0
"""A disk that is full is not asked with every line; five seconds of lines are counted as lost at most when it has room.
"""
LOOK_AT_AGE_EVERY_S = 3600.0
"""Ages are given in days."""
OLD = re.compile(r"\.(\d{1,6})(\.gz)?\Z")
"""The ending of a file that was put away. Others beside the log are not ours, and are left alone."""
UNFINISHED = ".gz.tmp"


class RotatingFile:
    """``write`` appends one line. Sizes are in bytes, ages in seconds (0: for ever)."""

    def __init__(self, path: Path, *, max_size: int, max_age: float, max_backups: int, compress: bool) -> None:
        self.lost = 0
        self.trouble = ""
        self._path = path
        self._max_size = max_size
        self._max_age = max_age
        self._max_backups = max_backups
        self._compress = compress
        self._lock = threading.Lock()
        self._file: int | None = None
        self._size = 0
        self._tried_at = float("-inf")
        self._looked_at = float("-inf")
        self._compressing: threading.Thread | None = None
        with self._lock, contextlib.suppress(OSError):
            self._remove_old()

    def write(self, line: str) -> bool:
        """Append a line, putting the file away first when it would grow too large; false when it is lost."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._lock:
            try:
                file = self._open()
                if file is not None and self._size and self._size + len(data) > self._max_size:
                    self._rotate()
                    file = self._open()
                if file is not None:
                    self._append(file, data)
                    return True
            except OSError as error:
                self.trouble = f"{self._path}: {error.strerror or error}"
                self._close()
            self.lost += 1
            return False

    def reopen(self) -> None:
        """Go on in the file that has the name now, which is made if there is none: the one so far may have been moved
        away.
        """
        with self._lock:
            self._close()
            self._tried_at = float("-inf")
            with contextlib.suppress(OSError):
                self._open()

    def close(self) -> None:
        """Let go of the file, and see the last compression to its end."""
        with self._lock:
            self._close()
            if self._compressing is not None:
                self._compressing.join()

    def _append(self, file: int, data: bytes) -> None:
        """Append all of a line, or nothing of it. Raises OSError."""
        written = 0
        try:
            while written < len(data):
                written += os.write(file, data[written:])
        except OSError:
            if written:  # half a line would take the next one with it
                os.ftruncate(file, os.fstat(file).st_size - written)
            raise
        self._size += written

    def _open(self) -> int | None:
        """Have the file open, trying every few seconds when it cannot be; gives its descriptor, or ``None``."""
        now = time.monotonic()
        if self._file is not None:
            if now - self._looked_at > LOOK_AT_AGE_EVERY_S:
                self._remove_old()
            return self._file
        if now - self._tried_at < REOPEN_EVERY_S:
            return None
        self._tried_at = now
        make_folder(self._path.parent, FOLDER_MODE)
        self._file = open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, MODE)
        self._size = os.fstat(self._file).st_size
        self._tried_at = float("-inf")
        return self._file

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
        # The highest number first, so that none is renamed onto one that is still there.
        for number, path in sorted(self._old(), reverse=True):
            if number >= self._max_backups or self._is_aged(path):
                path.unlink(missing_ok=True)
            else:
                path.rename(self._name_old(number + 1, path.suffix == ".gz"))
        if not self._max_backups:
            self._path.unlink(missing_ok=True)
            return
        first = self._name_old(1, False)
        self._path.rename(first)
        if self._compress:
            self._compressing = threading.Thread(target=_compress, args=(first,), name="otus-log-gzip", daemon=True)
            self._compressing.start()

    def _remove_old(self) -> None:
        """Remove what is too old or one too many, and what a crash left half compressed: a quiet log may not be put
        away for months.
        """
        self._looked_at = time.monotonic()
        for number, path in self._old():
            if number > self._max_backups or self._is_aged(path):
                path.unlink(missing_ok=True)
        if self._compressing is None or not self._compressing.is_alive():
            for path in self._beside(UNFINISHED):
                path.unlink(missing_ok=True)

    def _old(self) -> list[tuple[int, Path]]:
        found = ((OLD.search(path.name), path) for path in self._beside(""))
        return [(int(match[1]), path) for match, path in found if match]

    def _beside(self, ending: str) -> list[Path]:
        return list(self._path.parent.glob(f"{glob.escape(self._path.name)}.*{ending}"))

    def _name_old(self, number: int, compressed: bool) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}{'.gz' if compressed else ''}")

    def _is_aged(self, path: Path) -> bool:
        return bool(self._max_age) and time.time() - path.lstat().st_mtime > self._max_age


def _compress(path: Path) -> None:
    """Compress a file that was put away, which keeps its mode; the plain one stays when that fails."""
    done = path.with_name(path.name + ".gz")
    partial = path.with_name(path.name + UNFINISHED)
    try:
        with path.open("rb") as plain:
            mode = os.fstat(plain.fileno()).st_mode & 0o777
            descriptor = open_regular(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with os.fdopen(descriptor, "wb") as raw, gzip.open(raw, "wb", compresslevel=6) as packed:
                shutil.copyfileobj(plain, packed, 1 << 20)
            # Its age counts from when it was put away, not from when it was compressed.
            os.utime(partial, ns=(os.fstat(plain.fileno()).st_atime_ns, os.fstat(plain.fileno()).st_mtime_ns))
        # Under another name until it is whole: a crash leaves the plain file, and a piece that is removed at the next
        # start.
        partial.rename(done)
        path.unlink()
    except OSError:
        partial.unlink(missing_ok=True)
