"""From a capture over two processes of Otus: nothing changes but what HEP cannot carry, and nothing is lost."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from otus_core.testing import packets
from tests.e2e.test_run import otus, outputs
from tests.hep.relay import Relay
from tests.hep.servers import Server
from tests.hep.test_reporter import task_file
from tests.patience import free_port, wait
from tests.sip.messages import message

pytestmark = pytest.mark.slow
DOWN_S = float(os.environ.get("OTUS_HEP_DOWN_S", "3"))
"""How long the receiver is away; 60 is what is promised."""
PER_S = 2000
NOT_CARRIED = ("task_id", "agent_id", "pipeline_id", "vlans", "tunnel", "vni", "outer_src_ip", "outer_dst_ip")


def hep_to(address: str, **config: Any) -> dict[str, Any]:
    return {"type": "hep", "config": {"servers": [address], "transport": "tcp", "node_name": "edge-1", **config}}


def bare(output: dict[str, Any]) -> dict[str, Any]:
    """A message without what HEP cannot carry: it has microseconds, and no VLANs beyond one."""
    labels = {name: text for name, text in output["labels"].items() if not name.startswith("capture.")}
    kept = {name: value for name, value in output.items() if name not in NOT_CARRIED}
    return {**kept, "labels": labels, "timestamp": output["timestamp"][:26]}


@pytest.mark.parametrize("name", ["call", "goffinet__SIP-Call-Flow-Over-TCP.pcap"])
def test_two_hops_change_nothing(name: str, examples: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    capture = examples / "call.pcap" if name == "call" else request.getfixturevalue("corpora") / name
    expected = sorted(map(bare, outputs(capture)), key=str)
    with Relay(tmp_path / "last") as last, Relay(tmp_path / "first", hep_to(last.address)) as first:
        task = task_file(tmp_path, capture, first.address, transport="tcp", node_name="edge-1")
        assert otus("run", "--task", task, "-q").returncode == 0
        found = last.outputs(len(expected))
        assert first.summary()["frames_read"] == last.summary()["frames_read"] == len(expected)
    assert {output["labels"]["capture.node"] for output in found} == {"edge-1"}
    assert all(o["labels"]["capture.correlation_id"] == o["labels"]["sip.call_id"] for o in found)
    assert sorted(map(bare, found), key=str) == expected


@pytest.mark.timeout(600)
def test_a_receiver_that_is_away_misses_nothing(tmp_path: Path) -> None:
    """It is away at first, breaks a connection later, and what it has in the end is everything."""
    port = free_port()
    spool = {"path": str(tmp_path / "spool"), "max_bytes": 1 << 30}
    reporter = {**hep_to(f"127.0.0.1:{port}"), "spool": spool}
    sent: list[bytes] = []
    with Relay(tmp_path / "relay", reporter) as relay, socket.create_connection(("127.0.0.1", relay.port)) as sock:
        send(sock, sent, DOWN_S)
        with Server(port) as server:
            send(sock, sent, 1.0)
            server.break_connections()
            send(sock, sent, 1.0)
            wait(lambda: len({one.payload for one in server.packets}) >= len(sent), what="all come")
            counted = relay.summary()["reporters"]["hep"]
            found = {one.payload for one in server.packets}
    assert found == set(sent) and len(sent) >= DOWN_S * PER_S
    # Those of the spool that are offered again after the break count again
    assert counted["reported"] >= len(sent) and not any(counted["dropped"].values()), counted


def send(sock: socket.socket, sent: list[bytes], seconds: float) -> None:
    """Send so many messages a second, each of a call of its own."""
    begun, first = time.monotonic(), len(sent)
    while (gone := time.monotonic() - begun) < seconds:
        for number in range(len(sent), first + int(gone * PER_S)):
            sent.append(message("OPTIONS sip:a@b SIP/2.0").replace(b"Call-ID: ", b"Call-ID: %d-" % number))
            sock.sendall(packets.hep3(sent[-1], timestamp=1_767_268_800_000_000_000 + number * 1000))
        time.sleep(0.005)
