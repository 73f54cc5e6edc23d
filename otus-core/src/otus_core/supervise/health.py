"""What keeps a task, or the node, from its full work, in the words of the component that suffers from it.

In: tasks, what their workers have told, and the command channels. Out: plain text and values, which metrics and the
control plane show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from otus_core.errors import ConfigProblem
from otus_core.model.counter_names import name_of
from otus_core.model.text import printable
from otus_core.pipeline.counters import CIRCUIT_STATES, STATUSES
from otus_core.supervise.entry import Task
from otus_core.supervise.levels import fill_levels
from otus_core.supervise.slot import WorkerSlot
from otus_core.supervise.supervisor import TaskSupervisor
from otus_core.worker.status import STATUS_TEXT_MAX, complaint


def failure_of(supervisor: TaskSupervisor) -> str:
    """Say why a run that has ended failed, or nothing.

    A source with an end that is damaged anywhere was not read as it was asked for.
    """
    live = supervisor.config.capture.declaration.live
    faults = list(dict.fromkeys(str(fault) for fault in supervisor.faults if fault.fatal or not live))
    if supervisor.error or not faults:
        return supervisor.error
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return faults[0] + more


def troubles(task: Task) -> list[str]:
    """Give what is wrong with a task that should run, one sentence each; empty when nothing is."""
    if task.state == "failed":
        return [task.stored.reason]
    if task.supervisor is None or task.config is None:
        return []
    found = [task.supervisor.error] if task.supervisor.error else []
    if task.degraded:
        level, name = max((level, name) for name, level in fill_levels(task.supervisor, task.config).items())
        found.append(f"reporter {name}: its send buffer is {100 * level:.0f} % full")
    for slot in task.supervisor.slots:
        found += _of_worker(slot)
    return list(dict.fromkeys(found))  # four workers of one interface have the same to say


def node_troubles(
    tasks: Iterable[Task], channels: Iterable[Mapping[str, Any]], refused: Iterable[ConfigProblem] = ()
) -> list[dict[str, str]]:
    """Give what is down on this node: each with the ``task``, ``task_file`` or ``command_channel``, and the ``reason``.

    A refused file of the folder of tasks is among them: what it declares does not run, or runs as it was before.
    A plugin that is broken is not among them: a task that needs it is, and nobody else misses it.
    """
    found = [{"task": task.stored.id, "reason": reason} for task in tasks for reason in troubles(task)]
    for channel in channels:
        if not channel.get("connected", True):
            reason = str(channel.get("last_error") or "it is not connected")
            found.append({"command_channel": str(channel["type"]), "reason": reason})
        elif said := channel.get("component"):
            found.append({"command_channel": str(channel["type"]), "reason": said["reason"] or said["status"]})
    for problem in refused:
        path, message = printable(problem.path, STATUS_TEXT_MAX), printable(problem.message, STATUS_TEXT_MAX)
        found.append({"task_file": path, "reason": message})
    return found


def name_left_out(task: Task) -> list[str]:
    """Give, once for all workers, the components that could not be started and that the task goes on without."""
    slots = task.supervisor.slots if task.supervisor is not None else ()
    names = dict.fromkeys(name for slot in slots if slot.state == "running" for name in slot.left_out)
    return [f"{name} could not be started and is left out; the log says why" for name in names]


def _of_worker(slot: WorkerSlot) -> Iterator[str]:
    if slot.state in ("waiting", "restarting"):
        yield slot.reason
    elif slot.trouble:
        yield slot.trouble
    for name, status in slot.reporters.items():
        if why := complaint(status):
            yield f"reporter {name}: {why}"
    for component, said in slot.components.items():
        if said["status"] != STATUSES[0]:
            yield f"{component.replace(':', ' ', 1)} {said['status']}: {said['reason']}".rstrip(": ")
    if slot.state == "running":
        for component in slot.roster.components:
            state = CIRCUIT_STATES[slot.accounts[name_of("state", component)]]
            if state != "closed":
                kind, _, name = component.partition(":")
                if kind == "capturer":  # its trouble says so, and why
                    continue
                yield f"{kind} {name} has failed again and again and is cut off (circuit {state.replace('_', ' ')})"
