"""``otus validate``, ``schema`` and ``config``, as a person runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

OTUS = str(Path(sys.executable).with_name("otus"))
ENVIRONMENT = {**os.environ, "OTUS_NODE_IP": "192.0.2.1", "NO_COLOR": "1"}


def otus(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OTUS, *arguments], capture_output=True, text=True, input=text, env=ENVIRONMENT, timeout=60, check=False
    )


def test_the_sample_is_valid_and_fits_the_schema() -> None:
    sample = otus("config", "sample").stdout
    done = otus("validate", "-f", "-", text=sample)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("standard input: the configuration is valid: node ")
    jsonschema.validate(yaml.safe_load(sample), json.loads(otus("schema", "config").stdout))


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("otus: {log: {levl: info}}", ["otus.log.levl: unknown key; did you mean level?"]),
        (
            "otus: {log: {level: loud}, resources: {max_workers: -1}}",
            ["otus.log.level: ", "otus.resources.max_workers: "],
        ),
        ("otus: {}\nmore: {}", ["one top-level key, otus:"]),
        ("otus: [1]", ["otus: expected a mapping"]),
        (
            "otus: {kafka: {brokers: ['b:1']}, command_channel: {enabled: true, kafka: {topics: x}}}",
            ["otus.command_channel.kafka.topics: unknown key; did you mean topic?"],
        ),
        ("id: t\ncapture: {type: pcapp}\nreporters: [discard]", ["capture.type"]),
        ("otus: {a: &a 1, b: *a}", ["anchor &a is not allowed"]),
    ],
    ids=["misspelt", "two problems", "two roots", "a list", "a plugin's key", "a task", "aliases"],
)
def test_what_is_wrong_is_told_with_its_path(text: str, reasons: list[str]) -> None:
    done = otus("validate", "-f", "-", text=text)
    assert done.returncode == 2
    assert [reason for reason in reasons if reason not in done.stderr] == []
    assert "Traceback" not in done.stderr


def test_answers_for_machines() -> None:
    done = otus("--output", "json", "validate", "-f", "-", text="otus: {node: {hostname: edge-1}}")
    assert json.loads(done.stdout) == {"valid": True, "hostname": "edge-1", "ip": "192.0.2.1", "warnings": []}
