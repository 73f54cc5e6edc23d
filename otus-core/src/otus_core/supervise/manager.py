"""The daemon's tasks: created, kept running, deleted, kept on disk and brought back.

In: task configurations as plain data. Out: states and counters. One task's failure stops neither the others nor the
daemon. Raises the TaskError family and ConfigInvalid.

How each of them is kept running is the matter of ``keeping``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import attrs

from otus_core.errors import OtusError, TaskAlreadyExists, TaskNotFound, TaskStartFailed
from otus_core.log import Logger
from otus_core.pipeline.leftover import Leftover, discard
from otus_core.supervise.entry import Task
from otus_core.supervise.keeping import TaskKeeping
from otus_core.supervise.leftovers import find_leftovers
from otus_core.supervise.store import StoredTask
from otus_core.task.check import check_filter
from otus_core.task.config import load_task, unwrap
from otus_core.task.inherit import file_stamps, without_defaults
from otus_core.task.spec import TaskConfig
from otus_core.task.state import ACTIVE

log = Logger("otus.task")

HISTORY_SHOWN = 100
"""As many as are kept unless the configuration says otherwise (``task_persistence.max_task_history``)."""
NOT_STARTED = "task_persistence.auto_restart is off; otus task start starts it"
T = TypeVar("T")


class TaskManager(TaskKeeping):
    """Every task of this daemon, by id."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._under_way: set[asyncio.Task[Any]] = set()
        self.leftovers: list[Leftover] = []

    async def create(self, data: Any, origin: str = "") -> str:
        """Check, store and start a task; gives its id.

        A task whose first start fails is refused: it is history, with the reason.

        Raises ConfigInvalid, TaskAlreadyExists, TaskStartFailed, and OtusError when it cannot be stored.
        """
        asked = unwrap(data)
        config = self._check(asked)
        await asyncio.to_thread(check_filter, config)  # host names in it are looked up, which may take its time
        return await self._to_its_end(self._create(asked, config, origin))

    async def delete(self, task_id: str, *, discard_spools: bool = False) -> list[Leftover]:
        """Stop a task and make it history; gives what stays on disk in its spools, or is discarded from there on
        request.

        Raises TaskNotFound, and OtusError when the disk refuses: then the task goes on as before, unless it is the
        spool that cannot be discarded.
        """
        return await self._to_its_end(self._delete(task_id, discard_spools))

    async def adopt(self, data: Mapping[str, Any], origin: str) -> None:
        """Keep a task as a file declares it, in the place of a task of its id that was not started yet.

        It is not started, nor looked into: what is wrong with it shows when it starts. Raises ConfigInvalid for one
        that holds a secret, which would lie on the disk, and OtusError when it cannot be stored.
        """
        known = self._tasks.get(data["id"])
        if known is not None and (known.unusable or known.stored.config == data and known.stored.origin == origin):
            return
        self._refuse_secrets(data)
        fresh = StoredTask(id=data["id"], config=data, created_ns=time.time_ns(), origin=origin)
        stored = fresh if known is None else attrs.evolve(known.stored, config=data, origin=origin)
        task = Task(stored=stored)
        self._tasks[stored.id] = task  # before the disk has it: its id is taken from now on
        try:
            await self._save(task)
        except OtusError:
            if known is not None:
                self._tasks[stored.id] = known
            else:
                del self._tasks[stored.id]
            raise

    async def change(self, data: Mapping[str, Any], origin: str) -> bool:
        """Have a task run as ``data`` says from now on; says whether that is anything new.

        A live source is captured without a gap.

        A change that cannot be started is undone. Raises ConfigInvalid, TaskNotFound, TaskStartFailed, OtusError.
        """
        config = self._check(data)
        await asyncio.to_thread(check_filter, config)
        return await self._to_its_end(self._change(self.get(config.id), data, origin))

    async def start(self, task_id: str) -> None:
        """Start a task that is kept without running, at once.

        Raises TaskNotFound, TaskStartFailed; it then is tried again like any other.
        """
        await self._to_its_end(self._start_kept(task_id))

    def restore(self) -> None:
        """Take over what was kept on disk, without starting it: afterwards every id is known.

        Raises OtusError when there is no place for tasks.
        """
        if self._store is None:
            return
        try:
            self._store.prepare()
        except OSError as error:
            raise OtusError(f"data_dir: {self._store.folder} cannot be used: {error}") from error
        self._ended = self._store.history()
        for stored in self._store.load():
            if stored.id in self._store.older:
                stored = attrs.evolve(stored, config=without_defaults(stored.config, self._defaults()))
            self._tasks[stored.id] = Task(stored=attrs.evolve(stored, state="created", reason=""))
        for task_id, reason in self._store.newer.items():
            stored = StoredTask(id=task_id, config={}, state="failed", reason=reason)
            self._tasks[task_id] = Task(stored=stored, unusable=reason)

    async def start_restored(self, *, start: bool, within: float) -> None:
        """Start what was restored, each task on its own, or show it as stopped.

        Waits for the first starts, at most ``within`` seconds.
        """
        restored = [task for task in self._tasks.values() if task.state == "created" and task.keeper is None]
        for task in restored:
            if start:
                self._engage(task)
            else:
                self._set(task, "stopped", reason=NOT_STARTED)
        if start and restored:
            # Not gather(): a start that takes longer goes on, and the daemon is ready without it.
            await asyncio.wait([task.attempt for task in restored], timeout=within)

    def set_log_level(self, level: str) -> None:
        """Have the workers of all tasks log from this level on."""
        for task in self._tasks.values():
            if task.supervisor is not None:
                task.supervisor.set_log_level(level)

    def renew(self) -> list[str]:
        """Take a changed configuration up: failed tasks are tried at once, and live ones that run with other settings
        are started anew. Gives their ids.

        A task whose source has an end is left to finish: started anew, it would report the same packets again.
        """
        return sorted(task.stored.id for task in self._tasks.values() if self._is_outdated(task) and task.restart())

    async def close(self) -> None:
        """Stop all tasks; they stay wanted and come back with the daemon."""
        self._closing = True
        await asyncio.gather(*(self._close(task) for task in list(self._tasks.values())))
        await self._writing.close()

    def get(self, task_id: str) -> Task:
        """Give one task. Raises TaskNotFound."""
        task = self._tasks.get(task_id)
        if task is None:
            raise TaskNotFound(f"there is no task {task_id!r}")
        return task

    def has_done(self, data: Mapping[str, Any]) -> bool:
        """Whether the last that is known of this very task is that its source came to its end: a file that was read
        need not be read again.
        """
        last = next(iter(self.list_ended(data.get("id"))), None)
        return last is not None and (last.config, last.state, last.reason) == (data, "stopped", "")

    def list_ended(self, task_id: str | None = None) -> list[StoredTask]:
        """Give ended tasks, the newest first."""
        return [stored for stored in self._ended if task_id is None or stored.id == task_id][:HISTORY_SHOWN]

    def sample(self) -> None:
        """Look at the buffers' fill levels: above the high watermark a task is degraded, until it is
        below the low one.
        """
        for task in self._tasks.values():
            level = task.fill()
            was = task.degraded
            task.degraded = level >= (self.limits.low_watermark if was else self.limits.high_watermark)
            if task.degraded != was:
                event = "task_degraded" if task.degraded else "task_recovered"
                log.warning(event, task=task.stored.id, filled=round(level, 3))

    async def _create(self, asked: dict[str, Any], config: TaskConfig, origin: str) -> str:
        if config.id in self._tasks:
            raise TaskAlreadyExists(f"task {config.id!r} exists already")
        self._admit(config)
        task = Task(stored=StoredTask(id=config.id, config=asked, created_ns=time.time_ns(), origin=origin))
        self._tasks[config.id] = task  # before the disk has it: its id is taken from now on
        async with task.lock:
            try:
                await self._save(task)
            except OtusError:
                del self._tasks[config.id]
                raise
            self._engage(task)
        if reason := await task.attempt:
            async with task.lock:
                await self._halt(task, reason)
                if self._is_there(task):
                    await self._end(task, "failed", reason)
            raise TaskStartFailed(reason)
        return config.id

    async def _change(self, task: Task, data: Mapping[str, Any], origin: str) -> bool:
        async with task.lock:
            if not self._is_there(task):  # deleted, or at its end, while this waited for its turn
                raise TaskNotFound(f"there is no task {task.stored.id!r}")
            before = task.stored
            is_new = before.config != data
            if task.unusable:
                raise OtusError(f"task {before.id!r} cannot be changed: {task.unusable}")
            if is_new or before.origin != origin:
                await self._save(task, config=data, origin=origin)
            if is_new or task.state not in ACTIVE:
                if not task.restart():
                    self._engage(task)
                if reason := await task.attempt:
                    await self._save(task, config=before.config, origin=before.origin)
                    # The change was stored first, so that a crash in between starts what was asked for last; now it is
                    # undone.
                    if is_new and task.state != "running":
                        task.restart()  # as it was before; a live run that could overlap was not touched
                    raise TaskStartFailed(reason)
            return is_new

    async def look_for_leftovers(self) -> None:
        """See which spools of tasks that are gone still hold messages; each is logged when it is found."""
        gone, wanted = [stored.config for stored in self._ended], [task.stored.config for task in self._tasks.values()]
        found = await asyncio.to_thread(find_leftovers, gone, wanted)
        known = {one.path for one in self.leftovers}
        for one in found:
            if one.path not in known:
                log.warning("spool_left_behind", path=one.path, messages=one.messages, bytes=one.bytes)
        self.leftovers = found

    async def _spools_of(self, task: Task, discard_spools: bool) -> list[Leftover]:
        others = [other.stored.config for other in self._tasks.values()]
        found = await asyncio.to_thread(find_leftovers, [task.stored.config], others)
        if discard_spools:
            for one in found:
                await asyncio.to_thread(discard, one.path)
                log.warning("spool_discarded", path=one.path, messages=one.messages, bytes=one.bytes)
        return found

    async def _delete(self, task_id: str, discard_spools: bool) -> list[Leftover]:
        task = self.get(task_id)
        async with task.lock:
            if not self._is_there(task):  # somebody else was faster
                raise TaskNotFound(f"there is no task {task_id!r}")
            if task.unusable:
                raise OtusError(f"task {task_id!r} cannot be deleted: {task.unusable}")
            await self._save(task, wanted="stopped")  # first of all: a crash from here on does not bring it back
            await self._halt(task, f"task {task_id!r} has been deleted")
            if self._is_there(task):  # else it came to its end by itself in this moment
                if task.state != "stopping":
                    self._set(task, "stopping", save=False)
                await self._end(task, "stopped", "deleted")
        found = await self._spools_of(task, discard_spools)
        await self.look_for_leftovers()
        return found

    async def _start_kept(self, task_id: str) -> None:
        task = self.get(task_id)
        if task.unusable:
            raise TaskStartFailed(f"task {task_id!r} cannot be started: {task.unusable}")
        if task.state == "running":
            return
        if task.keeper is None:
            self._engage(task)
        elif task.state == "failed":
            task.restart()
        if reason := await task.attempt:
            raise TaskStartFailed(reason)

    async def _close(self, task: Task) -> None:
        async with task.lock:
            await self._halt(task, "the daemon is stopping")
            if self._is_there(task) and task.state in (*ACTIVE, "created"):
                if task.state != "stopping":
                    self._set(task, "stopping", save=False)
                self._set(task, "stopped")

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that must not stop halfway, also when whoever asked for it is gone."""
        doing = asyncio.create_task(work)
        self._under_way.add(doing)
        doing.add_done_callback(self._done)
        return await asyncio.shield(doing)

    def _done(self, doing: asyncio.Task[Any]) -> None:
        self._under_way.discard(doing)
        if not doing.cancelled():
            doing.exception()  # has been seen, by the caller or by nobody: the task's history tells it

    def _is_outdated(self, task: Task) -> bool:
        """Whether a reload concerns a task: it waits for its next try, or runs with settings that are not those in
        force.
        """
        if task.state == "failed":
            return True
        if task.state not in ("starting", "running") or task.config is None or not task.config.capture.declaration.live:
            return False
        try:
            fresh = load_task(task.stored.config, self._registry, self._defaults()).source
            return fresh != task.config.source or file_stamps(fresh) != task.stamps
        except OtusError as error:
            log.error("task_not_renewed", task=task.stored.id, error=str(error))
            return False
