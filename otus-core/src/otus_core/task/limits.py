"""What all tasks of a daemon together may use."""

from __future__ import annotations

import os
from collections.abc import Iterable

from otus_core.config.daemon import DaemonConfig
from otus_core.errors import TaskStartFailed
from otus_core.log import Logger
from otus_core.task.spec import TaskConfig
from otus_core.values import frozen

log = Logger("otus.task")


@frozen(kw_only=True)
class Limits:
    """``max_workers`` is 0 for no limit; a task counts as degraded by the fill levels of its buffers; ``max_history``
    counts ended tasks.
    """

    max_workers: int
    high_watermark: float
    low_watermark: float
    max_history: int


def limits_of(config: DaemonConfig) -> Limits:
    """Give the limits that a daemon's configuration sets."""
    return Limits(
        max_workers=config.resources.max_workers,
        high_watermark=config.backpressure.send_buffer.high_watermark,
        low_watermark=config.backpressure.send_buffer.low_watermark,
        max_history=config.task_persistence.max_task_history,
    )


def check_room(config: TaskConfig, others: Iterable[TaskConfig], limits: Limits) -> None:
    """See to it that a task may have its workers beside those of the others.

    Raises TaskStartFailed where ``max_workers`` is set and too small.
    """
    taken = sum(other.workers for other in others)
    # Without a limit nothing is refused: workers share CPUs, and only slow each other down.
    if limits.max_workers and taken + config.workers > limits.max_workers:
        raise TaskStartFailed(
            f"task {config.id!r} wants {config.workers} workers, but {taken} of {limits.max_workers} are taken; "
            "see resources.max_workers"
        )


def warn_of_crowd(config: TaskConfig, others: Iterable[TaskConfig]) -> None:
    """Say that more workers than CPUs are at work: they share CPUs, which a node with several quiet tasks can well
    bear.
    """
    workers = config.workers + sum(other.workers for other in others)
    cpus = len(os.sched_getaffinity(0))  # those that a cpuset leaves to the service, not all that the machine has
    if workers > cpus:
        log.warning("more_workers_than_cpus", task=config.id, workers=workers, cpus=cpus)
