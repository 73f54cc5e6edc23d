"""What each command does. The control socket and every command channel come through here.

In: a method and its params. Out: plain JSON values. Raises RpcError and the OtusError family, whose messages reach the
caller.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs

import otus_core
from otus_core.config.converter import structure
from otus_core.config.problems import unknown_key
from otus_core.control.params import Deletion, NoParams, OneOrAll, OneTask, Pruning
from otus_core.control.protocol import INVALID_PARAMS, METHOD_NOT_FOUND, Follow, RpcError
from otus_core.control.tapping import tap_task
from otus_core.errors import ConfigProblem
from otus_core.plugins.registry import Registry
from otus_core.supervise.declared import apply_task, delete_others
from otus_core.supervise.entry import Task
from otus_core.supervise.health import name_left_out, node_troubles, troubles
from otus_core.supervise.manager import TaskManager
from otus_core.supervise.store import StoredTask
from otus_core.task.config import WRAPPERS, unwrap
from otus_core.task.deprecated import find_deprecated
from otus_core.task.secrets import find_exposed_files, mask_task


class Owner(Protocol):
    """What the handler needs of the daemon."""

    async def reload(self) -> dict[str, Any]:
        """Read the configuration again, and the folder of tasks; gives what changed and what needs a restart.

        Raises ConfigInvalid.
        """
        ...

    def request_shutdown(self) -> None:
        """Begin to stop."""
        ...

    def channels(self) -> list[dict[str, Any]]:
        """Give the state of the command channels."""
        ...

    def refused_task_files(self) -> Sequence[ConfigProblem]:
        """Give what is wrong with files of the folder of tasks."""
        ...

    def warnings(self) -> list[str]:
        """Give what the configuration in force is warned of."""
        ...


Method = Callable[[Any], Awaitable[dict[str, Any]]]
"""Is given the params, of the class that stands beside it, or as they came."""


class CommandHandler:
    """The methods of the control plane."""

    def __init__(self, manager: TaskManager, registry: Registry, owner: Owner, rates: Rates) -> None:
        self._manager = manager
        self._registry = registry
        self._owner = owner
        self._rates = rates
        self._begun = time.monotonic()
        self.methods: dict[str, tuple[Method, type | None]] = {
            "task_create": (self._task_create, None),
            "task_apply": (self._task_apply, None),
            "task_prune": (self._task_prune, Pruning),
            "task_start": (self._task_start, OneTask),
            "task_delete": (self._task_delete, Deletion),
            "task_list": (self._task_list, NoParams),
            "task_get": (self._task_get, OneTask),
            "task_status": (self._task_status, OneOrAll),
            "config_reload": (self._config_reload, NoParams),
            "daemon_status": (self._daemon_status, NoParams),
            "daemon_stats": (self._daemon_stats, NoParams),
            "daemon_shutdown": (self._daemon_shutdown, NoParams),
            "plugin_list": (self._plugin_list, NoParams),
        }

    async def handle(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Execute one command.

        ``daemon_shutdown`` only says what will happen: whoever has sent the answer calls ``note_answer``.
        """
        found = self.methods.get(method)
        if found is None:
            said = unknown_key(method, tuple(self.methods)).replace("unknown key", "unknown command", 1)
            raise RpcError(METHOD_NOT_FOUND, said)
        function, cls = found
        return await function(params if cls is None else structure(cls, params, "params"))

    def tap(self, params: Mapping[str, Any]) -> Follow:
        """Let a local caller look in on a task: no channel has this command. Raises OtusError."""
        return tap_task(self._manager, self._registry, params)

    def note_answer(self, method: str) -> None:
        """An answer has gone out; a shutdown begins now."""
        if method == "daemon_shutdown":
            self._owner.request_shutdown()

    async def _task_create(self, params: Mapping[str, Any]) -> dict[str, Any]:
        task_id = await self._manager.create(task_of(params))
        return {"task_id": task_id, "status": "created"}

    async def _task_apply(self, params: Mapping[str, Any]) -> dict[str, Any]:
        task_id, what = await apply_task(self._manager, task_of(params))
        return {"task_id": task_id, "status": what}

    async def _task_prune(self, params: Pruning) -> dict[str, Any]:
        return {"deleted": await delete_others(self._manager, params.keep)}

    async def _task_start(self, params: OneTask) -> dict[str, Any]:
        await self._manager.start(params.task_id)
        return {"task_id": params.task_id, "status": "running"}

    async def _task_delete(self, params: Deletion) -> dict[str, Any]:
        left = await self._manager.delete(params.task_id, discard_spools=params.discard)
        spools = [{**attrs.asdict(one), "discarded": params.discard} for one in left]
        answer = {"task_id": params.task_id, "status": "deleted"}
        return {**answer, "spools": spools} if spools else answer

    async def _task_list(self, _params: NoParams) -> dict[str, Any]:
        ids = sorted(self._manager.tasks)
        return {"tasks": ids, "count": len(ids)}

    async def _task_get(self, params: OneTask) -> dict[str, Any]:
        task_id = params.task_id
        history = () if task_id in self._manager.tasks else self._manager.list_ended(task_id)
        stored = history[0] if history else self._manager.get(task_id).stored
        return {"task_id": task_id, "state": stored.state, "config": mask_task(stored.config, self._registry)}

    async def _task_status(self, params: OneOrAll) -> dict[str, Any]:
        task_id = params.task_id
        if task_id is None:
            tasks = [_status(task) for _, task in sorted(self._manager.tasks.items())]
            return {
                "tasks": tasks,
                "count": len(tasks),
                "ended": [_describe_ended(stored) for stored in self._manager.list_ended()],
                "versions": self._versions(),
            }
        if task_id not in self._manager.tasks and (history := self._manager.list_ended(task_id)):
            return _describe_ended(history[0])
        return _status(self._manager.get(task_id))

    async def _config_reload(self, _params: NoParams) -> dict[str, Any]:
        return {"status": "reloaded", **await self._owner.reload()}

    async def _daemon_status(self, _params: NoParams) -> dict[str, Any]:
        tasks = dict(sorted(self._manager.tasks.items()))
        channels = self._owner.channels()
        return {
            "version": otus_core.__version__,
            "versions": self._versions(),
            "uptime_sec": round(time.monotonic() - self._begun, 3),
            "tasks": {task_id: task.state for task_id, task in tasks.items()},
            "task_count": len(tasks),
            "troubles": node_troubles(tasks.values(), channels, self._owner.refused_task_files()),
            "warnings": [*self._owner.warnings(), *self._task_warnings(tasks)],
            "plugins": self._plugins(),
            "command_channels": channels,
        }

    async def _daemon_stats(self, _params: NoParams) -> dict[str, Any]:
        return {
            "uptime_sec": round(time.monotonic() - self._begun, 3),
            "tasks": {task_id: self._stats(task) for task_id, task in sorted(self._manager.tasks.items())},
        }

    async def _daemon_shutdown(self, _params: NoParams) -> dict[str, Any]:
        return {"status": "shutting_down"}

    async def _plugin_list(self, _params: NoParams) -> dict[str, Any]:
        return {"plugins": self._plugins()}

    def _task_warnings(self, tasks: Mapping[str, Task]) -> list[str]:
        return [
            f"task {task_id}: {warning}"
            for task_id, task in tasks.items()
            for warning in (
                *name_left_out(task),
                *find_exposed_files(task.stored.config, self._registry),
                *(find_deprecated(task.config) if task.config is not None else ()),
            )
        ]

    def _plugins(self) -> list[dict[str, Any]]:
        return [row for record in self._registry.records for row in record.rows()]

    def _versions(self) -> dict[str, str]:
        """Give the version of each distribution: the core, and whatever brings plugins, also one that fails."""
        installed = {record.distribution: record.version for record in self._registry.records}
        return dict(sorted({**installed, "otus-core": otus_core.__version__}.items()))

    def _stats(self, task: Task) -> dict[str, Any]:
        status = _status(task)
        return {**status, "rates": self._rates.of(task.stored.id)}


class Rates:
    """Frames and messages a second of each task, between the last two samples."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int, int]] = {}
        self._rates: dict[str, dict[str, float]] = {}

    def sample(self, tasks: Mapping[str, Task]) -> None:
        """Look at the counters now; tasks that are gone are forgotten."""
        now = time.monotonic()
        last, self._last, rates = self._last, {}, {}
        for task_id, task in tasks.items():
            if task.supervisor is None:
                continue
            counters = task.supervisor.counters()
            frames, kept = counters["frames_read"], counters["kept"]
            then, frames_then, kept_then = last.get(task_id, (now, frames, kept))
            if frames < frames_then:  # it has been started anew, and counts from 0
                frames_then = kept_then = 0
            took = max(now - then, 1e-3)
            self._last[task_id] = (now, frames, kept)
            rates[task_id] = {
                "frames_per_sec": round((frames - frames_then) / took, 1),
                "messages_per_sec": round((kept - kept_then) / took, 1),
            }
        self._rates = rates

    def of(self, task_id: str) -> dict[str, float]:
        """Give the rates of one task."""
        return self._rates.get(task_id, {"frames_per_sec": 0.0, "messages_per_sec": 0.0})


def task_of(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find the task in ``task_create``'s params: below ``config``, below ``task`` (beside ``command: task_create`` or
    not), or the params themselves.

    All three are what people paste: the documented params, a task file with its ``task:`` line, and the task alone.
    Raises RpcError, ConfigInvalid.
    """
    if not any(key in params for key in (*WRAPPERS, "capture")):
        raise RpcError(INVALID_PARAMS, "params.config: is required: the task, as an object")
    return unwrap(params)


def _status(task: Task) -> dict[str, Any]:
    """Give one task with its counters, all together and by worker."""
    status = _describe_ended(task.stored)
    status["troubles"] = troubles(task)
    status["degraded"] = bool(status["troubles"])
    status["next_try_at"] = _time(task.next_try_ns)
    status["one_worker"] = "" if task.config is None else task.config.one_worker
    supervisor = task.supervisor
    if supervisor is None:
        return status
    status["worker_restarts"] = supervisor.restarts
    status["supervisor_errors"] = supervisor.setbacks
    status["waiting_for"] = supervisor.waiting_for
    status["counters"] = supervisor.summary()
    status["workers"] = [
        {
            "worker": slot.shard,
            "state": slot.state,
            "reason": slot.reason or slot.trouble,
            "reporters": slot.reporters,
            "components": slot.components,
            "pid": slot.pid,
            "restarts": slot.restarts,
            "counters": supervisor.summary(slot.shard),
        }
        for slot in supervisor.slots
    ]
    return status


def _describe_ended(stored: StoredTask) -> dict[str, Any]:
    """Give what is known of a task without its counters."""
    return {
        "task_id": stored.id,
        "state": stored.state,
        "created_at": _time(stored.created_ns),
        "started_at": _time(stored.started_ns),
        "ended_at": _time(stored.ended_ns),
        "restart_count": stored.restart_count,
        "reason": stored.reason,
    }


def _time(ns: int) -> str | None:
    """Give a time as RFC 3339, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // 1_000_000_000)) if ns else None
