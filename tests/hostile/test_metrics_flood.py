"""Silent, slow and greedy clients of the metrics endpoint take neither the daemon's threads nor its descriptors, make
no noise, and do not keep a proper scraper out.
"""

from __future__ import annotations

import selectors
import socket
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.node import Node
from tests.patience import PATIENCE_S, wait

CLIENTS = 200
SERVED_AT_ONCE = 16
THREADS_MAX = 80
GREEDY_AT_ONCE = 40
SCRAPES = 10
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
    closed = {reason: told[CLOSED, (("reason", reason),)] for reason in ("too_slow", "too_many", "gave_way")}
    assert closed["too_slow"] >= SERVED_AT_ONCE
    assert closed["gave_way"] > 0
    assert sum(closed.values()) >= CLIENTS
    assert noise(node) == []


class Greedy:
    """A client that holds as many connections as it can get, each with half a request, and comes again at once when one
    is closed.
    """

    def __init__(self, port: int, address: str) -> None:
        self._there = ("127.0.0.1", port)
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.connections = 0

    def __enter__(self) -> Greedy:
        self._thread.start()
        wait(lambda: self.connections > 2 * GREEDY_AT_ONCE, what="it comes again and again")
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for _ in range(GREEDY_AT_ONCE):
            self._connect()
        while not self._ended.is_set():
            for key, _ in self._selector.select(0.05):
                self._close(key.fileobj)
                self._connect()
        for key in list(self._selector.get_map().values()):
            self._close(key.fileobj)

    def _close(self, client: object) -> None:
        assert isinstance(client, socket.socket)
        self._selector.unregister(client)
        client.close()

    def _connect(self) -> None:
        client = socket.create_connection(self._there, PATIENCE_S, (self._address, 0))
        client.sendall(b"GET /metrics HTTP/1.1\r\nX-Half")
        self._selector.register(client, selectors.EVENT_READ)
        self.connections += 1


@pytest.mark.parametrize("address", ["127.0.0.2", "127.0.0.1"], ids=["from elsewhere", "from the scraper's address"])
def test_a_scraper_is_served_while_a_greedy_client_comes_again_for_ever(node: Node, address: str) -> None:
    """From elsewhere at once; who cannot be told from the greedy one is served as well, sooner or later."""
    node.start()
    wait(lambda: scraped(node), what="a first scrape")
    with Greedy(node.port, address):
        for _ in range(SCRAPES):
            served = scraped(node)
            assert served or address == "127.0.0.1"
            wait(lambda: scraped(node), what="a scrape all the same")
        assert threads(node.pid) < THREADS_MAX
    wait(lambda: scraped(node), what="a scrape after the greedy one")
    assert node.metrics()[CLOSED, (("reason", "gave_way"),)] > 0
    assert noise(node) == []


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /metrics HTTP/1.0\r\nX-Much: " + b"x" * 20_000,
        b"GET /metrics HTTP/1.0\r\n" + b"X: y\r\n" * 100,
        b"GET /metrics HTTP/1.0\r\n" + b"X: y\r\n" * 1_000_000,
        b"GET /" + b"x" * 20_000 + b" HTTP/1.0",
    ],
    ids=["bytes", "lines", "both", "request line"],
)
def test_headers_are_bounded(node: Node, request_: bytes) -> None:
    node.start()
    wait(lambda: scraped(node), what="a first scrape")
    answer = b""
    with socket.create_connection(("127.0.0.1", node.port), PATIENCE_S) as client, suppress(ConnectionError):
        client.sendall(request_ + b"\r\n\r\n")  # it is not all read: what is refused is no longer listened to
        while more := client.recv(65_536):
            answer += more
    assert b"otus_" not in answer
    assert node.metrics()[CLOSED, (("reason", "too_large"),)] == 1
    assert noise(node) == []


@pytest.mark.parametrize("sent", [b"", b"\xff\x00\r\n\r\n", b"GET /metrics HTTP/1.0\r\n\r\n"])
def test_clients_that_leave_make_no_noise(node: Node, sent: bytes) -> None:
    node.start()
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", node.port), PATIENCE_S) as client:
            client.sendall(sent)
    wait(lambda: scraped(node), what="a scrape")
    assert noise(node) == []
