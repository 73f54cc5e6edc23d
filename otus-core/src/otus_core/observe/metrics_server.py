"""Serves the metrics over HTTP, in threads of its own: a scrape never holds up the daemon.

Whoever reaches the port may hold a few connections for a few seconds (``places``), and have a few KiB of headers
read, no more. With TLS the handshake is made by the connection's own thread, within the same time: the client
library's server would make it while it accepts, and one silent client would keep all others out.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from otus_core.config.daemon import MetricsConfig
from otus_core.errors import OtusError
from otus_core.model.text import tell
from otus_core.observe.access import Access
from otus_core.observe.metrics import OtusCollector
from otus_core.observe.places import Places
from otus_core.observe.views import View

HEADER_BYTES_MAX = 16 << 10
"""Of a request, its first line included: Prometheus sends some 400."""
HEADER_LINES_MAX = 64
"""Prometheus sends 6."""
ACCEPT_PAUSE_S = 0.1
"""Pause after a connection that could not be taken: without a free descriptor it stays in the queue, and asking again
at once takes a whole core.
"""

LOG = structlog.get_logger()


def serve_metrics(config: MetricsConfig, view: Callable[[], View]) -> MetricsServer:
    """Serve as the configuration says. Raises OtusError."""
    access = Access(config.tls, config.basic_auth)
    try:
        return MetricsServer(config.listen, config.path, view, access)
    except OSError as error:
        raise OtusError(f"metrics.listen {config.listen}: {error.strerror or error}") from error


class MetricsServer:
    """Serves a collector over HTTP, in a thread of its own. Raises OSError when the address cannot be had."""

    def __init__(self, listen: str, path: str, view: Callable[[], View], access: Access | None = None) -> None:
        host, _, port = listen.rpartition(":")
        registry = CollectorRegistry()
        registry.register(OtusCollector(view))
        self._access = access or Access()
        # An IPv6 address stands in brackets before its port (RFC 3986 §3.2.2), and without them in a socket's address.
        self._server = _listening(host.strip("[]"), int(port))
        self._server.access = self._access
        self._server.set_app(_application(registry, path, self._access, self._server.places))
        self._thread = threading.Thread(target=self._server.serve_forever, name="otus-metrics", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    @property
    def closed(self) -> Mapping[str, int]:
        """Connections that got no metrics, by reason."""
        return self._server.places.refused

    def renew(self) -> None:
        """Read certificate and password again; what was there still serves where that fails, which is logged."""
        try:
            self._access.renew()
        except OtusError as error:
            LOG.error("metrics_not_renewed", error=str(error))

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        # A scrape that is being answered ends by itself; its thread does not keep the process (daemon_threads).
        self._thread.join(5)


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection.

    The time limit is one for all that a client sends or takes: a limit for each read never ends for a client that sends
    a byte now and then.
    """

    daemon_threads = True  # Python waits for all others when it ends, and a client may keep its thread for seconds
    # With few places a flood makes a proper scrape's connection wait for the kernel's next try, seconds later.
    request_queue_size = 64
    access: Access

    def __init__(self, *arguments: Any) -> None:
        self.places = Places()
        super().__init__(*arguments)

    def get_request(self) -> tuple[Any, Any]:
        try:
            request, address = super().get_request()
        except OSError:
            time.sleep(ACCEPT_PAUSE_S)
            raise
        if self.access.context is None:
            return request, address
        try:  # the handshake comes with the first read
            secured = self.access.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        except OSError:
            request.close()
            raise
        return secured, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more connection."""
        return self.places.take(request, client_address[0])

    def service_actions(self) -> None:
        """Called twice a second."""
        self.places.cut_the_slow()

    def shutdown_request(self, request: Any) -> None:
        """Say goodbye first: a TLS client takes an end without it for a cut."""
        if isinstance(request, ssl.SSLSocket):
            _end_tls(request)
        super().shutdown_request(request)

    def close_request(self, request: Any) -> None:
        self.places.leave(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what failed, without a traceback; a client that leaves, or talks no TLS, is no failure."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            LOG.warning("metrics_failed", error=tell(error))


class _ServerV6(_Server):
    address_family = socket.AF_INET6


def _end_tls(request: ssl.SSLSocket) -> None:
    """Send our close_notify; the peer's is not waited for (RFC 8446 §6.1)."""
    try:
        request.setblocking(False)
        request.unwrap()
    except (OSError, ValueError):
        pass


class _Headers:
    """A request's bytes, up to a bound: behind it http.client is told that there are too many, and answers 431."""

    def __init__(self, source: Any, places: Places) -> None:
        self._source = source
        self._places = places
        self._bytes, self._lines = HEADER_BYTES_MAX, HEADER_LINES_MAX + 2  # the request line, and the empty one

    def readline(self, most: int) -> bytes:
        if self._bytes <= 0 or self._lines <= 0:
            self._places.count("too_large")
            raise http.client.LineTooLong("header")
        line: bytes = self._source.readline(min(most, self._bytes))
        self._bytes -= len(line)
        self._lines -= 1
        return line

    def close(self) -> None:
        self._source.close()


class _Handler(WSGIRequestHandler):
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.rfile: Any = _Headers(self.rfile, self.server.places)

    def parse_request(self) -> bool:
        return super().parse_request() and self.server.places.request_came(self.request)

    def get_stderr(self) -> Any:
        """Tracebacks of answers that a client does not take go nowhere; faults of ours are logged."""
        return io.StringIO()

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a log line."""


def _listening(host: str, port: int) -> _Server:
    """Give a server that listens and does not serve yet. Raises OSError when the address cannot be had."""
    kind = _ServerV6 if ":" in host else _Server
    # The application needs the server's places, and comes once there is a server.
    return make_server(host, port, _nothing, server_class=kind, handler_class=_Handler)


def _nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise NotImplementedError


def _application(registry: CollectorRegistry, path: str, access: Access, places: Places) -> Callable[..., Any]:
    """Give what answers a request: the metrics to whom they are for, and nothing else."""
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if not access.admits(environ.get("HTTP_AUTHORIZATION", "")):
            places.count("unauthorized")
            # RFC 7617 §2.1: with the charset, a client encodes name and password as UTF-8.
            asked = ("WWW-Authenticate", 'Basic realm="otus", charset="UTF-8"')
            return _say(start_response, "401 Unauthorized", "a login is needed\n", asked)
        if environ["PATH_INFO"] != path:
            return _say(start_response, "404 Not Found", f"metrics are at {path}\n")
        try:
            return metrics(environ, start_response)
        except Exception as error:  # noqa: BLE001 - a scrape fails alone, whatever a plugin told
            LOG.warning("metrics_failed", error=tell(error))
            why = "the metrics could not be made; the log has the reason\n"
            return _say(start_response, "500 Internal Server Error", why)

    return answer


def _say(start_response: Any, status: str, text: str, *headers: tuple[str, str]) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
    return [text.encode()]
