"""Serves the metrics over HTTP, in threads of its own: a scrape never holds up the daemon.

Whoever reaches the port may hold a few connections for a few seconds, no more: each takes a descriptor and a thread of the daemon.
"""

from __future__ import annotations

import contextlib
import io
import math
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from otus_core.model.text import told
from otus_core.observe.metrics import OtusCollector
from otus_core.observe.views import View

CONNECTIONS_MAX = 16
"""Connections that are served at once; further ones are closed unread."""
HEADERS_WITHIN_S = 5.0
"""Time for a request to come whole, from the connection's begin."""
EXCHANGE_WITHIN_S = 10.0
"""Time for request and answer together, from the connection's begin."""
ACCEPT_PAUSE_S = 0.1
"""Pause after a connection that could not be taken: without a free descriptor it stays in the queue, and asking again at once takes a whole core."""
CUT = math.inf
"""Stands for the time of a connection that was cut and whose thread has yet to see it."""

LOG = structlog.get_logger()


class MetricsServer:
    """Serves a collector over HTTP, in a thread of its own: a scrape never holds up the daemon."""

    def __init__(self, listen: str, path: str, view: Callable[[], View]) -> None:
        host, _, port = listen.rpartition(":")
        self._registry = CollectorRegistry()
        self._registry.register(OtusCollector(view))
        self._server, self._thread = _serve(host.strip("[]"), int(port), path, self._registry)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    @property
    def closed(self) -> Mapping[str, int]:
        """Connections closed before they had their answer, by reason."""
        return dict(self._server.closed)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, within bounds of number and time.

    The time limit is one for all that a client sends or takes: a limit for each read never ends for a client that sends a byte now and then.
    """

    daemon_threads = True
    # With few places a flood makes a proper scrape's connection wait for the kernel's next try, seconds later.
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        self.closed = {"too_many": 0, "too_slow": 0}
        self._until: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(*arguments)

    def get_request(self) -> tuple[Any, Any]:
        try:
            return super().get_request()
        except OSError:
            time.sleep(ACCEPT_PAUSE_S)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more connection."""
        with self._lock:
            if len(self._until) >= CONNECTIONS_MAX:
                self.closed["too_many"] += 1
                return False
            self._until[request] = time.monotonic() + HEADERS_WITHIN_S
            return True

    def headers_came(self, request: socket.socket) -> bool:
        """Give a connection the rest of its time; False when it has been cut, which its reader sees as the request's end."""
        with self._lock:
            if self._until[request] == CUT:
                return False
            self._until[request] += EXCHANGE_WITHIN_S - HEADERS_WITHIN_S
            return True

    def service_actions(self) -> None:
        """Cut the connections whose time is over; called twice a second. Their threads see the end and close them."""
        now = time.monotonic()
        with self._lock:
            for request in [request for request, until in self._until.items() if until < now]:
                self._until[request] = CUT
                self.closed["too_slow"] += 1
                with contextlib.suppress(OSError):  # the client has left already
                    request.shutdown(socket.SHUT_RDWR)

    def close_request(self, request: Any) -> None:
        with self._lock:
            self._until.pop(request, None)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what failed, without a traceback; a client that leaves is no failure."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            LOG.warning("metrics_failed", error=told(error))


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    server: _Server

    def parse_request(self) -> bool:
        return super().parse_request() and self.server.headers_came(self.request)

    def get_stderr(self) -> Any:
        """Tracebacks of answers that a client does not take go nowhere; faults of ours are logged."""
        return io.StringIO()

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a log line."""


def _serve(host: str, port: int, path: str, registry: CollectorRegistry) -> tuple[_Server, threading.Thread]:
    """Start the server. Raises OSError when the address cannot be had."""
    metrics = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == path:
            try:
                return metrics(environ, start_response)
            except Exception as error:  # noqa: BLE001 - a scrape fails alone, whatever a plugin told
                LOG.warning("metrics_failed", error=told(error))
                start_response("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")])
                return [b"the metrics could not be made; the log has the reason\n"]
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"metrics are at {path}\n".encode()]

    kind = _ServerV6 if ":" in host else _Server
    server = make_server(host, port, app, server_class=kind, handler_class=_Handler)
    thread = threading.Thread(target=server.serve_forever, name="otus-metrics", daemon=True)
    thread.start()
    return server, thread
