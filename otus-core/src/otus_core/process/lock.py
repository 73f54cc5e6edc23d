"""Locks that tell whether a daemon is there: a file beside what is locked, held with flock(2), so that the lock goes
with its process however that ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from otus_core.errors import OtusError
from otus_core.folders import make_folder, open_regular

DATA_LOCK = "daemon.lock"


def take_lock(lock_path: Path, wanted: Path) -> int:
    """Take a lock and give the descriptor that holds it. Raises OtusError when another process has it, and OSError."""
    descriptor = open_regular(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # Not fcntl(2)'s record locks: those go as soon as any descriptor of the file is closed, anywhere in the
        # process.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OtusError(f"{wanted}: another daemon is running (it holds {lock_path})") from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def lock_data_dir(folder: Path) -> int:
    """Take the lock of a data folder, which two daemons must not share, whatever their sockets are.

    Raises OtusError.
    """
    try:
        make_folder(folder, 0o750)
        return take_lock(folder / DATA_LOCK, folder)
    except OSError as error:
        raise OtusError(f"data_dir: {error.filename or folder}: {error.strerror or error}") from error
