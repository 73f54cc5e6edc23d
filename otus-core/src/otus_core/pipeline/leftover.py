"""What a spool still holds when no task writes to it any more: looked at, and discarded on request.

In: a spool's path. Out: how much is there. Only files that a spool makes are ever removed, and none of a spool that a
process has open.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from otus_core.errors import OtusError
from otus_core.pipeline.segments import FLAGS, NAME
from otus_core.values import frozen

FOLDER = re.compile(r"worker-\d{1,5}\Z")
OTHER_FILES = re.compile(r"(?:lock|position|\d{20}(?:-\d{1,10})?\.damaged)\Z")


@frozen
class Leftover:
    """``messages`` counts those in finished files, of which some may have been sent; a file that a crash left open has
    bytes alone.
    """

    path: str
    messages: int
    bytes: int


def look(path: str) -> Leftover | None:
    """Give what a spool holds, ``None`` when that is nothing, or it cannot be read."""
    messages = size = 0
    with contextlib.suppress(OSError):
        for folder in _folders(Path(path)):
            for file in folder.iterdir():
                named = NAME.match(file.name)
                if named is not None:
                    messages += int(named["count"] or 0)
                    size += file.lstat().st_size
    return Leftover(path, messages, size) if size else None


def discard(path: str) -> None:
    """Remove a spool's files, and its folders where nothing else is in them.

    Raises OtusError when a process has it open, or a file cannot be removed.
    """
    try:
        for folder in _folders(Path(path)):
            _discard(folder)
        with contextlib.suppress(OSError):  # somebody else keeps something there
            os.rmdir(path)
    except OSError as error:
        raise OtusError(f"spool {path} cannot be discarded: {error}") from error


def _discard(folder: Path) -> None:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | FLAGS, 0o600)
    try:
        # The lock that a spool holds (``spool``): while another process has it, its files are not ours to remove.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for file in list(folder.iterdir()):
            if NAME.match(file.name) or OTHER_FILES.match(file.name):
                file.unlink()
    except BlockingIOError:
        raise OtusError(f"spool {folder} is in use by another process") from None
    finally:
        os.close(lock)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _folders(path: Path) -> Iterator[Path]:
    if path.is_dir():
        # No links: what they lead to was not made by a spool.
        yield from (one for one in sorted(path.iterdir()) if FOLDER.match(one.name) and not one.is_symlink())
