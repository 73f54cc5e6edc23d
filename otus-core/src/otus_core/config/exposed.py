"""Files that hold secrets and can be read by more than the user that they are for.

In: configurations as plain data, with and without their secrets covered. Out: warnings, each with the file and the keys
that are in it, never a value.
"""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from otus_core.config.mask import MASK
from otus_core.model.text import printable

KEYS_TOLD = 3
"""Keys that a warning names; how many more there are stands behind them."""


def pair_covered(masked: Any, data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give path and value of what ``mask`` covered."""
    if isinstance(masked, Mapping) and isinstance(data, Mapping):
        for key, value in masked.items():
            yield from pair_covered(value, data[key], f"{path}.{key}" if path else str(key))
    elif isinstance(masked, (list, tuple)) and isinstance(data, (list, tuple)):
        for n, (inner, value) in enumerate(zip(masked, data, strict=True)):
            yield from pair_covered(inner, value, f"{path}[{n}]")
    elif masked == MASK:
        yield path, data


def warn_of_holder(path: Path, keys: list[str]) -> list[str]:
    """Give a warning when a configuration file holds these secrets and others can read it."""
    readers = readers_of(path) if keys else ""
    if not readers:
        return []
    more = f" and {len(keys) - KEYS_TOLD} more" if len(keys) > KEYS_TOLD else ""
    return [_warning(str(path), f"holds {', '.join(keys[:KEYS_TOLD])}{more}", readers)]


def warn_of_files(files: Iterator[tuple[str, Any]]) -> list[str]:
    """Give a warning for each key that names a file of secrets which others can read."""
    found = [(key, name, readers_of(name)) for key, name in files if isinstance(name, str)]
    return [_warning(name, f"is {key}", readers) for key, name, readers in found if readers]


def readers_of(path: Path | str) -> str:
    """Say who beside its owner can read a file; empty when nobody can, or it is not there.

    A file of root's that is open to a group other than root's has been given to that group on purpose: it is how a
    service that cannot be the owner reads its configuration (``root:otus 0640``, a mounted Kubernetes secret).
    """
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return ""
    if not stat.S_ISREG(about.st_mode):
        return ""
    if about.st_mode & stat.S_IROTH:
        return "everybody"
    if about.st_mode & stat.S_IRGRP and (about.st_uid or not about.st_gid):
        return f"the group {_name(about.st_gid)}"
    return ""


def _name(group: int) -> str:
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


def _warning(path: str, what: str, readers: str) -> str:
    return (
        f"{printable(path, 200)} {what} and can be read by {readers}: give it to the daemon's user alone (chown, "
        "chmod 600)"
    )
