"""``messages: false``: records say all that they say otherwise, without the messages of their call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.calls.commands.running import B2BUA, otus
from tests.needs import ROOT

OFFICE = ROOT / "examples" / "office.pcap.gz"


def records(folder: Path, capture: Path, *, messages: bool | None) -> list[dict[str, Any]]:
    """Run a task, and give its records of calls."""
    task = folder / "task.json"
    config = {"consume": True, **({} if messages is None else {"messages": messages})}
    processors = [{"type": "calls", "config": config}]
    reporters = [{"type": "console", "config": {"format": "json"}}]
    task.write_text(json.dumps({"id": "t", "capture": {}, "processors": processors, "reporters": reporters}))
    done = otus("run", "-q", "-t", task, capture)
    assert (done.returncode, done.stderr) == (0, "")
    told = map(json.loads, done.stdout.splitlines())
    return [one for one in told if one["payload_type"] == "call"]


@pytest.mark.parametrize("name", ["office", B2BUA])
def test_all_else_is_the_same(name: str, tmp_path: Path, corpora: Path) -> None:
    capture = OFFICE if name == "office" else corpora / name
    whole, short = (records(tmp_path, capture, messages=messages) for messages in (None, False))
    assert len(whole) >= 2
    assert all(one["payload"]["messages"] for one in whole)
    assert [{**one, "payload": {**one["payload"], "messages": []}} for one in whole] == short


def test_the_table_does_without_and_json_has_them() -> None:
    (first, *_) = map(json.loads, otus("calls", OFFICE, "--json").stdout.splitlines())
    assert [one["method"] for one in first["messages"]][:1] == ["INVITE"]
    table = otus("calls", OFFICE, "--csv").stdout.splitlines()
    assert len(table) == 1 + len(otus("calls", OFFICE, "--json").stdout.splitlines())
