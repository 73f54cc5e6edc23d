"""``otus tap`` of a daemon's task whose workers are killed while somebody looks in: he sees what their successors
report, and whole lines alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from otus_core.testing import packets
from tests.e2e.node import Node
from tests.live.net import OTUS, Pair
from tests.patience import PATIENCE_S, wait
from tests.sip.messages import message

pytestmark = pytest.mark.live

TASK = {
    "id": "t",
    "workers": 2,
    "capture": {"type": "afpacket", "interface": "eth0", "bpf_filter": "udp port 5060"},
    "parsers": ["sip"],
    "reporters": ["discard"],
}
SOURCES = 16
"""Enough that each of two workers has some."""
NUMBERS = count()


def send_some(pair: Pair) -> None:
    """Send a request from each source, with an address of record that no other one has."""
    pair.send(
        [
            packets.udp(
                message(f"OPTIONS sip:u{next(NUMBERS)}@example.com SIP/2.0"),
                src=f"192.0.2.{n + 1}",
                dst="198.51.100.9",
                src_port=5060,
                dst_port=5060,
            )
            for n in range(SOURCES)
        ]
    )


def test_a_tap_goes_on_with_the_successors_of_killed_workers(pair: Pair, tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.under = ["ip", "netns", "exec", pair.near]
    shown = tmp_path / "shown"
    command = [OTUS, "--socket", f"{tmp_path}/o.sock", "tap", "t", "--format", "json", "--rate", "1000"]

    def workers() -> list[dict[str, Any]]:
        return list(node.state("t")["workers"])

    def told(shard: int) -> list[str]:
        """Give when the requests passed that a worker has shown, after some more have passed."""
        send_some(pair)
        whole = shown.read_text().rpartition("\n")[0].splitlines()
        lines = [json.loads(line) for line in whole]
        return [line["timestamp"] for line in lines if line["pipeline_id"] == shard]

    try:
        node.start()
        assert node.rpc("task_create", config=TASK)["result"]["status"] == "created"
        with shown.open("wb") as file:
            looking = subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, text=True)
        wait(lambda: told(0) and told(1), what="both workers are looked in on")
        for shard in (0, 1):
            killed = workers()[shard]["pid"]
            os.kill(killed, signal.SIGKILL)
            wait(
                lambda: workers()[shard]["pid"] != killed and workers()[shard]["state"] == "running",  # noqa: B023
                what="another worker runs",
            )
            before = [set(told(of)) for of in (0, 1)]
            for of in (0, 1):
                wait(lambda: len(set(told(of)) - before[of]) > SOURCES, what="both are looked in on")  # noqa: B023
        assert node.state("t")["worker_restarts"] == 2
        wait(lambda: node.state("t")["counters"]["unaccounted"] == 0, what="everything adds up")
        node.rpc("task_delete", task_id="t")
        _, errors = looking.communicate(timeout=PATIENCE_S)
        assert (looking.returncode, errors) == (0, "otus: task t has ended\n")
        assert shown.read_text().endswith("}\n")
        assert [event for event in node.log() if event["event"] in ("command_failed", "message_refused")] == []
    finally:
        node.end()
