"""What users met and Otus does not read yet: nothing of it is lost uncounted, and the figures say what became of it.

Their numbers are those of ``shared/field/CASES.md``.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.live.net import OTUS

CASES = {
    "19, a message cut in two segments": ("19-tcp-repeated-partial.pcap", 6, 2),
    "21, a segment that begins in a message": ("21-tcp-tail-then-whole.pcap", 4, 3),
    "47, one packet tagged and untagged": ("47-duplicates-any.pcap", 4, 4),
    "48, HEP": ("48-hep3.pcap", 1, 0),
    "49, WebSocket": ("49-websocket.pcap", 2, 2),
    "50, SCTP": ("50-sctp.pcap", 1, 0),
    "52, TZSP": ("52-tzsp.pcap", 1, 0),
    "56, private addresses in descriptions": ("56-nat.pcap", 2, 2),
}


@pytest.mark.parametrize(("name", "frames", "kept"), CASES.values(), ids=CASES)
def test_each_frame_is_counted(field: Path, name: str, frames: int, kept: int) -> None:
    command = [OTUS, "run", str(field / name), "--format", "none", "-q", "--summary-json", "-"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert (told["frames_read"], told["kept"], told["unaccounted"]) == (frames, kept, 0)
    ended = sum(told["dropped"].values()) + told["segments_merged"] - told["messages_added"]
    assert ended == frames - kept
