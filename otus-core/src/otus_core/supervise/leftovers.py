"""Messages on disk that no task will send: spools of tasks that were deleted, or that were given another spool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from otus_core.pipeline.leftover import Leftover, look


def spool_paths(task: Mapping[str, Any]) -> set[str]:
    """Give the paths of a task's spools, from its configuration as it was asked for: nothing in that need be right."""
    reporters = task.get("reporters")
    found = set()
    for entry in reporters if isinstance(reporters, (list, tuple)) else ():
        spool = entry.get("spool") if isinstance(entry, Mapping) else None
        path = spool.get("path") if isinstance(spool, Mapping) else None
        if isinstance(path, str) and path:
            found.add(path)
    return found


def find_leftovers(gone: Iterable[Mapping[str, Any]], wanted: Iterable[Mapping[str, Any]]) -> list[Leftover]:
    """Give what lies in spools of tasks that are gone and is of no task that is wanted.

    Reads folders: belongs into a thread.
    """
    taken = {path for task in wanted for path in spool_paths(task)}
    paths = {path for task in gone for path in spool_paths(task)} - taken
    return [found for found in map(look, sorted(paths)) if found is not None]
