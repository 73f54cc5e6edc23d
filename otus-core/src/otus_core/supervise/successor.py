"""The next run of a task that is running: started before the one before it is stopped, so that no packet
passes unseen.
"""

from __future__ import annotations

from otus_core.errors import TaskStartFailed
from otus_core.supervise.supervisor import TaskSupervisor
from otus_core.supervise.surroundings import Surroundings
from otus_core.task.spec import TaskConfig


def can_overlap(old: TaskConfig, new: TaskConfig) -> bool:
    """Whether both may run at once: a live source can be read twice.

    A spool has one writer, and a file would be reported twice.
    """
    live = old.capture.declaration.live and new.capture.declaration.live
    return live and not any(spec.spool for config in (old, new) for spec in config.reporters)


async def start_run(config: TaskConfig, surroundings: Surroundings) -> TaskSupervisor:
    """Start a run of a task; what was started is stopped again when that fails, or is cancelled. Raises OtusError."""
    supervisor = TaskSupervisor(config, surroundings)
    try:
        await supervisor.start()
    except OSError as error:  # no memory, no descriptor, no process to be had
        await supervisor.stop()
        raise TaskStartFailed(f"task {config.id}: the system refuses: {error}") from error
    except BaseException:
        await supervisor.stop()
        raise
    return supervisor
