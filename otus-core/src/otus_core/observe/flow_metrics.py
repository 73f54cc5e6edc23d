"""Metrics of what workers know of flows that packets have announced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from otus_core.observe.views import TaskView


def flow_metrics(tasks: Iterable[TaskView]) -> Iterator[Metric]:
    """Give what is in each worker's registry of flows, and what its siblings were not told."""
    labels = ["task", "pipeline"]
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
        "flows": GaugeMetricFamily("otus_flow_registry_size", "Flows in a worker's registry", labels=labels),
        "endpoints": GaugeMetricFamily(
            "otus_flow_registry_endpoints", "Endpoints in a worker's registry", labels=labels
        ),
        "flows_evicted": CounterMetricFamily(
            "otus_flow_registry_evicted",
            "Flows and endpoints that had to go for others: max_flows is too small",
            labels=labels,
        ),
        "published_lost": CounterMetricFamily(
            "otus_published_lost", "Announcements of flows that did not reach another worker", labels=labels
        ),
    }
    for task in tasks:
        for pipeline, counters in enumerate(task.workers):
            for name, family in families.items():
                family.add_metric([task.id, str(pipeline)], counters[name])
    yield from families.values()
