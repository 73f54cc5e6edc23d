"""Tasks that files declare: ``otus task apply``, and the folder that the daemon reads at start and at each reload.

In: task files. Out: what was done for each. What somebody created by a command is never deleted here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from otus_core.config.daemon import DaemonConfig
from otus_core.errors import ConfigInvalid, ConfigProblem, OtusError
from otus_core.log import Logger
from otus_core.supervise.manager import TaskManager
from otus_core.task.config import unwrap
from otus_core.task.files import TaskFile, list_task_files, read_task_files

log = Logger("otus.task")

APPLY, FOLDER = "apply", "tasks.d"
"""Origins of tasks."""
GONE = "is no folder; its tasks go on as they were (an empty folder would delete them)"
Applied = Literal["created", "changed", "unchanged"]


async def apply_task(manager: TaskManager, data: Mapping[str, Any], origin: str = APPLY) -> tuple[str, Applied]:
    """Create a task, or change the one of its id if it differs; gives its id and which it was.

    Raises what ``create`` and ``change`` raise.
    """
    asked = unwrap(data)
    if asked.get("id") in manager.tasks:
        changed = await manager.change(asked, origin)
        return str(asked["id"]), "changed" if changed else "unchanged"
    if manager.has_done(asked):
        return str(asked["id"]), "unchanged"
    return await manager.create(asked, origin), "created"


async def delete_others(manager: TaskManager, keep: Collection[str], origin: str = APPLY) -> list[str]:
    """Delete the tasks of an origin that are not among these ids; gives those that were deleted.

    Raises OtusError at the first that cannot be.
    """
    others = [
        task_id for task_id, task in manager.tasks.items() if task.stored.origin == origin and task_id not in keep
    ]
    for task_id in sorted(others):
        await manager.delete(task_id)
    return sorted(others)


class TaskFolder:
    """The folder of task files that a daemon keeps its tasks to: ``tasks_dir``, else ``tasks.d`` beside its
    configuration file. One pass at a time.
    """

    def __init__(self, manager: TaskManager, configuration: Path | None) -> None:
        self._manager = manager
        self._beside = None if configuration is None else Path(configuration).parent / FOLDER
        self._passing = asyncio.Lock()
        self.refused: list[ConfigProblem] = []
        """What was wrong with files when the folder was last read."""

    async def adopt(self, config: DaemonConfig) -> None:
        """At start: keep what the folder declares, before any task is started.

        A file that is wrong leaves its task as it was, and is logged.
        """
        files, problems = await self._read(self._folder(config))
        for file in files:
            try:
                if not self._manager.has_done(file.data):
                    await self._manager.adopt(file.data, FOLDER)
            except OtusError as error:
                problems.append(ConfigProblem(str(file.path), str(error)))
        self._tell(problems)

    async def apply(self, config: DaemonConfig) -> dict[str, Any]:
        """At a reload, and after the start: bring the tasks to what the folder declares; gives what was done by task
        id, and which files are refused.

        Tasks whose file is gone are deleted, unless a file cannot be read, which may be theirs, or the whole folder is
        gone, as when what it lies on was not mounted.
        """
        async with self._passing:
            folder = self._folder(config)
            files, problems = await self._read(folder)
            gone = not problems
            done: dict[str, str] = {}
            for file in files:
                try:
                    done[file.id] = await _apply_file(self._manager, file)
                except OtusError as error:
                    problems += [ConfigProblem(str(file.path), line) for line in str(error).splitlines()]
            if gone:
                try:
                    deleted = await delete_others(self._manager, {file.id for file in files}, FOLDER)
                    done |= dict.fromkeys(deleted, "deleted")
                except OtusError as error:
                    problems.append(ConfigProblem(str(folder), str(error)))
        self._tell(problems)
        applied = {task_id: what for task_id, what in done.items() if what != "unchanged"}
        return {"tasks_applied": applied, "task_files_refused": [str(problem) for problem in problems]}

    async def _read(self, folder: Path | None) -> tuple[list[TaskFile], list[ConfigProblem]]:
        if folder is None:
            return [], []
        if not await asyncio.to_thread(os.path.isdir, folder):
            return [], [ConfigProblem(str(folder), GONE)] if self._is_missed(folder) else []
        return await asyncio.to_thread(_read, folder)

    def _is_missed(self, folder: Path) -> bool:
        """Whether a folder that is not there should be: the configuration names it, or tasks came from it."""
        return folder != self._beside or any(task.stored.origin == FOLDER for task in self._manager.tasks.values())

    def _tell(self, problems: list[ConfigProblem]) -> None:
        """Log what is wrong with task files, and remember it for whoever asks how the node is."""
        self.refused = problems
        for problem in problems:
            log.error("task_file_refused", file=problem.path, error=problem.message)

    def _folder(self, config: DaemonConfig) -> Path | None:
        return Path(config.tasks_dir) if config.tasks_dir else self._beside


async def _apply_file(manager: TaskManager, file: TaskFile) -> Applied:
    """Apply one file of the folder.

    A new task that cannot start stays, and is tried again: its file says that it is wanted.
    """
    if file.id in manager.tasks or manager.has_done(file.data):
        return (await apply_task(manager, file.data, FOLDER))[1]
    await manager.adopt(file.data, FOLDER)
    await manager.start(file.id)
    return "created"


def _read(folder: Path) -> tuple[list[TaskFile], list[ConfigProblem]]:
    try:
        return read_task_files(list_task_files(folder))
    except ConfigInvalid as error:
        return [], list(error.problems)
