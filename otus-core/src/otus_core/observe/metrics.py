"""The metrics endpoint: at each scrape the tasks' counters, as Prometheus has them.

Counters live in shared memory and survive the workers. Label values come from closed sets: task, component and plugin
names, reasons fixed at assembly; nothing from a packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

import otus_core
from otus_core.model.counter_names import label_of, name_of, of_reporter
from otus_core.observe.flow_metrics import flow_metrics
from otus_core.observe.processes import processes
from otus_core.observe.views import TaskView, View
from otus_core.pipeline.counters import (
    CIRCUIT_STATES,
    LATENCY_BOUNDS_S,
    REFUSALS,
    STATUSES,
    reporter_terms,
    unaccounted,
)
from otus_core.plugins.records import PluginRecord
from otus_core.task.state import STATES

STAGES = (
    "frames_read",
    "messages_added",
    "units",
    "fragments_merged",
    "segments_merged",
    "matched",
    "kept",
    "frames_again",
)
"""Terms of the identity that are stages of the packet's way."""
REPORTER_COUNTERS = {
    "offered": "Messages offered to a reporter",
    "reported": "Messages that the destination acknowledged",
    "moved_to_fallback": "Messages handed to the fallback reporter",
    "offered_again": "Messages that were in a killed worker's memory alone, and whose frames were read again",
    "spool_found": "Messages that an earlier run had left in a reporter's spool",
    "spool_written": "Messages that were written to a reporter's spool",
    "spool_sent": "Messages that the destination acknowledged and that came from the spool",
    "spool_resent": "Messages sent again from the spool after a worker died, which may arrive twice",
    "batches": "Batches that a reporter has seen to their end",
    "retries": "Further tries of failed batches",
}
REPORTER_GAUGES = {
    "queued": "Messages in a reporter's send buffer",
    "bytes_queued": "Bytes in a reporter's send buffer",
    "spooled": "Messages in a reporter's spool on disk",
    "spool_bytes": "Bytes that a reporter's spool takes on disk",
    "in_flight": "Messages that a reporter is sending",
}


class OtusCollector(Collector):
    """Makes the metrics of a ``View`` at each scrape."""

    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        """Give every metric."""
        view = self._view()
        yield _info()
        yield _plugins(view.plugins)
        yield _plain("otus_config_reload_failures", "Reloads that were refused", view.reload_failures)
        yield _plain(
            "otus_log_lines_dropped",
            "Log lines that standard error, the log file or Loki did not take",
            view.log_lines_dropped,
        )
        yield from _daemon(view)
        yield from _tasks(view.tasks)
        yield _capturing(view.tasks)
        yield from _packets(view.tasks)
        yield from flow_metrics(view.tasks)
        yield from _reporters(view.tasks)
        yield from _spools(view.tasks)
        yield from _components(view.tasks)
        yield _latency(view.tasks)
        yield from processes(view.tasks)


def _info() -> GaugeMetricFamily:
    info = GaugeMetricFamily("otus_build_info", "The running version", labels=["version"])
    info.add_metric([otus_core.__version__], 1.0)
    return info


def _plain(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _daemon(view: View) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "otus_command_channel_up", "1 while a command channel can take commands, else 0", labels=["channel"]
    )
    for name, is_up in view.channels.items():
        up.add_metric([name], float(is_up))
    namesakes = GaugeMetricFamily(
        "otus_command_channel_namesakes",
        "Other processes that use this node's name, as a command channel has heard of them lately",
        labels=["channel"],
    )
    for name, n in view.namesakes.items():
        namesakes.add_metric([name], n)
    counted = CounterMetricFamily(
        "otus_command_channel_counted", "What a command channel itself counts", labels=["channel", "counter"]
    )
    for name, counters in view.channels_counted.items():
        for counter, n in counters.items():
            counted.add_metric([name, counter], n)
    said = GaugeMetricFamily(
        "otus_command_channel_status",
        "1 for what a command channel says of itself: ok, degraded or failed",
        labels=["channel", "status"],
    )
    for name, now in view.channels_said.items():
        for status in STATUSES:
            said.add_metric([name, status], float(status == now))
    failed = CounterMetricFamily(
        "otus_chore_failures",
        "Times that something of the daemon, its workers or a plugin that should never end failed and was begun again",
        labels=["chore"],
    )
    for name, n in view.chore_failures.items():
        failed.add_metric([name], n)
    left = GaugeMetricFamily(
        "otus_spool_left_bytes", "Bytes that wait in spools of tasks that were deleted, which nobody will send"
    )
    left.add_metric([], view.spool_bytes_left)
    closed = CounterMetricFamily(
        "otus_metrics_connections_closed",
        "Connections that got no metrics: too many at once, gave way to another one, too slow, headers too large, "
        "unauthorized",
        labels=["reason"],
    )
    for reason, n in view.scrapes_closed.items():
        closed.add_metric([reason], n)
    yield from (up, namesakes, counted, said, failed, left, closed)


def _plugins(records: Iterable[PluginRecord]) -> Metric:
    up = GaugeMetricFamily(
        "otus_plugin_up",
        "1 for a plugin that is ready, else 0 and the stage where it stopped",
        labels=["plugin", "version", "stage"],
    )
    for record in records:
        up.add_metric([record.plugin, record.version, record.stage], float(record.state == "ready"))
    return up


def _capturing(tasks: Iterable[TaskView]) -> Metric:
    up = GaugeMetricFamily(
        "otus_capture_up",
        "1 while a worker takes frames from its source, 0 while its interface is down or gone or the worker is not "
        "there",
        labels=["task", "pipeline", "interface"],
    )
    for task in tasks:
        for pipeline, capturing in enumerate(task.capturing):
            up.add_metric([task.id, str(pipeline), task.interface], float(capturing))
    return up


def _tasks(tasks: Iterable[TaskView]) -> Iterator[Metric]:
    status = GaugeMetricFamily("otus_task_status", "1 for the state that a task is in", labels=["task", "status"])
    degraded = GaugeMetricFamily(
        "otus_task_degraded",
        "1 while something keeps a task from its full work: `otus task status` says what",
        labels=["task"],
    )
    restarts = CounterMetricFamily("otus_worker_restarts", "Workers that had to be started again", labels=["task"])
    setbacks = CounterMetricFamily(
        "otus_supervisor_errors",
        "Times that looking after a task's workers failed, as when no process can be had",
        labels=["task"],
    )
    off = GaugeMetricFamily(
        "otus_unaccounted", "How far the accounting identity is from closing; 0 within 2 s of quiet", labels=["task"]
    )
    for task in tasks:
        for state in STATES:
            status.add_metric([task.id, state], float(task.state == state))
        degraded.add_metric([task.id], float(task.degraded))
        restarts.add_metric([task.id], task.restarts)
        setbacks.add_metric([task.id], task.setbacks)
        off.add_metric([task.id], sum(_off(task)))
    yield from (status, degraded, restarts, setbacks, off)


def _off(task: TaskView) -> Iterator[int]:
    """Give what each worker says of itself between two slices of packets; of one that is gone, what its
    counters say.
    """
    for pipeline, counters in enumerate(task.workers):
        # Read from outside at any moment, a live worker's counters may be between two stores, and seem not to close.
        runs = pipeline < len(task.pids) and task.pids[pipeline] is not None
        yield counters["unaccounted"] if runs else unaccounted(counters, task.roster)


def _packets(tasks: Iterable[TaskView]) -> Iterator[Metric]:
    """Give what happens to frames: the plan's names, and each drop by its reason."""
    captured = CounterMetricFamily(
        "otus_capture_packets", "Frames that the kernel offered, or a file held", labels=["task", "interface"]
    )
    lost = CounterMetricFamily("otus_capture_drops", "Frames lost before they could be read", labels=["task", "stage"])
    excluded = CounterMetricFamily(
        "otus_capture_excluded", "Frames of Otus's own connections, which exclude_own leaves out", labels=["task"]
    )
    stages = CounterMetricFamily("otus_pipeline_packets", "Packets by stage", labels=["task", "pipeline", "stage"])
    drops = CounterMetricFamily("otus_dropped", "Packets dropped, by reason", labels=["task", "pipeline", "reason"])
    hidden = CounterMetricFamily(
        "otus_not_looked_into",
        "Packets, frames, fragments or messages that were not looked into, by kind; `otus task status` names the "
        "option that would",
        labels=["task", "what"],
    )
    fragments = GaugeMetricFamily(
        "otus_reassembly_active_fragments", "Fragments that wait for the rest of their datagram", labels=["task"]
    )
    for task in tasks:
        total = _add_up(task.workers)
        # A file's frames are counted by nobody but the loop.
        captured.add_metric([task.id, task.interface], total.get("kernel_rx") or total.get("frames_read", 0))
        lost.add_metric([task.id, "kernel"], total.get("kernel_drop", 0))
        lost.add_metric([task.id, "interface"], total.get("interface_drop", 0))
        excluded.add_metric([task.id], total.get("excluded_own", 0))
        fragments.add_metric([task.id], total.get("fragments_held", 0))
        for name, n in total.items():
            # Link types are many, and a source has one: those that it has are shown.
            if (kind := label_of(name, "hidden")) is not None and (n or not kind.startswith("link:")):
                hidden.add_metric([task.id, kind], n)
        for pipeline, counters in enumerate(task.workers):
            for stage in STAGES:
                stages.add_metric([task.id, str(pipeline), stage], counters[stage])
            for name, n in counters.items():
                if (reason := label_of(name, "dropped")) is not None:
                    drops.add_metric([task.id, str(pipeline), reason], n)
    yield from (captured, lost, excluded, stages, drops, hidden, fragments)


def _reporters(tasks: Iterable[TaskView]) -> Iterator[Metric]:
    labels = ["task", "reporter"]
    counters = {
        term: CounterMetricFamily(f"otus_reporter_{term}", text, labels=labels)
        for term, text in REPORTER_COUNTERS.items()
    }
    gauges = {
        term: GaugeMetricFamily(f"otus_reporter_{term}", text, labels=labels) for term, text in REPORTER_GAUGES.items()
    }
    dropped = CounterMetricFamily(
        "otus_reporter_dropped", "Messages that a reporter lost, by reason", labels=[*labels, "reason"]
    )
    spent = CounterMetricFamily("otus_reporter_seconds", "Time that batches took, added", labels=labels)
    oldest = GaugeMetricFamily(
        "otus_reporter_oldest_call_seconds",
        "How long the oldest call of a reporter has been under way: it grows while a destination is away, or a "
        "reporter hangs",
        labels=labels,
    )
    blocked = CounterMetricFamily(
        "otus_reporter_blocked_seconds", "Time that a reporter kept the packet thread", labels=labels
    )
    connected = GaugeMetricFamily(
        "otus_reporter_connected", "1 while a reporter's destination answers, 0 while it does not", labels=labels
    )
    filled = GaugeMetricFamily(
        "otus_reporter_queue_fill_ratio", "How full the fullest of a reporter's send buffers is, 0 to 1", labels=labels
    )
    for task in tasks:
        for reporter, answers in task.connected.items():
            connected.add_metric([task.id, reporter], float(answers))
        for reporter, level in task.fill.items():
            filled.add_metric([task.id, reporter], level)
        total = _add_up(task.workers)
        for reporter, reasons in task.roster.reporters.items():
            where = [task.id, reporter]
            for term, counter in counters.items():
                counter.add_metric(where, total.get(of_reporter(reporter, term), 0))
            for term, gauge in gauges.items():
                gauge.add_metric(where, total.get(of_reporter(reporter, term), 0))
            ages = (one.get(of_reporter(reporter, "oldest_ns"), 0) for one in task.workers)
            oldest.add_metric(where, max(ages, default=0) / 1e9)
            spent.add_metric(where, total.get(of_reporter(reporter, "latency_ns"), 0) / 1e9)
            blocked.add_metric(where, total.get(of_reporter(reporter, "blocked_ns"), 0) / 1e9)
            for term in reporter_terms(reasons):
                if (reason := label_of(term, "dropped")) is not None:
                    dropped.add_metric([*where, reason], total.get(of_reporter(reporter, term), 0))
    yield from (*counters.values(), *gauges.values(), dropped, oldest, spent, blocked, connected, filled)


def _spools(tasks: Iterable[TaskView]) -> Iterator[Metric]:
    labels = ["task", "reporter"]
    limit = GaugeMetricFamily(
        "otus_reporter_spool_limit_bytes",
        "Bytes that a reporter's spool may take on disk: `max_bytes`, once for each worker",
        labels=labels,
    )
    filled = GaugeMetricFamily(
        "otus_reporter_spool_fill_ratio",
        "How full the fullest of a reporter's spools is, 0 to 1: each worker has its own",
        labels=labels,
    )
    for task in tasks:
        for family, values in ((limit, task.spool_limit), (filled, task.spool_fill)):
            for reporter, value in values.items():
                family.add_metric([task.id, reporter], value)
    yield from (limit, filled)


def _components(tasks: Iterable[TaskView]) -> Iterator[Metric]:
    errors = CounterMetricFamily("otus_component_errors", "Exceptions of a component", labels=["task", "component"])
    states = GaugeMetricFamily(
        "otus_component_state",
        "1 for the state of a component's circuit",
        labels=["task", "pipeline", "component", "state"],
    )
    statuses = GaugeMetricFamily(
        "otus_component_status",
        "1 for what a component says of itself: ok, degraded or failed",
        labels=["task", "pipeline", "component", "status"],
    )
    counted = CounterMetricFamily(
        "otus_component_counted", "What a component itself counts", labels=["task", "component", "counter"]
    )
    refused = CounterMetricFamily(
        "otus_parse_errors",
        "Packets and messages that their parser could not read, by reason",
        labels=["task", "parser", "reason"],
    )
    told = [
        CounterMetricFamily(f"otus_component_{name}", what, labels=["task", "component"])
        for name, what in (
            ("records", "Records that a component emitted"),
            ("consumed", "Packets and messages that a component took into something that a record will tell of"),
            ("cut_short", "Calls of tick and finish that failed, so that records may be missing"),
            ("routed", "Messages that a component handed to other workers"),
            ("routed_lost", "Messages that did not reach the worker they were for"),
        )
    ]
    for task in tasks:
        total = _add_up(task.workers)
        for family in told:
            name = family.name.removeprefix("otus_component_")
            for component in task.roster.routing if name.startswith("routed") else task.roster.speakers:
                family.add_metric([task.id, component], total.get(name_of(name, component), 0))
        for component, names in task.roster.counted.items():
            for name in names:
                counted.add_metric([task.id, component, name], total.get(name_of("counted", component, name), 0))
        for parser in task.roster.parsers:
            for reason in dict.fromkeys((*task.roster.refused.get(parser, ()), *REFUSALS)):
                refused.add_metric([task.id, parser, reason], total.get(name_of("parse_errors", parser, reason), 0))
        for component in task.roster.components:
            errors.add_metric([task.id, component], total.get(name_of("errors", component), 0))
            for pipeline, counters in enumerate(task.workers):
                for gauge, what, values in ((states, "state", CIRCUIT_STATES), (statuses, "status", STATUSES)):
                    now = counters[name_of(what, component)]
                    for number, value in enumerate(values):
                        gauge.add_metric([task.id, str(pipeline), component, value], float(now == number))
    yield from (errors, states, statuses, counted, refused, *told)


def _latency(tasks: Iterable[TaskView]) -> HistogramMetricFamily:
    histogram = HistogramMetricFamily(
        "otus_pipeline_latency_seconds",
        "Time a packet takes through the pipeline, sampled by slice",
        labels=["task", "stage"],
    )
    for task in tasks:
        total = _add_up(task.workers)
        # Buckets are cumulative, and the last one is +Inf (Prometheus, exposition format); ours are not.
        buckets, count = [], 0
        for i, bound in enumerate((*map(str, LATENCY_BOUNDS_S), "+Inf")):
            count += total.get(name_of("latency_bucket", i), 0)
            buckets.append((bound, float(count)))
        histogram.add_metric([task.id, "pipeline"], buckets, total.get("latency_sum_ns", 0) / 1e9)
    return histogram


def _add_up(workers: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counters in workers:
        for name, n in counters.items():
            total[name] = total.get(name, 0) + n
    return total
