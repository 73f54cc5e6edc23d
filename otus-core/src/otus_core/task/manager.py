"""The daemon's tasks: created, watched, deleted, kept on disk and brought back.

In: task configurations as plain data. Out: states and counters. One task's failure stops neither the others nor the daemon. Raises the TaskError family and ConfigInvalid.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import attrs

from otus_core.errors import OtusError, TaskAlreadyExists, TaskNotFound, TaskStartFailed
from otus_core.log import Logger
from otus_core.plugins.registry import Registry
from otus_core.task.check import check_filter
from otus_core.task.config import TaskConfig, TaskDefaults, load_task
from otus_core.task.state import ENDED, State, may_follow
from otus_core.task.store import StoredTask, TaskStore
from otus_core.task.supervisor import Surroundings, TaskSupervisor

log = Logger("otus.task")

HISTORY_SHOWN = 100
T = TypeVar("T")


@attrs.define(kw_only=True)
class Task:
    """One task of the daemon. ``supervisor`` is there from the start until it has ended."""

    stored: StoredTask
    config: TaskConfig | None = None
    supervisor: TaskSupervisor | None = None
    degraded: bool = False
    watcher: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """Where the task is in its life."""
        return self.stored.state


@attrs.frozen(kw_only=True)
class Limits:
    """What all tasks together may use, and when one counts as degraded (fill levels of its buffers)."""

    max_workers: int
    high_watermark: float
    low_watermark: float
    max_history: int


class TaskManager:
    """Every task of this daemon, by id."""

    def __init__(
        self,
        registry: Registry,
        store: TaskStore | None,
        surroundings: Callable[[], Surroundings],
        limits: Limits,
        defaults: Callable[[], TaskDefaults],
    ) -> None:
        self.limits = limits
        self._registry = registry
        self._store = store
        self._surroundings = surroundings
        self._defaults = defaults
        self._tasks: dict[str, Task] = {}
        self._ended: list[StoredTask] = []
        self._gate = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closing = False

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks that are not history."""
        return self._tasks

    async def create(self, data: Any) -> str:
        """Check, store and start a task; gives its id. Raises ConfigInvalid, TaskAlreadyExists, TaskStartFailed, OtusError."""
        config = load_task(data, self._registry, self._defaults())
        await asyncio.to_thread(check_filter, config)  # host names in it are looked up, which may take its time
        return await self._to_its_end(self._create(config))

    async def delete(self, task_id: str) -> None:
        """Stop a task and make it history. Raises TaskNotFound, OtusError."""
        await self._to_its_end(self._delete(task_id))

    async def _create(self, config: TaskConfig) -> str:
        async with self._gate:
            self._admit(config)
            task = Task(stored=StoredTask(id=config.id, config=config.source, created_ns=time.time_ns()), config=config)
            self._save(task)
            self._tasks[config.id] = task
            await self._start(task)
        return config.id

    async def _delete(self, task_id: str) -> None:
        async with self._gate:
            task = self.get(task_id)
            await self._stop(task)
            self._end(task, "stopped", "deleted")

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

    def get(self, task_id: str) -> Task:
        """Give one task. Raises TaskNotFound."""
        task = self._tasks.get(task_id)
        if task is None:
            raise TaskNotFound(f"there is no task {task_id!r}")
        return task

    def ended(self, task_id: str | None = None) -> list[StoredTask]:
        """Give ended tasks, the newest first."""
        return [stored for stored in self._ended if task_id is None or stored.id == task_id][:HISTORY_SHOWN]

    async def restore(self, *, start: bool) -> None:
        """Bring back what ran before, each task on its own. One that cannot start is history, with its reason. Raises OtusError when there is no place for tasks."""
        if self._store is None:
            return
        try:
            self._store.prepare()
        except OSError as error:
            raise OtusError(f"data_dir: {self._store.folder} cannot be used: {error}") from error
        self._ended = self._store.history()
        if not start:
            return
        for stored in self._store.load():
            async with self._gate:
                await self._bring_back(stored)

    async def close(self) -> None:
        """Stop all tasks; they stay wanted and come back with the daemon."""
        self._closing = True
        async with self._gate:
            await asyncio.gather(*(self._stop(task) for task in self._tasks.values()))
            for task in self._tasks.values():
                if may_follow(task.state, "stopped"):
                    self._set(task, "stopped")

    def prune(self) -> None:
        """Keep the history within its bound."""
        del self._ended[self.limits.max_history :]
        if self._store is not None:
            try:
                self._store.prune(self.limits.max_history)
            except OSError as error:
                log.warning("task_history_not_pruned", error=str(error))

    def sample(self) -> None:
        """Look at the buffers' fill levels: above the high watermark a task is degraded, until it is below the low one."""
        for task in self._tasks.values():
            if task.supervisor is None or task.config is None:
                continue
            level = _fill(task.supervisor, task.config)
            was = task.degraded
            task.degraded = level >= (self.limits.low_watermark if was else self.limits.high_watermark)
            if task.degraded != was:
                log.warning(
                    "task_degraded" if task.degraded else "task_recovered", task=task.stored.id, filled=round(level, 3)
                )

    def _admit(self, config: TaskConfig) -> None:
        if self._closing:
            raise TaskStartFailed("the daemon is stopping")
        if config.id in self._tasks:
            raise TaskAlreadyExists(f"task {config.id!r} exists already")
        running = sum(task.config.workers for task in self._tasks.values() if task.config is not None)
        if running + config.workers > self.limits.max_workers:
            raise TaskStartFailed(
                f"task {config.id!r} wants {config.workers} workers, but {running} of {self.limits.max_workers} are taken; "
                "see resources.max_workers"
            )

    async def _start(self, task: Task) -> None:
        """Start a task. Raises TaskStartFailed, after making it history."""
        assert task.config is not None
        self._set(task, "starting")
        try:
            task.supervisor = TaskSupervisor(task.config, self._surroundings())
            await task.supervisor.start()
        except TaskStartFailed as error:
            self._end(task, "failed", str(error))
            raise
        except OSError as error:  # no memory, no descriptor, no process to be had
            if task.supervisor is not None:
                await task.supervisor.stop()
            self._end(task, "failed", f"the system refuses: {error}")
            raise TaskStartFailed(f"task {task.stored.id}: the system refuses: {error}") from error
        self._set(task, "running", started_ns=time.time_ns())
        task.watcher = asyncio.create_task(self._watch(task), name=f"task:{task.stored.id}")

    async def _watch(self, task: Task) -> None:
        """A task may end by itself: its source has an end, or no worker can go on."""
        supervisor = task.supervisor
        assert supervisor is not None
        await supervisor.wait()
        await supervisor.stop()
        failed = supervisor.error or next((str(fault) for fault in supervisor.faults if fault.fatal), "")
        self._end(task, "failed" if failed else "stopped", failed)

    async def _stop(self, task: Task) -> None:
        if task.state in ENDED:
            return
        self._set(task, "stopping")
        if task.watcher is not None:
            task.watcher.cancel()
            await asyncio.gather(task.watcher, return_exceptions=True)
        if task.supervisor is not None:
            await task.supervisor.stop()

    async def _bring_back(self, stored: StoredTask) -> None:
        task = Task(stored=attrs.evolve(stored, state="created", restart_count=stored.restart_count + 1, reason=""))
        try:
            task.config = load_task(stored.config, self._registry, self._defaults())
            self._admit(task.config)
            self._tasks[stored.id] = task
            self._save(task)
            await self._start(task)
        except OtusError as error:
            log.error("task_not_restored", task=stored.id, error=str(error))
            if task.state not in ENDED:
                self._end(task, "failed", str(error))

    def _end(self, task: Task, state: State, reason: str) -> None:
        """Make a task history."""
        self._set(task, state, reason=reason, ended_ns=time.time_ns(), save=False)
        self._tasks.pop(task.stored.id, None)
        self._ended.insert(0, task.stored)
        if self._store is not None:
            try:
                self._store.finish(task.stored)
            except OSError as error:
                log.error("task_not_stored", task=task.stored.id, error=str(error))
        self.prune()

    def _set(self, task: Task, state: State, *, save: bool = True, **changes: Any) -> None:
        """Change a task's state, tell plugins, and store it."""
        old = task.state
        if not may_follow(old, state):
            raise AssertionError(f"a task cannot go from {old} to {state}")
        task.stored = attrs.evolve(task.stored, state=state, **changes)
        log.info("task_state", task=task.stored.id, old=old, new=state, reason=task.stored.reason)
        self._registry.call(
            "otus_task_state_changed", task_id=task.stored.id, old=old, new=state, reason=task.stored.reason
        )
        if save:
            try:
                self._save(task)
            except OtusError as error:
                log.error("task_not_stored", task=task.stored.id, error=str(error))

    def _save(self, task: Task) -> None:
        if self._store is None:
            return
        try:
            self._store.save(task.stored)
        except OSError as error:
            raise OtusError(f"task {task.stored.id!r} cannot be stored: {error}") from error


def _fill(supervisor: TaskSupervisor, config: TaskConfig) -> float:
    """Give the fill level of the fullest send buffer of a task, 0 to 1."""
    levels = [0.0]
    for slot in supervisor.slots:
        for spec in config.reporters:
            levels.append(slot.accounts[f"{spec.id}.queued"] / spec.capacity)
            levels.append(slot.accounts[f"{spec.id}.bytes_queued"] / spec.max_bytes)
    return max(levels)
