"""Serves the metrics over HTTP, in threads of its own: a scrape never holds up the daemon."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from otus_core.observe.metrics import OtusCollector
from otus_core.observe.views import View

SCRAPE_WITHIN_S = 10
"""A client that is slower than this is let go of."""


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

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = SCRAPE_WITHIN_S

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a log line."""


def _serve(host: str, port: int, path: str, registry: CollectorRegistry) -> tuple[WSGIServer, threading.Thread]:
    """Start the server. Raises OSError when the address cannot be had."""
    metrics = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == path:
            return metrics(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"metrics are at {path}\n".encode()]

    kind = _ServerV6 if ":" in host else _Server
    server = make_server(host, port, app, server_class=kind, handler_class=_Handler)
    thread = threading.Thread(target=server.serve_forever, name="otus-metrics", daemon=True)
    thread.start()
    return server, thread
