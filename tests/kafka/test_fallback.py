"""The guide's example as a user runs it: Kafka with a fallback, and nobody there."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from otus_core.testing import packets
from tests.live.net import OTUS
from tests.live.test_live import message
from tests.patience import free_port

from .broker import Broker
from .client import consume

MESSAGES = 7


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    import dpkt

    path = tmp_path / "call.pcap"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n in range(MESSAGES):
            writer.writepkt(packets.udp(message(n), src="10.8.0.1"), ts=n)
    return path


def run(task: dict[str, object], tmp_path: Path) -> tuple[list[str], dict[str, dict[str, object]]]:
    """Give the lines on standard output, and the reporters' counters."""
    file = tmp_path / "task.json"
    file.write_text(json.dumps(task))
    written = tmp_path / "summary.json"
    command = [OTUS, "run", "--task", str(file), "--summary-json", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    summary = json.loads(written.read_text())
    assert summary["unaccounted"] == 0
    return done.stdout.splitlines(), summary["reporters"]


@pytest.mark.slow
@pytest.mark.kafka
def test_without_a_broker_the_spare_gets_every_message(capture: Path, tmp_path: Path) -> None:
    task = {
        "id": "calls",
        "capture": {"type": "pcap", "files": [str(capture)]},
        "parsers": ["sip"],
        "reporters": [
            {
                "type": "kafka",
                "config": {"brokers": [f"127.0.0.1:{free_port()}"], "topic": "otus-sip"},
                "fallback": "spare",
            },
            {"type": "console", "id": "spare", "config": {"format": "json"}},
        ],
    }
    begun = time.monotonic()
    lines, reporters = run(task, tmp_path)
    assert len(lines) == MESSAGES
    assert reporters["kafka"]["moved_to_fallback"] == reporters["spare"]["reported"] == MESSAGES
    assert reporters["kafka"]["dropped"] == {}
    assert time.monotonic() - begun < 40


@pytest.mark.kafka
def test_only_what_the_broker_refuses_goes_to_the_spare(own_broker: Broker, topic: str, tmp_path: Path) -> None:
    import dpkt

    path = tmp_path / "mixed.pcap"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n in range(20):
            long = b"\r\nSubject: %s\r\nVia:" % (b"x" * (6000 if n % 5 == 0 else 10))
            writer.writepkt(packets.udp(message(n).replace(b"\r\nVia:", long, 1), src="10.8.0.1"), ts=n)
    task = {
        "id": "calls",
        "capture": {"type": "pcap", "files": [str(path)]},
        "parsers": ["sip"],
        "reporters": [
            {
                "type": "kafka",
                "config": {"brokers": [own_broker.bootstrap], "topic": topic, "max_message_bytes": 4096},
                "fallback": "spare",
            },
            {"type": "console", "id": "spare", "config": {"format": "json"}},
        ],
    }
    lines, reporters = run(task, tmp_path)
    assert len(consume(own_broker, topic)) == 16
    assert len(lines) == 4
    assert (reporters["kafka"]["reported"], reporters["kafka"]["moved_to_fallback"]) == (16, 4)
