"""Log events: structlog to standard error, to a rotating file and to Loki, or, in a worker, to the parent over the channel.

Text from packets and exceptions is escaped before it is rendered.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from otus_core.model.text import printable
from otus_core.observe.loki import LokiPusher
from otus_core.observe.rotation import RotatingFile

if TYPE_CHECKING:
    from otus_core.config.daemon import LogConfig, LogFileConfig, LokiConfig

VALUE_MAX = 1000
"""Characters of one value that reach a log line."""
LEVELS = ("debug", "info", "warning", "error")

Event = MutableMapping[str, Any]


def escape(_logger: Any, _method: str, event: Event) -> Event:
    """Make every text value safe for a terminal and of bounded length."""
    for key, value in event.items():
        if isinstance(value, (str, bytes)):
            event[key] = printable(value, VALUE_MAX)
        elif not isinstance(value, (int, float, bool, list, tuple, dict, type(None))):
            event[key] = printable(str(value), VALUE_MAX)
    return event


def setup_stderr(level: str = "info") -> None:
    """Log readable lines to standard error, for commands in the foreground."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            escape,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


class DaemonLogs:
    """The daemon's log: where lines go is fixed at the start, the level can change."""

    def __init__(self, config: LogConfig) -> None:
        self._format = config.format
        outputs = config.outputs
        self.file = _file(outputs.file) if outputs.file.enabled else None
        self.loki = _loki(outputs.loki) if outputs.loki.enabled else None
        self.set_level(config.level)

    def set_level(self, level: str) -> None:
        """Change the level, for loggers that exist too."""
        renderer = (
            structlog.processors.JSONRenderer(default=str)
            if self._format == "json"
            else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
        )
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                escape,
                renderer,
                self._write,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=False,
        )

    @property
    def lost(self) -> int:
        """Lines that the file or Loki did not take."""
        return sum(sink.lost for sink in (self.file, self.loki) if sink is not None)

    def close(self) -> None:
        """Bring out what is left."""
        for sink in (self.file, self.loki):
            if sink is not None:
                sink.close()

    def _write(self, _logger: Any, _method: str, line: Any) -> str:
        for sink in (self.file, self.loki):
            if sink is not None:
                sink.write(line)
        return str(line)


def _file(config: LogFileConfig) -> RotatingFile:
    rotation = config.rotation
    return RotatingFile(
        Path(config.path),
        max_size=rotation.max_size_mb * 1_000_000,
        max_age=rotation.max_age_days * 86400.0,
        max_backups=rotation.max_backups,
        compress=rotation.compress,
    )


def _loki(config: LokiConfig) -> LokiPusher:
    return LokiPusher(config.endpoint, config.labels, config.batch_size, config.batch_timeout)


def setup_forwarding(level: str, send: Callable[[str, dict[str, Any]], None]) -> None:
    """Hand every event to ``send(level, event)``, for a worker whose parent writes the log."""

    def forward(_logger: Any, method: str, event: Event) -> Event:
        send(method, {key: _simple(value) for key, value in event.items()})
        raise structlog.DropEvent

    structlog.configure(
        processors=[escape, forward],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _number(level: str) -> int:
    return int(logging.getLevelName(level.upper()))


def _simple(value: Any) -> Any:
    return value if isinstance(value, (int, float, bool, type(None))) else str(value)
