"""Tasks on disk: one JSON file a task, written so that a crash at any step leaves the old file or the new one.

    {data_dir}/tasks/ID.json               what should run; brought back when the daemon starts
    {data_dir}/tasks/finished/ID.NS.json   history: tasks that were deleted or came to their end; NS is when, in ns
                                           since 1970
    *.corrupt                              what could not be read, set aside

The file holds the *wanted* state. A file of a newer version is left where it is: a newer Otus wrote it, and will read
it again. In: ``StoredTask``. Raises OSError when the disk refuses; then what was stored before is intact.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from otus_core.config.converter import structure
from otus_core.errors import ConfigInvalid
from otus_core.folders import make_folder, open_regular
from otus_core.log import Logger
from otus_core.task.state import TASK_ID, State
from otus_core.values import frozen

log = Logger("otus.store")

VERSION = 2
"""Version 1 held tasks with the defaults that they inherited when they were created, version 2 holds them as they were
asked for.
"""
FILE_MAX = 2 << 20
"""A task file is at most 1 MiB as YAML; more than twice that is not ours."""
FILES_MAX = 10_000
"""Of one folder: whoever can write there must not be able to keep the daemon from starting."""
FINISHED = re.compile(r"(?P<id>[A-Za-z0-9][A-Za-z0-9._-]{0,63})\.(?P<ns>\d{1,20})\.json\Z")
"""An id as ``TASK_ID`` allows it, and a time: 20 digits hold 64 bits."""


@frozen(kw_only=True)
class StoredTask:
    """What is kept of a task. Times are ns since 1970, 0 for not yet.

    ``origin`` says who declared it: ``apply`` and ``tasks.d`` may delete, when asked to, what they declared themselves;
    empty is a command.
    """

    id: str
    config: Mapping[str, Any]
    state: State = "created"
    wanted: Literal["running", "stopped"] = "running"
    created_ns: int = 0
    started_ns: int = 0
    ended_ns: int = 0
    restart_count: int = 0
    reason: str = ""
    origin: str = ""

    def to_json(self) -> bytes:
        """Give the file's content."""
        return json.dumps({"version": VERSION, **attrs.asdict(self)}, indent=1).encode() + b"\n"


class NewerVersion(ValueError):
    """A file was written by a newer Otus."""


class Disk:
    """The steps of a durable write, apart so that each can be made to fail."""

    def write(self, path: Path, data: bytes) -> None:
        """Write a new file and bring it to the disk."""
        descriptor = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        try:
            view = memoryview(data)
            while view:  # write(2) may take less than it is given
                view = view[os.write(descriptor, view) :]
            # Before the rename: else a power cut may leave the new name, and nothing in the file that has it.
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Put a file in another's place, atomically."""
        os.rename(old, new)

    def sync_folder(self, folder: Path) -> None:
        """Bring a folder's entries to the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Remove a file that may not be there."""
        path.unlink(missing_ok=True)


class TaskStore:
    """The tasks under one data folder."""

    def __init__(self, data_dir: Path, disk: Disk | None = None) -> None:
        self.folder = data_dir / "tasks"
        self.finished = self.folder / "finished"
        self._disk = Disk() if disk is None else disk
        self.set_aside: list[str] = []
        self.newer: dict[str, str] = {}
        self.older: set[str] = set()

    def prepare(self) -> None:
        """Make the folders, and remove what a crash left half-written. Raises OSError."""
        for folder in (self.folder, self.finished):
            make_folder(folder, 0o750)
        for folder in (self.folder, self.finished):
            for entry in list(folder.iterdir())[:FILES_MAX]:
                if entry.name.endswith(".tmp"):
                    self._disk.remove(entry)

    def save(self, task: StoredTask) -> None:
        """Store a task that should run. Raises OSError; then the one stored before is intact."""
        self._write(self.folder, f"{_check_id(task.id)}.json", task)

    def finish(self, task: StoredTask) -> None:
        """Move a task to the history. Raises OSError.

        Its file first says that it is not wanted any more: a crash before the move, or a failing move, does not bring
        it back.
        """
        ended = attrs.evolve(task, wanted="stopped")
        # In this order: the move may fail or not come to be, and what it says then is that nobody wants the task any
        # more.
        self.save(ended)
        self._to_history(ended)

    def load(self) -> list[StoredTask]:
        """Give the tasks that should run, by id. Files that are damaged or not ours are set aside and reported.

        ``newer`` then holds, by id, what is to be said of the files that a newer version wrote, ``older`` the ids of
        tasks that still have their defaults in them.
        """
        tasks = []
        self.newer, self.older = {}, set()
        for path in sorted(self.folder.glob("*.json"))[:FILES_MAX]:
            name = path.name.removesuffix(".json")
            try:
                task, version = _read(path, name)
            except NewerVersion as error:
                log.error("task_file_of_newer_version", file=str(path), error=str(error))
                if TASK_ID.match(name):
                    self.newer[name] = f"{path}: {error}"
                continue
            except (OSError, ValueError, RecursionError) as error:
                self._put_aside(path, error)
                continue
            if task.wanted == "running":
                tasks.append(task)
                if version < VERSION:
                    self.older.add(task.id)
                continue
            try:
                self._to_history(task)
            except OSError as error:
                log.error("task_not_moved_to_history", task=task.id, error=str(error))
        return tasks

    def history(self) -> list[StoredTask]:
        """Give the ended tasks, the newest first."""
        tasks = []
        for _, name, path in sorted(self._finished_files(), reverse=True):
            try:
                tasks.append(_read(path, name)[0])
            except (OSError, ValueError, RecursionError) as error:
                self._put_aside(path, error)
        return tasks

    def prune(self, most: int) -> int:
        """Keep the newest ``most`` ended tasks; gives how many were removed. Raises OSError."""
        old = sorted(self._finished_files(), reverse=True)[most:]
        for _, _, path in old:
            self._disk.remove(path)
        return len(old)

    def _finished_files(self) -> list[tuple[int, str, Path]]:
        found = ((FINISHED.match(path.name), path) for path in self.finished.glob("*.json"))
        return [(int(match["ns"]), match["id"], path) for match, path in found if match][:FILES_MAX]

    def _to_history(self, task: StoredTask) -> None:
        self._disk.rename(self.folder / f"{task.id}.json", self.finished / f"{task.id}.{task.ended_ns}.json")
        # The new name before the old one goes: a crash between the two leaves the task in both, and never in none.
        self._disk.sync_folder(self.finished)
        self._disk.sync_folder(self.folder)

    def _write(self, folder: Path, name: str, task: StoredTask) -> None:
        temporary = folder / f"{name}.tmp"
        try:
            self._disk.write(temporary, task.to_json())
            self._disk.rename(temporary, folder / name)
        except OSError:
            self._disk.remove(temporary)
            raise
        # A name is in the folder, not in the file: without this a power cut may bring the old file back (fsync(2)).
        self._disk.sync_folder(folder)

    def _put_aside(self, path: Path, error: BaseException) -> None:
        aside = path.with_name(path.name + ".corrupt")
        log.error("task_file_set_aside", file=str(path), error=str(error))
        self.set_aside.append(path.name)
        try:
            self._disk.rename(path, aside)
        except OSError as failed:
            log.error("task_file_not_set_aside", file=str(path), error=str(failed))


def _check_id(task_id: str) -> str:
    if not TASK_ID.match(task_id):
        raise ValueError(f"task id {task_id!r} cannot be a file name")
    return task_id


def _read(path: Path, name: str) -> tuple[StoredTask, int]:
    """Read one file; gives the task and the file's version.

    Raises OSError or ValueError that say what is wrong with it.
    """
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        data = file.read(FILE_MAX + 1)
    if len(data) > FILE_MAX:
        raise ValueError(f"larger than {FILE_MAX} bytes")
    fields = json.loads(data)
    version = fields.pop("version", None) if isinstance(fields, dict) else None
    # Before all else is looked at: the fields of a newer version may mean something else.
    if type(version) is not int or version < 1:  # to isinstance(), true is a number as well
        raise ValueError(f"not a task file of version {VERSION}")
    if version > VERSION:
        raise NewerVersion(f"was written by a newer Otus (version {version}; this one reads up to {VERSION})")
    fields.setdefault("origin", "")  # files of earlier versions lack it
    missing = [field.name for field in attrs.fields(StoredTask) if field.name not in fields]
    if missing:  # a file is whole, although the class has defaults
        raise ValueError(f"it lacks {', '.join(missing)}")
    try:
        task = structure(StoredTask, fields)
    except ConfigInvalid as error:
        raise ValueError("; ".join(map(str, error.problems))) from None
    if task.id != name or not TASK_ID.match(name):
        raise ValueError(f"it says it is task {task.id!r}")
    return task, version
