"""Log lines to Grafana Loki, by its push API, from a thread of its own.

In: lines. Out: batches by size or time, tried again with growing pauses while Loki is away. The buffer is bounded: the
oldest lines go first and are counted. Never blocks. See
https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs
"""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any

from otus_core.config.daemon import LokiConfig
from otus_core.folders import read_secret
from otus_core.log import Logger

BUFFER_MAX = 10_000
"""Lines that wait while Loki is away: a few megabytes."""
TIMEOUT_S = 5.0
"""Of one push. It is in a thread of its own, and holds up nothing but the lines behind it."""
# Between two tries: at once would load a Loki that is starting, and after half a minute nobody waits any more.
PAUSE_FIRST_S = 0.5
PAUSE_MOST_S = 30.0
REFUSED_FOR_GOOD = set(range(400, 500)) - {401, 403, 408, 429}
"""What Loki answers to a push that it will never take.

A login can be put right, and what came too late or too often may come again.
"""
TOLD_EVERY_S = 10.0

log = Logger("otus.loki")


class LokiPusher:
    """``write`` takes one line; ``close`` pushes what is left, for a few seconds.

    ``headers`` gives what each push carries, and may raise OSError or ValueError.
    """

    def __init__(
        self,
        endpoint: str,
        labels: Mapping[str, str],
        batch_size: int,
        batch_timeout: float,
        headers: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.lost = 0
        self.pushed = 0
        self.trouble = ""
        self._endpoint = endpoint
        self._labels = dict(labels)
        self._batch_size = batch_size
        self._batch_timeout = batch_timeout
        self._headers = headers
        self._told_at = float("-inf")
        self._http = urllib.request.build_opener(_NoRedirect)
        self._lines: deque[tuple[int, str]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="otus-loki", daemon=True)
        self._thread.start()

    def write(self, line: str) -> bool:
        """Take one line; when the buffer is full the oldest goes, and this gives false."""
        with self._changed:
            is_full = len(self._lines) >= BUFFER_MAX
            if is_full:
                self._lines.popleft()
                self.lost += 1
            self._lines.append((time.time_ns(), line))
            # At the first one its time begins, and with the last one a batch is full; in between, waking the thread is
            # idle work.
            if len(self._lines) == 1 or len(self._lines) >= self._batch_size:
                self._changed.notify()
            return not is_full

    def close(self, within: float = 3.0) -> None:
        """Push what is left, for at most ``within`` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(within)

    def _run(self) -> None:
        pause = PAUSE_FIRST_S
        while True:
            batch = self._next()
            if not batch:
                return
            done = self._push(batch)
            if done is None:
                with self._changed:
                    self._give_back(batch)
                    if self._closing:
                        return
                    self._changed.wait_for(lambda: self._closing, pause)
                pause = min(2 * pause, PAUSE_MOST_S)
                continue
            pause = PAUSE_FIRST_S
            with self._changed:
                if done:
                    self.pushed += len(batch)
                else:
                    self.lost += len(batch)

    def _next(self) -> list[tuple[int, str]]:
        """Wait for a batch; empty when there is nothing more to come."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or bool(self._lines))
            if not self._closing:
                self._changed.wait_for(
                    lambda: self._closing or len(self._lines) >= self._batch_size, self._batch_timeout
                )
            return [self._lines.popleft() for _ in range(min(self._batch_size, len(self._lines)))]

    def _give_back(self, batch: list[tuple[int, str]]) -> None:
        """Put a batch that could not be pushed before the others, as far as there is room."""
        room = BUFFER_MAX - len(self._lines)
        # Of the batch too the oldest lines go first; they keep their order, which Loki asks for.
        kept = batch[len(batch) - min(room, len(batch)) :]
        self.lost += len(batch) - len(kept)
        self._lines.extendleft(reversed(kept))

    def _push(self, batch: list[tuple[int, str]]) -> bool | None:
        """Push a batch: true when Loki took it, false when it never will, ``None`` when it may later."""
        stream = {"stream": self._labels, "values": [[str(ns), line] for ns, line in batch]}
        try:
            request = urllib.request.Request(
                self._endpoint,
                # Level 1: this thread's time is taken from the packets' cores, and log lines repeat themselves enough.
                data=gzip.compress(json.dumps({"streams": [stream]}).encode(), 1),
                headers={**self._headers(), "Content-Type": "application/json", "Content-Encoding": "gzip"},
                method="POST",
            )
            with self._http.open(request, timeout=TIMEOUT_S):
                self._tell("")
                return True
        except urllib.error.HTTPError as error:
            with error:
                self._tell(f"HTTP {error.code}")
            # Loki answers 400 for lines that are too old or out of order: sent again, they would keep all later ones
            # back.
            return False if error.code in REFUSED_FOR_GOOD else None
        except (OSError, ValueError, HTTPException) as error:
            self._tell(str(getattr(error, "reason", error)))
            return None

    def _tell(self, trouble: str) -> None:
        """Log why nothing gets there, once for as long as it stays so; the other outputs show it now.

        What is told is pushed too, so it must not come often.
        """
        now = time.monotonic()
        if trouble == self.trouble or now - self._told_at < TOLD_EVERY_S:
            return
        self.trouble, self._told_at = trouble, now
        if trouble:
            log.warning("loki_push_failed", endpoint=self._endpoint, reason=trouble)
        else:
            log.info("loki_push_works", endpoint=self._endpoint)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A login goes to the endpoint that was configured, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def login_headers(config: LokiConfig) -> dict[str, str]:
    """Give the headers of one push. Raises OSError or ValueError for a file that holds no secret."""
    headers = {"X-Scope-OrgID": config.tenant} if config.tenant else {}
    login = config.basic_auth
    if config.bearer_token_file:
        headers["Authorization"] = f"Bearer {read_secret(config.bearer_token_file)}"
    elif login is not None:
        pair = f"{login.username}:{login.password or read_secret(login.password_file)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return headers
