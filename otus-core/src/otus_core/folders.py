"""Folders and files whose modes are what they are meant to be, whatever the umask of whoever started us."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

# For folders on the way, which may hold other things: who else may read them is for the system to say.
OTHERS_MAY_NOT_WRITE = 0o755
SECRET_MAX = 16_384
"""Bytes of a password or token; the longest tokens have some thousand."""
NOT_REGULAR = "is not a regular file"


def make_folder(folder: Path, mode: int) -> None:
    """Have a folder.

    It gets ``mode`` if it is made now; those above it that have to be made too are closed to others' writing. Raises
    OSError.
    """
    missing = [folder]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for one in reversed(missing):
        wanted = mode if one == folder else OTHERS_MAY_NOT_WRITE
        try:
            # Closed to others until its mode is right: mkdir(2) takes the umask off the mode, so only chmod(2) can give
            # it.
            one.mkdir(mode=wanted & 0o700)
        except FileExistsError:
            if not one.is_dir():
                raise
        else:
            one.chmod(wanted)


def open_regular(path: Path, flags: int, mode: int = 0o640) -> int:
    """Open a regular file, no link to one; with ``O_CREAT`` a new one has exactly ``mode``.

    Raises OSError, and never waits for the other end of a pipe.
    """
    # Not through a link that somebody else may have put there; and without O_NONBLOCK, opening a FIFO would wait for
    # its other end (fifo(7)). Reading and writing a regular file do not heed the flag.
    safe = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, (flags | safe) & ~(os.O_CREAT | os.O_TRUNC))
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
        descriptor = os.open(path, flags | safe, mode & 0o700)
        os.fchmod(descriptor, mode)
    except OSError as error:
        raise _explain(path, error) from None
    # Asked of what is open, not of the name: that may be another file by now.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise refusal(path, NOT_REGULAR)
    if flags & os.O_TRUNC:
        os.ftruncate(descriptor, 0)
    return descriptor


def read_secret(path: str) -> str:
    """Read the one line that a file holds, a password or a token.

    Raises OSError and ValueError, which name the file.
    """
    text = read_regular(path, SECRET_MAX).rstrip("\r\n")
    if not text or not text.isprintable():
        raise ValueError(f"{path}: does not hold one line of text")
    return text


def read_regular(path: str, most: int) -> str:
    """Read a text file that somebody named, of at most ``most`` bytes.

    Raises OSError and ValueError, which name the file.

    A link to it will do, as Kubernetes makes them for secrets. A pipe is refused: nobody might ever write to it.
    """
    with os.fdopen(_open_named(path), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{path}: is longer than {most} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not text") from None


def require_regular(*paths: str) -> None:
    """See that files which a library is going to open are no pipes, at which it would wait.

    Raises OSError, which names the file.
    """
    for path in paths:
        os.close(_open_named(path))


def _open_named(path: str) -> int:
    try:
        return open_regular(Path(os.path.realpath(path)), os.O_RDONLY)
    except OSError as error:
        raise OSError(f"{path}: {error.strerror or error}") from None


def refusal(path: Path, reason: str) -> OSError:
    """Give the error for what stands where a file of ours is wanted."""
    return OSError(errno.EINVAL, reason, str(path))


def _explain(path: Path, error: OSError) -> OSError:
    """Say what stands in the way in its own words: for a pipe the system says "No such device", for a link "Too many
    levels".
    """
    try:
        there = os.lstat(path).st_mode
    except OSError:
        return error
    if stat.S_ISLNK(there):
        return refusal(path, "is a symbolic link, which is not followed")
    return error if stat.S_ISREG(there) else refusal(path, NOT_REGULAR)
