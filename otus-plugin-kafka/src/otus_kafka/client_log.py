"""What the client library logs: kept from flooding the log, and kept as the reason that its exceptions do not give.

aiokafka tells why a connection failed only in its log. Every task that it starts inherits the context of the one that
called it, so a line can be laid at the door of the component on whose behalf it was written.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar

import structlog

from otus_core import printable
from otus_kafka.rate import Bucket

LINE_MAX = 300
"""Characters of a line, which may hold what a broker says."""
BURST = 10
"""Lines that may come at once; after that one a second. An outage makes aiokafka write 40 to 60 a second."""
HARMLESS = ("Sending username and password in the clear", "not found in cluster metadata")

log = structlog.get_logger("otus.kafka")


class LastLine:
    """The last complaint of the client library on behalf of one component."""

    def __init__(self) -> None:
        self.text = ""

    def listen(self) -> None:
        """Take the lines that the current task, and all that it starts, causes from now on."""
        _listener.set(self)

    def take(self) -> str:
        """Give the line and forget it."""
        text, self.text = self.text, ""
        return text


_listener: ContextVar[LastLine | None] = ContextVar("otus_kafka_listener", default=None)


class _Handler(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._bucket = Bucket(1.0, BURST)
        self._suppressed = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = printable(record.getMessage(), LINE_MAX)
        except Exception:  # a line that cannot be formatted is not worth a failure
            return
        listener = _listener.get()
        if listener is not None and not any(part in text for part in HARMLESS):
            listener.text = text
        self._pass_on(record.levelname.lower(), text)

    def _pass_on(self, level: str, text: str) -> None:
        if not self._bucket.take():
            self._suppressed += 1
            return
        suppressed, self._suppressed = self._suppressed, 0
        log.warning("kafka_client", level_of_client=level, message=text, suppressed=suppressed)


def capture_client_log() -> None:
    """Take over the logger of the client library; done once for the process."""
    logger = logging.getLogger("aiokafka")
    if not any(isinstance(handler, _Handler) for handler in logger.handlers):
        logger.addHandler(_Handler())
        logger.setLevel(logging.WARNING)
        logger.propagate = False
