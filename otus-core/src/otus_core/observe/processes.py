"""CPU time, memory and descriptors of the daemon and of each worker, as the Prometheus client library reads them from
/proc.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from otus_core.observe.views import TaskView

OF_WORKERS = {
    "process_resident_memory_bytes": (
        "otus_worker_resident_memory_bytes",
        "Resident memory of a worker, its ring included",
    ),
    "process_open_fds": ("otus_worker_open_fds", "Open descriptors of a worker"),
    "process_max_fds": ("otus_worker_max_fds", "Descriptors that a worker may open"),
}
LABELS = ["task", "pipeline"]


def processes(tasks: Iterable[TaskView]) -> Iterator[Metric]:
    """Give the daemon's own figures under the library's names, and each worker's under ``otus_worker_``."""
    yield from ProcessCollector(registry=None).collect()
    cpu = CounterMetricFamily("otus_worker_cpu_seconds", "CPU time that a worker has used", labels=LABELS)
    limit = GaugeMetricFamily(
        "otus_worker_memory_limit_bytes",
        "worker_max_rss: at this much memory of its own a worker is replaced",
        labels=LABELS,
    )
    memory = GaugeMetricFamily(
        "otus_worker_memory_bytes",
        "Memory of a worker's own, without files and ring, as worker_max_rss counts it",
        labels=LABELS,
    )
    gauges = {name: GaugeMetricFamily(ours, text, labels=LABELS) for name, (ours, text) in OF_WORKERS.items()}
    for task in tasks:
        for pipeline, pid in enumerate(task.pids):
            where = [task.id, str(pipeline)]
            if task.memory_limit:
                limit.add_metric(where, task.memory_limit)
            memory.add_metric(where, task.memory[pipeline])
            for name, value in _figures(pid):
                if name == "process_cpu_seconds_total":
                    cpu.add_metric(where, value)
                elif name in gauges:
                    gauges[name].add_metric(where, value)
    yield from (cpu, limit, memory, *gauges.values())


def _figures(pid: int | None) -> Iterator[tuple[str, float]]:
    """Give a process's figures by their names; nothing of one that is gone, and not what the system keeps from us."""
    if pid is not None:
        for family in ProcessCollector(pid=lambda: pid, registry=None).collect():
            for sample in family.samples:
                yield sample.name, sample.value
