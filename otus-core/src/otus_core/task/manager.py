"""The daemon's tasks: created, kept running, deleted, kept on disk and brought back.

In: task configurations as plain data. Out: states and counters. One task's failure stops neither the others nor the daemon. Raises the TaskError family and ConfigInvalid.

A task that was accepted is *wanted* until somebody deletes it or its source comes to its end. Each wanted task has a keeper, an asyncio task that starts it, waits for its end
and tries again what failed. Nobody else starts a task's workers, and they are stopped only by the keeper, or after it has been cancelled.
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
from otus_core.task.config import TaskConfig, load_task, unwrap
from otus_core.task.entry import Task, pauses_between_starts
from otus_core.task.inherit import TaskDefaults, file_stamps, without_defaults
from otus_core.task.secrets import mask_task, refuse_secrets
from otus_core.task.state import ACTIVE, State, may_follow
from otus_core.task.store import StoredTask, TaskStore
from otus_core.task.supervisor import TaskSupervisor
from otus_core.task.surroundings import Surroundings

log = Logger("otus.task")

HISTORY_SHOWN = 100
STABLE_AFTER_S = 60.0
"""A task that ran for so long before it failed begins with the shortest pause again."""
NOT_STARTED = "task_persistence.auto_restart is off; otus task start starts it"
T = TypeVar("T")


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
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closing = False

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks that are not history."""
        return self._tasks

    async def create(self, data: Any) -> str:
        """Check, store and start a task; gives its id. A task whose first start fails is refused: it is history, with the reason.

        Raises ConfigInvalid, TaskAlreadyExists, TaskStartFailed, and OtusError when it cannot be stored.
        """
        asked = unwrap(data)
        config = load_task(asked, self._registry, self._defaults())
        if self._store is not None:
            refuse_secrets(asked, self._registry)
        await asyncio.to_thread(check_filter, config)  # host names in it are looked up, which may take its time
        return await self._to_its_end(self._create(asked, config))

    async def delete(self, task_id: str) -> None:
        """Stop a task and make it history. Raises TaskNotFound, and OtusError when the disk refuses: then the task goes on as before."""
        await self._to_its_end(self._delete(task_id))

    async def start(self, task_id: str) -> None:
        """Start a task that is kept without running, at once. Raises TaskNotFound, TaskStartFailed; it then is tried again like any other."""
        await self._to_its_end(self._start_kept(task_id))

    def restore(self) -> None:
        """Take over what was kept on disk, without starting it: afterwards every id is known. Raises OtusError when there is no place for tasks."""
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
        """Start what was restored, each task on its own, or show it as stopped. Waits for the first starts, at most ``within`` seconds."""
        restored = [task for task in self._tasks.values() if task.state == "created" and task.keeper is None]
        for task in restored:
            if start:
                self._engage(task)
            else:
                self._set(task, "stopped", reason=NOT_STARTED)
        if start and restored:
            await asyncio.wait([task.attempt for task in restored], timeout=within)

    def renew(self) -> list[str]:
        """Take a changed configuration up: failed tasks are tried at once, and live ones that run with other settings are started anew. Gives their ids.

        A task whose source has an end is left to finish: started anew, it would report the same packets again.
        """
        return sorted(task.stored.id for task in self._tasks.values() if self._is_outdated(task) and task.restart())

    async def close(self) -> None:
        """Stop all tasks; they stay wanted and come back with the daemon."""
        self._closing = True
        await asyncio.gather(*(self._close(task) for task in list(self._tasks.values())))

    def get(self, task_id: str) -> Task:
        """Give one task. Raises TaskNotFound."""
        task = self._tasks.get(task_id)
        if task is None:
            raise TaskNotFound(f"there is no task {task_id!r}")
        return task

    def ended(self, task_id: str | None = None) -> list[StoredTask]:
        """Give ended tasks, the newest first."""
        return [stored for stored in self._ended if task_id is None or stored.id == task_id][:HISTORY_SHOWN]

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
            level = task.fill()
            was = task.degraded
            task.degraded = level >= (self.limits.low_watermark if was else self.limits.high_watermark)
            if task.degraded != was:
                event = "task_degraded" if task.degraded else "task_recovered"
                log.warning(event, task=task.stored.id, filled=round(level, 3))

    async def _create(self, asked: dict[str, Any], config: TaskConfig) -> str:
        if config.id in self._tasks:
            raise TaskAlreadyExists(f"task {config.id!r} exists already")
        self._admit(config)
        task = Task(stored=StoredTask(id=config.id, config=asked, created_ns=time.time_ns()))
        self._save(task)
        self._tasks[config.id] = task
        self._engage(task)
        if reason := await task.attempt:
            async with task.lock:
                await self._halt(task, reason)
                if self._is_there(task):
                    self._end(task, "failed", reason)
            raise TaskStartFailed(reason)
        return config.id

    async def _delete(self, task_id: str) -> None:
        task = self.get(task_id)
        async with task.lock:
            if not self._is_there(task):  # somebody else was faster
                raise TaskNotFound(f"there is no task {task_id!r}")
            if task.unusable:
                raise OtusError(f"task {task_id!r} cannot be deleted: {task.unusable}")
            self._save(task, wanted="stopped")  # first of all: a crash from here on does not bring it back
            task.stored = attrs.evolve(task.stored, wanted="stopped")
            await self._halt(task, f"task {task_id!r} has been deleted")
            if self._is_there(task):  # else it came to its end by itself in this moment
                if task.state != "stopping":
                    self._set(task, "stopping", save=False)
                self._end(task, "stopped", "deleted")

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

    def _is_there(self, task: Task) -> bool:
        """Whether this very task is one of the daemon's: its id may be another one's by now."""
        return self._tasks.get(task.stored.id) is task

    def _admit(self, config: TaskConfig) -> None:
        """See to it that a task may have its workers. Raises TaskStartFailed."""
        if self._closing:
            raise TaskStartFailed("the daemon is stopping")
        others = (task for task in self._tasks.values() if task.stored.id != config.id and task.state in ACTIVE)
        running = sum(task.config.workers for task in others if task.config is not None)
        if running + config.workers > self.limits.max_workers:
            raise TaskStartFailed(
                f"task {config.id!r} wants {config.workers} workers, but {running} of {self.limits.max_workers} are taken; "
                "see resources.max_workers"
            )

    def _engage(self, task: Task) -> None:
        """Give a task its keeper."""
        task.expect()
        task.keeper = asyncio.create_task(self._keep(task), name=f"task:{task.stored.id}")

    async def _halt(self, task: Task, reason: str) -> None:
        """Stop a task's keeper, then its workers. Whoever waits for a start is told the reason."""
        if task.keeper is not None:
            task.keeper.cancel()
            await asyncio.gather(task.keeper, return_exceptions=True)
            task.keeper = None
        task.conclude(reason)
        task.next_try_ns = 0
        if task.supervisor is not None:
            await task.supervisor.stop()

    async def _keep(self, task: Task) -> None:
        """Have a task run for as long as it is wanted. Ends when its source has come to its end, or by cancellation."""
        pauses = pauses_between_starts()
        while True:
            task.wake.clear()
            task.expect()
            try:
                await self._start(task)
                task.conclude("")
                begun = time.monotonic()
                reason = await self._wait_for_end(task)
                if reason is None:  # to be started anew
                    continue
                assert task.config is not None
                if not (reason and task.config.capture.declaration.live):
                    self._end(task, "failed" if reason else "stopped", reason)
                    return
                if time.monotonic() - begun > STABLE_AFTER_S:
                    pauses = pauses_between_starts()
            except OtusError as error:
                reason = str(error)
            except Exception as error:  # a fault of our own must not end the keeper: the task would be forgotten
                log.exception("task_keeper_failed", task=task.stored.id)
                reason = f"internal error: {type(error).__name__}"
            await self._wait_to_try_again(task, reason, next(pauses))

    async def _start(self, task: Task) -> None:
        """Start a task as it was asked for, with the defaults that are in force now. Raises OtusError."""
        config = load_task(task.stored.config, self._registry, self._defaults())
        if self._store is not None:
            refuse_secrets(task.stored.config, self._registry)
        self._admit(config)
        task.config, task.stamps = config, file_stamps(config.source)
        again = bool(task.stored.started_ns) or task.state == "failed"
        self._set(task, "starting", reason="", restart_count=task.stored.restart_count + again)
        task.supervisor = None
        try:
            task.supervisor = TaskSupervisor(config, self._surroundings())
            await task.supervisor.start()
        except OSError as error:  # no memory, no descriptor, no process to be had
            if task.supervisor is not None:
                await task.supervisor.stop()
            raise TaskStartFailed(f"task {task.stored.id}: the system refuses: {error}") from error
        self._set(task, "running", started_ns=time.time_ns())

    async def _wait_for_end(self, task: Task) -> str | None:
        """Wait until a task that runs has ended by itself; gives why it failed, or empty. ``None`` when it was woken to be started anew, and has been stopped."""
        supervisor = task.supervisor
        assert supervisor is not None
        waiting = [asyncio.ensure_future(supervisor.wait()), asyncio.ensure_future(task.wake.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            has_ended = waiting[0].done()
        finally:
            for one in waiting:
                one.cancel()
        if has_ended:
            await supervisor.stop()
            return task.failure()
        log.info("task_renewed", task=task.stored.id)
        self._set(task, "stopping")
        await supervisor.stop()
        return None

    async def _wait_to_try_again(self, task: Task, reason: str, pause: float) -> None:
        """Show a task as failed, and wait: for the pause, or until somebody wants it started now."""
        self._set(task, "failed", reason=reason)
        task.conclude(reason)
        task.next_try_ns = time.time_ns() + int(pause * 1e9)
        try:
            async with asyncio.timeout(pause):
                await task.wake.wait()
        except TimeoutError:
            pass
        task.next_try_ns = 0

    def _is_outdated(self, task: Task) -> bool:
        """Whether a reload concerns a task: it waits for its next try, or runs with settings that are not those in force."""
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

    def _end(self, task: Task, state: State, reason: str) -> None:
        """Make a task history."""
        told = mask_task(task.stored.config, self._registry)
        self._set(task, state, reason=reason, ended_ns=time.time_ns(), wanted="stopped", config=told, save=False)
        if self._is_there(task):
            del self._tasks[task.stored.id]
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
        if old != state:
            self._tell(task, old)
        if save:
            try:
                self._save(task)
            except OtusError as error:
                log.error("task_not_stored", task=task.stored.id, error=str(error))

    def _tell(self, task: Task, old: State) -> None:
        now = task.stored
        write = log.error if now.state == "failed" else log.info
        write("task_state", task=now.id, old=old, new=now.state, reason=now.reason)
        self._registry.call("otus_task_state_changed", task_id=now.id, old=old, new=now.state, reason=now.reason)

    def _save(self, task: Task, **changes: Any) -> None:
        if self._store is None:
            return
        try:
            self._store.save(attrs.evolve(task.stored, **changes))
        except OSError as error:
            raise OtusError(f"task {task.stored.id!r} cannot be stored: {error}") from error
