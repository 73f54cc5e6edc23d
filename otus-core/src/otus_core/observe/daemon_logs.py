"""The daemon's log: standard error, a rotating file and Loki, at a level that can change at run time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import structlog

from otus_core.config.daemon import LogConfig, LogFileConfig, LokiConfig
from otus_core.observe.logs import escape, level_number
from otus_core.observe.loki import LokiPusher
from otus_core.observe.rotation import RotatingFile


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
            wrapper_class=structlog.make_filtering_bound_logger(level_number(level)),
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
