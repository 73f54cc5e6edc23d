"""The example of an office's calls: what its script makes, and what is said of calls with silence behind them."""

from __future__ import annotations

import gzip
import json
import runpy
from pathlib import Path

import dpkt

from tests.calls.commands.running import otus


def test_the_capture_is_what_its_script_makes(examples: Path) -> None:
    made = runpy.run_path(str(examples / "office.py"))
    with gzip.open(examples / "office.pcap.gz") as file:
        assert [frame for _, frame in dpkt.pcap.Reader(file)] == [frame for _, frame in made["office"]()]


def test_calls_before_a_silence_have_their_media(examples: Path) -> None:
    """No packet comes between the end of their streams, 30 s after a call, and the end of the call's own wait at 35 s:
    both fall into one tick.
    """
    done = otus("calls", examples / "office.pcap.gz", "--json")
    assert done.returncode == 0, done.stderr
    calls = [json.loads(line) for line in done.stdout.splitlines()]
    found = [(call["state"], sorted(stream["packets"] for stream in call["media"])) for call in calls]
    assert found == [
        ("completed", [700, 700]),
        ("busy", []),
        ("failed", []),
        ("completed", [744, 800]),
        ("completed", [400]),
        ("cancelled", []),
    ]
