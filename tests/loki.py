"""A Loki to push log lines to: a real HTTP server that takes, refuses, redirects and keeps waiting as it is told."""

from __future__ import annotations

import gzip
import json
import threading
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.patience import PATIENCE_S


class Loki:
    """What it took: ``lines`` with their ``times`` (ns), and the ``streams`` that they were in.

    It takes pushes whose headers are as ``wanted``, and keeps the headers of others in ``refused``. ``statuses`` are
    what it answers next, 204 when there are no more; ``elsewhere`` is where it sends pushes to instead. While
    ``answers`` is not set it answers nobody; ``asked`` counts who has asked.
    """

    def __init__(self, **wanted: str) -> None:
        self.wanted = wanted
        self.lines: list[str] = []
        self.times: list[int] = []
        self.streams: list[dict[str, str]] = []
        self.refused: list[dict[str, str]] = []
        self.statuses: list[int] = []
        self.elsewhere = ""
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked += 1
                outer.answers.wait(PATIENCE_S)
                status = outer._status(self.headers)
                if status == 204:
                    outer._take(json.loads(body))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", outer.elsewhere)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/loki/api/v1/push"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _status(self, headers: Message) -> int:
        if self.elsewhere:
            return 302
        if any(headers[name] != value for name, value in self.wanted.items()):
            self.refused.append(dict(headers.items()))
            return 401
        return self.statuses.pop(0) if self.statuses else 204

    def _take(self, pushed: dict[str, Any]) -> None:
        for stream in pushed["streams"]:
            self.streams.append(stream["stream"])
            self.times += [int(ns) for ns, _ in stream["values"]]
            self.lines += [line for _, line in stream["values"]]

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The lines of a log in JSON."""
        return [json.loads(line) for line in list(self.lines)]

    def events(self) -> list[str]:
        """Give what the entries tell of."""
        return [entry["event"] for entry in self.entries]

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
