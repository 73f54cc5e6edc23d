"""Feeds what real daemons exported into ``promtool test rules``."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests import needs

RULES = needs.ROOT / "deploy" / "prometheus" / "alerts.yml"
INSTANCE = {"instance": "edge-1:9091", "job": "otus"}
CALM_MIN, BAD_MIN = 10, 30
Key = tuple[str, tuple[tuple[str, str], ...]]


@attrs.frozen
class Scrape:
    """What a daemon exported at a time (seconds); nothing but ``up`` when it did not answer."""

    at: float
    values: Mapping[Key, float]
    totals: frozenset[str]

    @classmethod
    def of(cls, at: float, text: str | None) -> Scrape:
        """Read an exposition as Prometheus does."""
        values: dict[Key, float] = {("up", ()): float(text is not None)}
        totals = set()
        for family in text_string_to_metric_families(text or ""):
            for sample in family.samples:
                values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
                if family.type in ("counter", "histogram"):
                    totals.add(sample.name)
        return cls(at, values, frozenset(totals))

    def of_task(self, name: str, task: str) -> float:
        """Give the sum of a task's samples of one name."""
        return sum(
            value for (found, labels), value in self.values.items() if found == name and ("task", task) in labels
        )


def alerts() -> dict[str, Any]:
    """Give every rule by its name."""
    (rules,) = yaml.safe_load_all(RULES.read_text())
    return {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}


def firing(
    folder: Path,
    calm: Scrape,
    bad: Sequence[Scrape],
    name: str,
    labels: Sequence[Mapping[str, str]],
    after_min: int = BAD_MIN,
) -> str:
    """Play a story: ten minutes of ``calm``, half an hour of ``bad``, in which counters grow as they grew between its
    two scrapes.

    Gives promtool's complaints: empty when no alert of this name fires at the end of the calm, and ``after_min``
    minutes into the bad one for each of ``labels``, and no other.
    """
    rule = alerts()[name]
    job = {} if "sum by" in rule["expr"] else {"job": INSTANCE["job"]}
    expected = []
    for own in labels:
        shown = {**own, **rule["labels"], "instance": INSTANCE["instance"], **job}
        texts = {key: _rendered(text, shown) for key, text in rule["annotations"].items()}
        expected.append({"exp_labels": shown, "exp_annotations": texts})
    story = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": _series(calm, *bad),
                "alert_rule_test": [
                    {"eval_time": f"{CALM_MIN}m", "alertname": name, "exp_alerts": []},
                    {"eval_time": f"{CALM_MIN + after_min}m", "alertname": name, "exp_alerts": expected},
                ],
            }
        ],
    }
    file = folder / f"{name}.yml"
    file.write_text(json.dumps(story))  # which is YAML
    done = subprocess.run(
        [needs.tool("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _series(calm: Scrape, first: Scrape, last: Scrape) -> list[dict[str, str]]:
    found = []
    for key in {**calm.values, **first.values, **last.values}:
        name, labels = key
        step = 0.0
        value = last.values.get(key)
        if name in last.totals and value is not None:
            before = first.values.get(key, value)
            value, step = before, (value - before) * 60 / (last.at - first.at)
        parts = [_part(calm.values.get(key), 0.0, CALM_MIN), _part(value, step, BAD_MIN)]
        shown = ",".join(f"{label}={json.dumps(text)}" for label, text in {**dict(labels), **INSTANCE}.items())
        found.append({"series": f"{name}{{{shown}}}", "values": " ".join(parts)})
    return found


def _part(value: float | None, step: float, minutes: int) -> str:
    if value is None:
        return f"_x{minutes}"
    return f"{value:f}{step:+f}x{minutes}"


def _rendered(text: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels.get(found[1], ""), text)
