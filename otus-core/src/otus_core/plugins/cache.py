"""A small file in the user's cache folder that spares short commands what they have found out before.

It names code that Otus imports, so it is believed only where nobody else can have written it: the folder and the file
belong to the user that this process runs as, others can write neither, and a link is not followed. Root does not read
what another user wrote, nor does it leave files in that user's home. Where the file cannot be had, is damaged, or is
too large, there is nothing in it; nothing is raised.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from typing import Any

NAME = "plugins.json"
NEW = f"{NAME}.new"
SIZE_MAX = 1 << 18
"""A few kilobytes a plugin; whoever reads it waits for it at each start of a command."""
ENTRIES_MAX = 64
"""Of all virtual environments of a user together: those of old ones go."""
FORMAT = 1
ABANDONED_S = 60.0
"""A file that is being written for so long belongs to a process that is gone."""
# The file names code that is imported: nobody else may write it, nor need anybody read it.
OTHERS = 0o077
OTHERS_WRITE = 0o022


def read() -> dict[str, Any]:
    """Give the entries by key; their shape is the reader's to check."""
    try:
        with _folder(make=False) as folder:
            data = json.loads(_bytes(folder))
    except (OSError, ValueError, RecursionError):
        return {}
    entries = data.get("entries") if isinstance(data, dict) and data.get("format") == FORMAT else None
    return entries if isinstance(entries, dict) else {}


def write(entries: Mapping[str, Any]) -> None:
    """Keep these entries, the newest of them (by ``at``, in seconds) if there are too many, or they are too large."""
    newest = sorted(entries.items(), key=lambda pair: _at(pair[1]), reverse=True)[:ENTRIES_MAX]
    while len(data := json.dumps({"format": FORMAT, "entries": dict(newest)}).encode()) > SIZE_MAX:
        newest = newest[: len(newest) // 2]
    with contextlib.suppress(OSError), _folder(make=True) as folder:
        _replace(folder, data)


def _at(entry: Any) -> float:
    at = entry.get("at") if isinstance(entry, dict) else None
    return float(at) if isinstance(at, (int, float)) else 0.0


@contextlib.contextmanager
def _folder(*, make: bool) -> Iterator[int]:
    """Open the folder that the file is in. Raises OSError, also for one that is not this user's alone."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(home):  # XDG Base Directory Specification: a relative path is invalid, and ignored
        home = os.path.join(os.path.expanduser("~"), ".cache")
    path = os.path.join(home, "otus")
    if make:
        _make(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _require_own(os.fstat(descriptor), OTHERS_WRITE)
        yield descriptor
    finally:
        os.close(descriptor)


def _make(path: str) -> None:
    """Have the folder, and the one above it; both only where what they lie in belongs to this user."""
    home = os.path.dirname(path)
    for one in (home, path):
        if not os.path.lexists(one):
            _require_own(os.stat(os.path.dirname(one)), 0)
            with contextlib.suppress(FileExistsError):
                os.mkdir(one, 0o700)


def _require_own(about: os.stat_result, forbidden: int) -> None:
    if about.st_uid != os.geteuid() or about.st_mode & forbidden:
        raise PermissionError("it is not this user's alone")


def _bytes(folder: int) -> bytes:
    # By the folder that was checked, whatever its path names by now; O_NONBLOCK: opening a FIFO that somebody put there
    # would wait for its writer (fifo(7)).
    descriptor = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        _require_own(about, OTHERS)
        if not stat.S_ISREG(about.st_mode) or about.st_size > SIZE_MAX:
            raise OSError("it is no file of ours")
        return file.read(SIZE_MAX)


def _replace(folder: int, data: bytes) -> None:
    """Write the file anew. Of two that do so at once, one is enough."""
    # O_EXCL: what is there, be it a link, is not written to (open(2)).
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(NEW, flags, 0o600, dir_fd=folder)
    except FileExistsError:
        # Another process writes it now, or was killed while it did.
        if time.time() - os.stat(NEW, dir_fd=folder, follow_symlinks=False).st_mtime > ABANDONED_S:
            os.unlink(NEW, dir_fd=folder)
        return
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        # rename(2) is atomic: a reader has the old file or the new one.
        os.rename(NEW, NAME, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(NEW, dir_fd=folder)
        raise
