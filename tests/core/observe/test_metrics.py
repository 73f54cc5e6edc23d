"""The metrics endpoint, read by Prometheus's own text parser."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from otus_core.decode.decoder import COUNTERS
from otus_core.model.accounts import Accounts
from otus_core.observe.metrics_server import MetricsServer
from otus_core.observe.views import TaskView, View
from otus_core.pipeline.counters import Roster, counter_names
from otus_core.plugins.records import PluginRecord

ROSTER = Roster(("sip",), ("filter",), {"kafka": ("auth",)})


def counters(**values: int) -> dict[str, int]:
    accounts = Accounts(counter_names(ROSTER, COUNTERS))
    for name, n in values.items():
        accounts.set(name, n)
    return accounts.snapshot()


WORKERS = (
    {**counters(frames_read=10, units=9, matched=9, kept=9, kernel_rx=12), "kernel_drop": 2, "latency_bucket{1}": 10},
    {
        **counters(frames_read=5),
        "dropped{decode:not_ip}": 5,
        "state{parser:sip}": 2,
        "kafka.queued": 3,
        "latency_bucket{9}": 5,
    },
)
PLUGINS = (
    PluginRecord(plugin="sip", distribution="otus-plugin-sip", version="0.1.0", stage="ready"),
    PluginRecord(plugin="bad", distribution="bad", version="9", stage="import", reason="x"),
)
TASK = TaskView(
    id="t1", state="running", interface="eth0", degraded=True, restarts=4, setbacks=3, roster=ROSTER, workers=WORKERS
)


@pytest.fixture
def url() -> Iterator[str]:
    view = View(tasks=(TASK,), plugins=PLUGINS, reload_failures=7, log_lines_dropped=8)
    server = MetricsServer("127.0.0.1:0", "/metrics", lambda: view)
    yield f"http://127.0.0.1:{server.address[1]}"
    server.close()


def samples(url: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = urllib.request.urlopen(url + "/metrics", timeout=10).read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


EXPECTED = {
    ("otus_capture_packets_total", "interface=eth0 task=t1"): 12,
    ("otus_capture_drops_total", "stage=kernel task=t1"): 2,
    ("otus_pipeline_packets_total", "pipeline=0 stage=frames_read task=t1"): 10,
    ("otus_pipeline_packets_total", "pipeline=1 stage=frames_read task=t1"): 5,
    ("otus_dropped_total", "pipeline=1 reason=decode:not_ip task=t1"): 5,
    ("otus_pipeline_latency_seconds_count", "stage=pipeline task=t1"): 15,
    ("otus_pipeline_latency_seconds_bucket", "le=2e-06 stage=pipeline task=t1"): 10,
    ("otus_task_status", "status=running task=t1"): 1,
    ("otus_task_status", "status=failed task=t1"): 0,
    ("otus_task_degraded", "task=t1"): 1,
    ("otus_reassembly_active_fragments", "task=t1"): 0,
    ("otus_worker_restarts_total", "task=t1"): 4,
    ("otus_supervisor_errors_total", "task=t1"): 3,
    ("otus_reporter_queued", "reporter=kafka task=t1"): 3,
    ("otus_reporter_dropped_total", "reason=report_error:auth reporter=kafka task=t1"): 0,
    ("otus_component_state", "component=parser:sip pipeline=1 state=open task=t1"): 1,
    ("otus_plugin_up", "plugin=sip stage=ready version=0.1.0"): 1,
    ("otus_plugin_up", "plugin=bad stage=import version=9"): 0,
    ("otus_config_reload_failures_total", ""): 7,
    ("otus_log_lines_dropped_total", ""): 8,
    ("otus_build_info", "version=0.1.0"): 1,
}


def test_the_metrics_are_those_of_the_plan_and_the_specification(url: str) -> None:
    found = {(name, " ".join(f"{k}={v}" for k, v in labels)): value for (name, labels), value in samples(url).items()}
    assert {key: found.get(key) for key in EXPECTED} == EXPECTED
    assert found[("otus_unaccounted", "task=t1")] == 1 + 9 + 3


def test_only_the_path_that_is_configured_answers(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url + "/", timeout=10)
    assert caught.value.code == 404


def test_a_port_that_is_taken_is_an_error(url: str) -> None:
    with pytest.raises(OSError, match="in use"):
        MetricsServer(
            url.removeprefix("http://"),
            "/metrics",
            lambda: View(tasks=(), plugins=(), reload_failures=0, log_lines_dropped=0),
        )
