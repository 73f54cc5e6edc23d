"""The daemon's log: standard error, a rotating file and Loki, at a level that can change at run time.

Every line carries the node.

What an output does not take is counted, and said in that output when it takes lines again.
"""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog

from otus_core.config.daemon import LogConfig, LogFileConfig, LokiConfig
from otus_core.log import only_from
from otus_core.logs.events import Event, escape, level_number, take_in_libraries
from otus_core.logs.loki import LokiPusher, login_headers
from otus_core.logs.rotation import RotatingFile
from otus_core.logs.stderr import StandardError
from otus_core.model.text import printable

TOLD_EVERY_S = 10.0
"""How often it is said at most that an output lost lines: one that takes some and refuses others must not be kept busy
with that.
"""


class Sink(Protocol):
    """Where lines go.

    ``lost`` counts those that it did not take, at once or later; ``trouble`` says why it takes none now.
    """

    lost: int
    trouble: str

    def write(self, line: str) -> bool:
        """Take one line; false when it is lost. Never waits, never raises."""
        ...

    def close(self) -> None:
        """Bring out what is left."""
        ...


class DaemonLogs:
    """The daemon's log: where lines go is fixed at the start, the level can change."""

    def __init__(self, config: LogConfig, node: str) -> None:
        self._node = node
        self._renderer: Any = (
            structlog.processors.JSONRenderer(default=str)
            if config.format == "json"
            else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
        )
        outputs = config.outputs
        self._file = _file(outputs.file) if outputs.file.enabled else None
        loki = _loki(outputs.loki, node) if outputs.loki.enabled else None
        sinks: Mapping[str, Sink | None] = {"stderr": StandardError(), "file": self._file, "loki": loki}
        self._sinks = {name: sink for name, sink in sinks.items() if sink is not None}
        self._told: dict[str, tuple[int, float]] = {}
        self._troubles: dict[str, str] = {}
        self.set_level(config.level)
        take_in_libraries()
        atexit.register(self.close)  # whatever ends the process early

    def set_level(self, level: str) -> None:
        """Change the level, for loggers that exist too."""
        only_from(level)
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.format_exc_info,
                escape,
                self._write,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(level_number(level)),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=False,
        )

    @property
    def lost(self) -> int:
        """Lines that standard error, the file or Loki did not take."""
        return sum(sink.lost for sink in self._sinks.values())

    def reopen(self) -> None:
        """Go on in a new log file if the one so far was moved away."""
        if self._file is not None:
            self._file.reopen()

    def close(self) -> None:
        """Bring out what is left."""
        for sink in self._sinks.values():
            sink.close()
        self._sinks = {}

    def _write(self, _logger: Any, _method: str, event: Event) -> str:
        line = self._line(event)
        for name, sink in self._sinks.items():
            if sink.write(line):
                self._tell_of_loss(name, sink)
            elif sink.trouble != self._troubles.get(name):
                self._troubles[name] = sink.trouble
                self._tell_of_trouble(name, sink)
        raise structlog.DropEvent

    def _tell_of_trouble(self, name: str, sink: Sink) -> None:
        """Say in the other outputs that one does not take lines, and why: once, until it has taken some again."""
        event = {"event": "log_output_failed", "level": "error", "output": name, "reason": printable(sink.trouble, 300)}
        line = self._line(event)
        for other in self._sinks.values():
            if other is not sink:
                other.write(line)

    def _tell_of_loss(self, name: str, sink: Sink) -> None:
        """Say in an output that takes lines again how many it did not take."""
        told, told_at = self._told.get(name, (0, float("-inf")))
        lost, now = sink.lost, time.monotonic()
        if lost > told and now - told_at >= TOLD_EVERY_S:
            event = {"event": "log_lines_lost", "level": "warning", "output": name, "lines": lost - told}
            if sink.write(self._line(event)):
                self._told[name] = (lost, now)
                self._troubles.pop(name, None)

    def _line(self, event: Event) -> str:
        event["node"] = self._node
        stamped = structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "", event)
        return str(self._renderer(None, "", stamped))


def _file(config: LogFileConfig) -> RotatingFile:
    rotation = config.rotation
    return RotatingFile(
        Path(config.path),
        max_size=rotation.max_size_mb * 1_000_000,
        max_age=rotation.max_age_days * 86400.0,
        max_backups=rotation.max_backups,
        compress=rotation.compress,
    )


def _loki(config: LokiConfig, node: str) -> LokiPusher:
    labels = {"node": node, **config.labels}
    return LokiPusher(
        config.endpoint, labels, config.batch_size, config.batch_timeout, headers=lambda: login_headers(config)
    )
