"""A file that a command makes: checked before the work, there only when all of it is written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from otus_core import ConfigInvalid, ConfigProblem, OtusError, printable


@contextmanager
def new_file(path: Path, inputs: Sequence[str], option: str) -> Iterator[IO[bytes]]:
    """Give a file to write to, which becomes ``path`` when the block ends without an error.

    A file that is there is replaced, unless it is one of ``inputs``. Raises ConfigInvalid, with the ``option`` that
    named it, for what cannot be written, and OtusError where writing fails.
    """
    _check(path, inputs, option)
    name = printable(str(path))
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    except OSError as error:
        raise _refuse(option, f"{name} cannot be written: {error.strerror}") from None
    try:
        with open(descriptor, "wb") as file:
            yield file
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except OSError as error:
        raise OtusError(f"{name} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()


def _check(path: Path, inputs: Sequence[str], option: str) -> None:
    name = printable(str(path))
    if str(path) == "-":
        raise _refuse(option, "it is written to a file, not to standard output: name one (./- is a file, too)")
    if path.is_dir():
        raise _refuse(option, f"{name} is a folder: name a file")
    if path.exists() and not path.is_file():
        raise _refuse(option, f"{name} is no regular file")
    if any(path.exists() and Path(one).exists() and path.samefile(one) for one in inputs):
        raise _refuse(option, f"{name} is also read: it would be lost")


def _refuse(option: str, why: str) -> ConfigInvalid:
    return ConfigInvalid([ConfigProblem(option, why)])


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
