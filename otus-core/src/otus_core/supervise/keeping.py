"""How one wanted task is kept running: started, waited for, tried again, replaced, and made history.

A task that was accepted is *wanted* until somebody deletes it or its source comes to its end. Each wanted task has a
keeper, an asyncio task that starts it, waits for its end and tries again what failed. Nobody else starts a task's
workers, and they are stopped only by the keeper, or after it has been cancelled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from otus_core.chores import Chores
from otus_core.errors import ConfigInvalid, OtusError, TaskStartFailed
from otus_core.log import Logger
from otus_core.plugins.registry import Registry
from otus_core.process.messages import TaskState
from otus_core.supervise.entry import Task, pauses_between_starts
from otus_core.supervise.health import failure_of
from otus_core.supervise.store import StoredTask, TaskStore
from otus_core.supervise.successor import can_overlap, start_run
from otus_core.supervise.supervisor import TaskSupervisor
from otus_core.supervise.surroundings import Surroundings
from otus_core.supervise.writing import Writing
from otus_core.task.config import load_task
from otus_core.task.deprecated import find_deprecated
from otus_core.task.inherit import TaskDefaults, file_stamps
from otus_core.task.limits import Limits, check_room, warn_of_crowd
from otus_core.task.secrets import find_exposed_files, mask_task, refuse_secrets
from otus_core.task.sharing import sharing_warnings
from otus_core.task.spec import TaskConfig
from otus_core.task.state import ACTIVE, State, may_follow

log = Logger("otus.task")

STABLE_AFTER_S = 60.0
"""A task that ran for so long before it failed begins with the shortest pause again."""


class TaskKeeping:
    """The tasks that there are, and their keepers. ``TaskManager`` is what others talk to."""

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
        self._writing = Writing()
        self._surroundings = surroundings
        self._defaults = defaults
        self._tasks: dict[str, Task] = {}
        self._ended: list[StoredTask] = []
        self._closing = False

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks that are not history."""
        return self._tasks

    def _is_there(self, task: Task) -> bool:
        """Whether this very task is one of the daemon's: its id may be another one's by now."""
        return self._tasks.get(task.stored.id) is task

    def _check(self, data: Mapping[str, Any]) -> TaskConfig:
        """Validate a task with the defaults that are in force now; a secret in what would lie on the disk is refused.

        Raises ConfigInvalid.
        """
        config = load_task(data, self._registry, self._defaults())
        self._refuse_secrets(data)
        return config

    def _refuse_secrets(self, data: Mapping[str, Any]) -> None:
        """See to it that nothing secret is stored.

        Raises ConfigInvalid: of a task that is no task, what is wrong with it.
        """
        if self._store is None:
            return
        try:
            refuse_secrets(data, self._registry)
        except ConfigInvalid:
            # Of a plugin that is missing, every option counts as secret
            load_task(data, self._registry, self._defaults())
            raise

    def _admit(self, config: TaskConfig) -> None:
        """See to it that a task may have its workers. Raises TaskStartFailed."""
        if self._closing:
            raise TaskStartFailed("the daemon is stopping")
        check_room(config, self._others(config), self.limits)

    def _others(self, config: TaskConfig) -> list[TaskConfig]:
        """Give what runs beside a task."""
        active = (task for task in self._tasks.values() if task.stored.id != config.id and task.state in ACTIVE)
        return [task.config for task in active if task.config is not None]

    def _engage(self, task: Task) -> None:
        """Give a task its keeper."""
        task.expect()
        task.keeper = Chores()
        task.keeper.start("task:keeper", lambda: self._keep(task), task=task.stored.id)

    async def _halt(self, task: Task, reason: str) -> None:
        """Stop a task's keeper, then its workers. Whoever waits for a start is told the reason."""
        if task.keeper is not None:
            await task.keeper.stop(patiently=True)  # it may be about to stop what it had started
            task.keeper = None
        task.conclude(reason)
        task.next_try_ns = 0
        if task.supervisor is not None:
            await task.supervisor.stop()

    async def _keep(self, task: Task) -> None:
        """Have a task run for as long as it is wanted. Ends when its source has come to its end, or by cancellation."""
        pauses = pauses_between_starts()
        while True:
            try:
                supervisor = task.supervisor if task.state == "running" else None  # this keeper may be begun again
                if supervisor is None:
                    task.wake.clear()
                    task.expect()
                    supervisor = await self._start(task)
                task.conclude("")
                begun = time.monotonic()
                reason = await self._wait_for_end(task, supervisor)
                if reason is None:  # to be started anew
                    continue
                if not (reason and supervisor.config.capture.declaration.live):
                    await self._end(task, "failed" if reason else "stopped", reason)
                    return
                if time.monotonic() - begun > STABLE_AFTER_S:
                    pauses = pauses_between_starts()
            except OtusError as error:
                reason = str(error)
            except Exception as error:  # a fault of our own must not end the keeper: the task would be forgotten
                log.exception("task_keeper_failed", task=task.stored.id)
                if task.supervisor is not None:  # its workers may still run, and the next start knows nothing of them
                    await task.supervisor.stop()
                reason = f"internal error: {type(error).__name__}"
            await self._wait_to_try_again(task, reason, next(pauses))

    async def _start(self, task: Task) -> TaskSupervisor:
        """Start a task as it was asked for, with the defaults in force now; gives its run. Raises OtusError."""
        config = self._check(task.stored.config)
        self._admit(config)
        if not self.limits.max_workers:
            warn_of_crowd(config, self._others(config))
        for warning in find_exposed_files(task.stored.config, self._registry):
            log.warning("task_secret_exposed", task=config.id, message=warning)
        for warning in sharing_warnings(config):
            log.info("task_has_one_worker", task=config.id, message=warning)
        for warning in find_deprecated(config):
            log.warning("task_deprecated_component", task=config.id, message=warning)
        task.config, task.stamps = config, file_stamps(config.source)
        if task.supervisor is not None:  # a keeper that failed may have left it halfway
            await task.supervisor.stop()
        again = bool(task.stored.started_ns) or task.state == "failed"
        self._set(task, "starting", reason="", restart_count=task.stored.restart_count + again)
        task.supervisor = None
        try:
            supervisor = task.supervisor = TaskSupervisor(config, self._surroundings())
            await supervisor.start()
        except OSError as error:  # no memory, no descriptor, no process to be had
            if task.supervisor is not None:
                await task.supervisor.stop()
            raise TaskStartFailed(f"task {task.stored.id}: the system refuses: {error}") from error
        self._set(task, "running", started_ns=time.time_ns())
        return supervisor

    async def _wait_for_end(self, task: Task, supervisor: TaskSupervisor) -> str | None:
        """Wait until a task that runs has ended by itself; gives why it failed, or empty.

        ``None`` when it was woken to be started anew, and has been stopped.
        """
        while True:
            waiting = [asyncio.ensure_future(supervisor.wait()), asyncio.ensure_future(task.wake.wait())]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                has_ended = waiting[0].done()
            finally:
                for one in waiting:
                    one.cancel()
            if has_ended:
                await supervisor.stop()
                return failure_of(supervisor)
            task.wake.clear()
            going_on = await self._replace(task, supervisor)
            if going_on is None:
                return None
            supervisor = going_on

    async def _replace(self, task: Task, predecessor: TaskSupervisor) -> TaskSupervisor | None:
        """Run a task with its new settings, and stop its present run when the new one is there; gives the run that goes
        on: the present one where the new one cannot be started.

        Where both cannot run together, the present one is stopped at once, and there is none.
        """
        try:
            config = self._check(task.stored.config)
            if not can_overlap(predecessor.config, config):
                log.info("task_renewed", task=task.stored.id, gap=True)
                self._set(task, "stopping")
                await predecessor.stop()
                return None
            self._admit(config)
            successor = await start_run(config, self._surroundings())
        except OtusError as error:
            log.error("task_not_renewed", task=task.stored.id, error=str(error))
            task.conclude(str(error))
            return predecessor
        # Before the old run is stopped: whoever asks for the task from now on is told of the new one.
        task.config, task.stamps, task.supervisor = config, file_stamps(config.source), successor
        self._set(task, "running", started_ns=time.time_ns())
        task.conclude("")
        log.info("task_renewed", task=task.stored.id, gap=False)
        # The new run has its sockets by now, so that no packet falls between the two.
        await predecessor.stop()
        return successor

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

    async def _end(self, task: Task, state: State, reason: str) -> None:
        """Make a task history. Returns when the disk has it."""
        # History is only for reading: what is secret in a task goes when nothing starts it any more.
        told = mask_task(task.stored.config, self._registry)
        self._set(task, state, reason=reason, ended_ns=time.time_ns(), wanted="stopped", config=told, save=False)
        if self._is_there(task):
            del self._tasks[task.stored.id]
        # Newest first, as it is shown, and the oldest are the ones that go. One that cannot be stored costs its entry
        # alone.
        self._ended.insert(0, task.stored)
        if self._store is not None:
            try:
                await self._writing.begin(self._store.finish, task.stored)
            except OSError as error:
                log.error("task_not_stored", task=task.stored.id, error=str(error))
        self.prune()

    def _set(self, task: Task, state: State, *, save: bool = True, **changes: Any) -> None:
        """Change a task's state, tell plugins, and have it stored soon."""
        old = task.state
        if not may_follow(old, state):
            raise AssertionError(f"a task cannot go from {old} to {state}")
        task.stored = attrs.evolve(task.stored, state=state, **changes)
        if old != state:
            self._tell(task, old)
        if save and self._store is not None:
            self._writing.begin_unattended("task_not_stored", self._store.save, task.stored, task=task.stored.id)

    def _tell(self, task: Task, old: State) -> None:
        now = task.stored
        write = log.error if now.state == "failed" else log.info
        write("task_state", task=now.id, old=old, new=now.state, reason=now.reason)
        told = TaskState(task_id=now.id, old=old, new=now.state, reason=now.reason)
        self._registry.call("otus_task_state_changed", **attrs.asdict(told))
        supervisors = [other.supervisor for other in self._tasks.values() if other.supervisor is not None]
        for slot in (slot for supervisor in supervisors for slot in supervisor.slots):
            slot.send(told)  # reporters of this task and of others may want to hear of it

    async def _save(self, task: Task, **changes: Any) -> None:
        """Change what is stored of a task; returns when the disk has it. Raises OtusError, and the change is undone."""
        before = {name: getattr(task.stored, name) for name in changes}
        # At once, not when the disk has it: what the keeper stores meanwhile must hold the change.
        task.stored = attrs.evolve(task.stored, **changes)
        if self._store is None:
            return
        try:
            await self._writing.begin(self._store.save, task.stored)
        except OSError as error:
            task.stored = attrs.evolve(task.stored, **before)
            raise OtusError(f"task {task.stored.id!r} cannot be stored: {error}") from error

    def prune(self) -> None:
        """Keep the history within its bound."""
        del self._ended[self.limits.max_history :]
        if self._store is not None:
            self._writing.begin_unattended("task_history_not_pruned", self._store.prune, self.limits.max_history)
