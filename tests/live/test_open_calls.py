"""A run that ends with many calls open reports each of them, and no worker is taken for one that hangs meanwhile."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.bench.generate import call, datagram, ip, plain
from tests.live.net import Pair, accounted

pytestmark = pytest.mark.live

CALLS = 65_536
"""As many as a task follows unless it is told otherwise: twice what the buffers of two workers hold."""


def test_each_open_call_is_reported_in_the_end(pair: Pair, run: Any, tmp_path: Path) -> None:
    task = {
        "id": "t",
        "capture": {"type": "afpacket", "interface": "eth0"},
        "parsers": ["sip"],
        "processors": [{"type": "calls", "config": {"consume": True}}],
        "reporters": [{"type": "console", "config": {"format": "json"}}],
    }
    (tmp_path / "task.json").write_text(json.dumps(task))
    one = run("--task", tmp_path / "task.json", workers=2)
    chance = random.Random(5060)
    pair.send([plain(ip(*datagram(next(call(chance))))) for _ in range(CALLS)])
    summary = one.stop()
    accounted(summary)
    assert summary["frames_read"] > CALLS / 2
    told = [output["payload"]["call_id"] for output in one.outputs() if output["payload_type"] == "call"]
    assert len(set(told)) == len(told) == summary["frames_read"], summary
    assert "hung" not in one.errors()
