"""Loggers that cost nothing until something is logged: importing structlog takes longer than reading a
small capture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

LEVELS = ("debug", "info", "warning", "error")
_setup: list[Callable[[], None]] = []
_wanted = set(LEVELS)


def on_first_use(level: str, setup: Callable[[], None]) -> None:
    """Have ``setup`` configure structlog before the first event of at least this level is logged."""
    only_from(level)
    _setup[:] = [setup]


def only_from(level: str) -> None:
    """Leave out events below a level, before they cost anything."""
    _wanted.clear()
    _wanted.update(LEVELS[LEVELS.index(level) :])


def is_wanted(level: str) -> bool:
    """Whether events of a level are logged: else what they would tell need not be found out."""
    return level in _wanted


def settle() -> None:
    """Configure structlog now if somebody has imported it: left alone it writes to standard output, which is for
    answers.
    """
    if "structlog" in sys.modules:
        _configure()


class Logger:
    """``log.warning("plugin_failed", plugin=name)``: an event's name and its fields."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **fields: Any) -> None:
        """Log what only a developer wants."""
        self._log("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log what an operator may want."""
        self._log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what an operator should look at."""
        self._log("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log what does not work."""
        self._log("error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Log an error with the traceback of the exception that is being handled."""
        self._log("error", event, {**fields, "exc_info": True})

    def _log(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if level not in _wanted:
            return
        import structlog

        _configure()
        getattr(structlog.get_logger(self._name), level)(event, **fields)


def _configure() -> None:
    import structlog

    while _setup:
        _setup.pop()()
    if not structlog.is_configured():
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
