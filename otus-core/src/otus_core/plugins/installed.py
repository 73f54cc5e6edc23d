"""What is installed, read from the folders on ``sys.path``: each distribution's files of metadata, and the entry points
of our group.

importlib_metadata does the same for any finder and any group. Importing it takes a tenth of a short command, so it is
asked only about what is no folder of metadata: archives and eggs.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import reduce
from importlib import import_module
from typing import Any, NamedTuple

from otus_core.hookspecs import ENTRY_POINT_GROUP

ENDINGS = (".dist-info", ".egg-info")
FILE_OF_ENTRIES = "entry_points.txt"
# Entry points specification: a module, an object in it, and extras, which mean nothing any more.
OBJECT = re.compile(r"([\w.]+)\s*(?::\s*([\w.]+)\s*)?(?:\[.*\]\s*)?$")


class Distribution:
    """An installed distribution, by the folder of its metadata."""

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def requires(self) -> list[str]:
        """What an egg requires, which it says in a form of its own."""
        import importlib_metadata

        return list(importlib_metadata.Distribution.at(self._path).requires or ())

    def read_text(self, name: str) -> str | None:
        """Give the text of a file, ``None`` where there is none that can be read. Raises UnicodeDecodeError."""
        try:
            with open(os.path.join(self._path, name), encoding="utf-8") as file:
                return file.read()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
            return None


class Entry(NamedTuple):
    """An entry point of our group. ``dist`` is a Distribution, here or of importlib_metadata."""

    name: str
    value: str
    dist: Any

    @property
    def module(self) -> str:
        """The module that is imported for it. Raises ValueError."""
        return self._parts()[0]

    def load(self) -> Any:
        """Import it. Raises ValueError for what names no object, and whatever importing raises."""
        module, attribute = self._parts()
        return reduce(getattr, filter(None, attribute.split(".")), import_module(module))

    def _parts(self) -> tuple[str, str]:
        named = OBJECT.match(self.value)
        if named is None:
            raise ValueError(f"{self.value!r} names no object: package.module:name does")
        return named[1], named[2] or ""


def distributions() -> Iterator[Any]:
    """Give what is installed, in the order of ``sys.path``."""
    for folder in sys.path:
        folder = folder or "."
        try:
            names = os.listdir(folder)
        except NotADirectoryError:
            names = None
        except OSError:
            continue
        if names is None or folder.lower().endswith(".egg"):
            import importlib_metadata

            yield from importlib_metadata.distributions(path=[folder])
        else:
            yield from (Distribution(os.path.join(folder, name)) for name in names if name.lower().endswith(ENDINGS))


def entries_of(dist: Any) -> list[Entry]:
    """Give a distribution's entry points of our group. Raises what reading its file raises."""
    text = dist.read_text(FILE_OF_ENTRIES) or ""
    # Looked for as text first: reading the entry points of all distributions takes several times as long.
    if ENTRY_POINT_GROUP not in text:
        return []
    found, section = [], ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[]")
        elif section and line and not line.startswith("#"):
            name, sign, value = line.partition("=")
            if not sign:
                raise ValueError(f"{line!r} has no =")
            if section == ENTRY_POINT_GROUP:
                found.append(Entry(name.strip(), value.strip(), dist))
    return found
