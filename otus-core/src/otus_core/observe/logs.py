"""Log events: structlog to standard error, or, in a worker, to the parent over the channel.

Text from packets and exceptions is escaped before it is rendered.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

from otus_core.log import on_first_use
from otus_core.model.text import printable

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
    on_first_use(lambda: _configure_stderr(level))


def _configure_stderr(level: str) -> None:
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            escape,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level_number(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def setup_forwarding(level: str, send: Callable[[str, dict[str, Any]], None]) -> None:
    """Hand every event to ``send(level, event)``, for a worker whose parent writes the log."""
    on_first_use(lambda: _configure_forwarding(level, send))


def _configure_forwarding(level: str, send: Callable[[str, dict[str, Any]], None]) -> None:
    from structlog import DropEvent

    def forward(_logger: Any, method: str, event: Event) -> Event:
        send(method, {key: _simple(value) for key, value in event.items()})
        raise DropEvent

    import structlog

    structlog.configure(
        processors=[escape, forward],
        wrapper_class=structlog.make_filtering_bound_logger(level_number(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def level_number(level: str) -> int:
    """Give the number of a level's name."""
    return int(logging.getLevelName(level.upper()))


def _simple(value: Any) -> Any:
    return value if isinstance(value, (int, float, bool, type(None))) else str(value)
