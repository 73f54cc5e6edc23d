"""How full the buffers and spools of a run are, and which destinations answer, over all of its workers."""

from __future__ import annotations

from otus_core.model.counter_names import of_reporter
from otus_core.supervise.supervisor import TaskSupervisor
from otus_core.task.spec import TaskConfig
from otus_core.worker.status import answers


def answering(supervisor: TaskSupervisor) -> dict[str, bool]:
    """Give, by reporter, whether its destination answers all workers; without those that do not tell."""
    found: dict[str, bool] = {}
    for slot in supervisor.slots:
        for name, status in slot.reporters.items():
            if status:
                found[name] = found.get(name, True) and answers(status)
    return found


def fill_levels(supervisor: TaskSupervisor, config: TaskConfig) -> dict[str, float]:
    """Give the fill level of each reporter's fullest send buffer, 0 to 1."""
    levels = {spec.id: 0.0 for spec in config.reporters}
    for slot in supervisor.slots:
        for spec in config.reporters:
            by_number = slot.accounts[of_reporter(spec.id, "queued")] / spec.capacity
            # Whichever is nearer to its bound: small messages reach the number first, and large ones the bytes.
            by_bytes = slot.accounts[of_reporter(spec.id, "bytes_queued")] / spec.max_bytes
            levels[spec.id] = max(levels[spec.id], by_number, by_bytes)
    return levels


def spool_limits(supervisor: TaskSupervisor, config: TaskConfig) -> dict[str, int]:
    """Give the most bytes that each reporter's spools may take on disk, those of all workers together; without
    reporters that have none.
    """
    workers = len(supervisor.slots)
    return {spec.id: spec.spool.max_bytes * workers for spec in config.reporters if spec.spool is not None}


def spool_levels(supervisor: TaskSupervisor, config: TaskConfig) -> dict[str, float]:
    """Give the fill level of each reporter's fullest spool, 0 to 1: workers do not share their room."""
    return {
        spec.id: max(slot.accounts[of_reporter(spec.id, "spool_bytes")] for slot in supervisor.slots) / most.max_bytes
        for spec, most in ((spec, spec.spool) for spec in config.reporters)
        if most is not None
    }
