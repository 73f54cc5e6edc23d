"""Task files as they lie in a folder, or one by one.

In: a file, or a folder whose ``*.yaml``, ``*.yml`` and ``*.json`` are task files, hidden ones left out. Out: the tasks
in them, not yet validated, each with its file, and what is wrong with the other files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from otus_core.errors import ConfigInvalid, ConfigProblem
from otus_core.model.text import printable
from otus_core.task.config import read_task_file
from otus_core.task.state import TASK_ID
from otus_core.values import frozen

SUFFIXES = (".yaml", ".yml", ".json")
FILES_MAX = 1000
"""Of one folder: a node runs a handful of tasks, and a folder given by mistake may hold anything."""


@frozen
class TaskFile:
    """One task as a file has it, not yet validated."""

    path: Path
    id: str
    data: dict[str, Any]


def list_task_files(path: Path) -> list[Path]:
    """Give the task files that a path means, in the order of their names. Raises ConfigInvalid."""
    if not path.is_dir():
        return [path]
    try:
        # Hidden ones are left out: editors and copying programs write there what is not whole yet.
        names = sorted(name for name in os.listdir(path) if name.endswith(SUFFIXES) and not name.startswith("."))
    except OSError as error:
        raise ConfigInvalid(f"cannot be read: {error.strerror or error}", str(path)) from None
    if len(names) > FILES_MAX:
        raise ConfigInvalid(f"holds {len(names)} task files; at most {FILES_MAX} are read", str(path))
    return [path / name for name in names]


def read_task_files(paths: Iterable[Path]) -> tuple[list[TaskFile], list[ConfigProblem]]:
    """Read every file; gives the tasks, and what is wrong in other files, two tasks of one id included."""
    found: dict[str, TaskFile] = {}
    problems: list[ConfigProblem] = []
    for path in paths:
        try:
            data = read_task_file(path)
        except ConfigInvalid as error:
            problems += [ConfigProblem(str(path), str(problem)) for problem in error.problems]
            continue
        task_id = data.get("id")
        if not isinstance(task_id, str):
            problems.append(ConfigProblem(str(path), "id: is required, a text"))
        elif not TASK_ID.match(task_id):
            problems.append(ConfigProblem(str(path), f"id: {printable(task_id, 80)!r} cannot be the name of a task"))
        elif task_id in found:
            problems.append(ConfigProblem(str(path), f"id: {task_id!r} is the task of {found[task_id].path} already"))
        else:
            found[task_id] = TaskFile(path, task_id, data)
    return list(found.values()), problems
