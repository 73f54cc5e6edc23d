"""Half-sent requests to the metrics endpoint take neither the daemon's threads nor its descriptors, and make no noise."""

from __future__ import annotations

import socket
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e.node import Node
from tests.patience import PATIENCE_S, wait

CLIENTS = 200
SERVED_AT_ONCE = 16
THREADS_MAX = 40
CLOSED = "otus_metrics_connections_closed_total"


@contextmanager
def half_sent(node: Node) -> Iterator[list[socket.socket]]:
    """Keep many connections open, each with a request that never ends."""
    with ExitStack() as stack:
        clients = []
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", node.port), PATIENCE_S))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: edge-1\r\nX-Half")
            clients.append(client)
        yield clients


def threads(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nThreads:")[2].split(maxsplit=1)[0])


def ended(client: socket.socket) -> bool:
    """Wait for the daemon to end a connection; whether it did so without an answer."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:  # it was closed before the request was read
        return True


def noise(node: Node) -> list[str]:
    """Give what standard error has, apart from the log line that the daemon is ready."""
    lines = (node.folder / "errors").read_text().splitlines()
    return [line for line in lines if '"event": "daemon_ready"' not in line]


def scraped(node: Node) -> bool:
    try:
        return bool(node.metrics())
    except (urllib.error.URLError, ConnectionError):
        return False


@pytest.mark.slow
def test_half_sent_requests_are_bounded_in_number_and_time(node: Node) -> None:
    node.start()
    wait(lambda: scraped(node), what="a first scrape")
    descriptors = len(list(Path(f"/proc/{node.pid}/fd").iterdir()))
    with half_sent(node) as clients:
        assert "result" in node.rpc("task_list")
        assert threads(node.pid) < THREADS_MAX
        assert len(list(Path(f"/proc/{node.pid}/fd").iterdir())) < descriptors + THREADS_MAX
        assert all(ended(client) for client in clients)
        wait(lambda: scraped(node), what="a scrape after the slow ones")
    told = node.metrics()
    too_slow, too_many = (told[CLOSED, (("reason", reason),)] for reason in ("too_slow", "too_many"))
    assert too_slow >= SERVED_AT_ONCE
    assert too_many > 0
    assert too_slow + too_many >= CLIENTS
    assert noise(node) == []


@pytest.mark.parametrize("sent", [b"", b"\xff\x00\r\n\r\n", b"GET /metrics HTTP/1.0\r\n\r\n"])
def test_clients_that_leave_make_no_noise(node: Node, sent: bytes) -> None:
    node.start()
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", node.port), PATIENCE_S) as client:
            client.sendall(sent)
    wait(lambda: scraped(node), what="a scrape")
    assert noise(node) == []
