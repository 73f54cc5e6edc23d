"""A folder of plugins outside of Python's own: where Otus comes as one executable or a package, nothing can be
installed beside it.

In: the variable ``OTUS_PLUGIN_DIR``, in every process of Otus. Out: the folder, last on ``sys.path``, where what comes
with Otus goes first. What lies there is run with all that Otus may do: it is used only if nobody else than root and the
user can put anything there.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

FOLDER_ENVIRONMENT = "OTUS_PLUGIN_DIR"
ENTRIES_MAX = 20_000
"""Files that are looked at, in each process that starts; a plugin with what it needs has some hundred."""


class FolderRefused(Exception):
    """The folder is not used, for the reason that the text gives."""


def add_plugin_folder(environment: Mapping[str, str] = os.environ) -> None:
    """Have the folder on ``sys.path``, if one is named. Raises FolderRefused."""
    named = environment.get(FOLDER_ENVIRONMENT, "")
    if not named or named in sys.path:
        return
    folder = Path(named)
    if not folder.is_absolute():
        raise FolderRefused("is not a full path")
    if Path(os.path.realpath(named)) != Path(os.path.normpath(named)):
        raise FolderRefused(f"is reached through a link; name {os.path.realpath(named)}")
    try:
        for place in reversed(folder.parents):
            _check(place, place.lstat(), sticky=True)
        _check(folder, folder.lstat())
        for seen, entry in enumerate(_entries(named)):
            if seen >= ENTRIES_MAX:
                raise FolderRefused(f"holds more than {ENTRIES_MAX} files")
            _check(Path(entry.path), entry.stat(follow_symlinks=False))
    except OSError as error:
        raise FolderRefused(f"cannot be read: {error.filename}: {error.strerror}") from None
    sys.path.append(named)


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        for entry in found:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path)


def _check(path: Path, found: os.stat_result, sticky: bool = False) -> None:
    """Refuse what others can change. Of a folder above, it is enough that others cannot rename what is in it
    (``sticky``, inode(7)), as in /tmp. Raises FolderRefused.
    """
    if stat.S_ISLNK(found.st_mode):
        raise FolderRefused(f"holds a link: {path}")
    if found.st_uid not in (0, os.geteuid()):
        raise FolderRefused(f"can be changed by another user than root and you: {path} is owned by user {found.st_uid}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (sticky and found.st_mode & stat.S_ISVTX):
        raise FolderRefused(f"can be changed by others: {path} has mode {stat.S_IMODE(found.st_mode):04o}")
