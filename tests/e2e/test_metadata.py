"""What a capturer says of its frames, through a real run: filtered by, written, and as it was for each frame."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.core.plugins.distributions import Site
from tests.live.net import OTUS

PLUGIN = """
import otus_core

@otus_core.hookimpl
def otus_components():
    yield otus_core.Capturer(name="taps", factory="taps_parts:Taps", summary="Frames of several taps")
"""
PARTS = """
import otus_core
from otus_core.testing import packets
from tests.sip.messages import message

class Taps(otus_core.BaseCapturer):
    def __init__(self, config):
        self._given = 0

    def read(self):
        if self._given == 4:
            return None
        self._given += 1
        raw = message(call_id=f"Call-ID: {self._given}")
        frames = [packets.udp(raw)] * 298  # and the same over TCP, in two segments
        frames += [packets.tcp(raw[:100], src_port=self._given), packets.tcp(raw[100:], src_port=self._given, seq=101)]
        return otus_core.FrameBatch.from_frames(
            [otus_core.RawPacket(frames[n - 1], n, metadata={"node": "even", "correlation_id": f"{self._given}.{n}"}
                                 if n % 2 == 0 else {"node": "odd"} if n % 3 else None) for n in range(1, 301)])
"""


def test_messages_have_the_metadata_of_their_frames(tmp_path: Path) -> None:
    Site(folder=tmp_path).install("otus-plugin-taps", PLUGIN, modules={"taps_parts": PARTS})
    task = {
        "id": "t",
        "capture": {"type": "taps"},
        "parsers": ["sip"],
        "processors": [{"type": "filter", "config": {"keep_if": "capture.node == 'even'"}}],
        "reporters": [{"type": "console", "config": {"format": "json"}}],
    }
    (tmp_path / "task.json").write_text(json.dumps(task))
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [OTUS, "run", "--task", str(tmp_path / "task.json")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), root))},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    labels = [json.loads(line)["labels"] for line in done.stdout.splitlines()]
    assert [one["capture.correlation_id"] for one in labels] == [
        f"{b}.{n}" for b in range(1, 5) for n in range(2, 301, 2)
    ]
    assert {one["capture.node"] for one in labels} == {"even"}
    assert all(one["sip.call_id"] == one["capture.correlation_id"].partition(".")[0] for one in labels)
