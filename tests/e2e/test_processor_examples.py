"""The examples of processors in the pages of their plugins do what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.needs import ROOT

PAGES = ("otus-plugin-filter/README.md", "otus-plugin-sip/README.md")


def processors() -> list[dict[str, Any]]:
    found = []
    for page in PAGES:
        for block in re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
            told = yaml.safe_load(block)
            told = told.get("processors", []) if isinstance(told, dict) else told
            found += [one for one in told if "type" in one]
    return found


def test_every_processor_has_an_example() -> None:
    assert {one["type"] for one in processors()} == {"filter", "label", "dedup", "sample", "limit", "mask"}


@pytest.mark.parametrize("processor", processors(), ids=lambda one: one["type"])
def test_an_example_runs(otus_run: Any, tmp_path: Path, examples: Path, processor: dict[str, Any]) -> None:
    if "key_file" in processor["config"]:
        key = tmp_path / "mask.key"
        key.write_text("0123456789abcdef0123456789abcdef\n")
        key.chmod(0o600)
        processor = {**processor, "config": {**processor["config"], "key_file": str(key)}}
    done = otus_run(examples / "call.pcap", task={"parsers": ["sip"], "processors": [processor]})
    assert (done.status, done.errors, done.summary["matched"], done.summary["unaccounted"]) == (0, "", 7, 0)
