"""Log events: structlog to standard error, or, in a worker, to the parent over the channel.

Text from packets and exceptions is escaped before it is rendered.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from otus_core.log import LEVELS, Logger, on_first_use
from otus_core.model.text import printable, tell

VALUE_MAX = 1000
"""Characters of one value that reach a log line."""
TRACEBACK_MAX = 8000

Event = MutableMapping[str, Any]

log = Logger("otus.library")


def escape(_logger: Any, _method: str, event: Event) -> Event:
    """Make every text value safe for a terminal and of bounded length."""
    for key, value in event.items():
        if isinstance(value, (str, bytes)):
            event[key] = printable(value, _limit(key))
        elif not isinstance(value, (int, float, bool, list, tuple, dict, type(None))):
            event[key] = printable(_text(value), VALUE_MAX)
    return event


def setup_stderr(level: str = "info") -> None:
    """Log readable lines to standard error, for commands in the foreground."""
    on_first_use(level, lambda: _configure_stderr(level))


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
    """Hand every event to ``send(level, event)`` on the running loop, whatever thread it is from, for a worker whose
    parent writes the log.
    """
    loop, thread = asyncio.get_running_loop(), threading.get_ident()

    def forward(method: str, event: dict[str, Any]) -> None:
        if threading.get_ident() == thread:
            send(method, event)
            return
        with suppress(RuntimeError):  # the loop has ended, and with it the way to the parent
            loop.call_soon_threadsafe(send, method, event)

    on_first_use(level, lambda: _configure_forwarding(level, forward))
    take_in_libraries()


def _configure_forwarding(level: str, send: Callable[[str, dict[str, Any]], None]) -> None:
    from structlog import DropEvent
    from structlog.processors import format_exc_info

    def forward(_logger: Any, method: str, event: Event) -> Event:
        send(method, {key: _simple(key, value) for key, value in event.items()})
        raise DropEvent

    import structlog

    structlog.configure(
        processors=[format_exc_info, forward],  # it is escaped where it is written
        wrapper_class=structlog.make_filtering_bound_logger(level_number(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def relay(logger: Logger, level: str, event: Mapping[str, Any], **about: Any) -> None:
    """Log what a helper process forwarded; ``about`` wins over what it says of itself. Raises what nonsense raises."""
    fields = {**event, **about}
    getattr(logger, level if level in LEVELS else "info")(str(fields.pop("event", "")), **fields)


class _FromLibrary(logging.Handler):
    """Python's own logging, which libraries and asyncio write to: without this, bare lines and tracebacks on standard
    error.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's own mistake in a format
            text = str(record.msg)
        level = "error" if record.levelno >= logging.ERROR else "warning"
        fields = {"logger": record.name, "message": text, **({"exc_info": record.exc_info} if record.exc_info else {})}
        getattr(log, level)("library_message", **fields)


def take_in_libraries() -> None:
    """Have what libraries log or warn of, and what threads die of, become events of this process's log."""
    root = logging.getLogger()
    if not any(isinstance(handler, _FromLibrary) for handler in root.handlers):
        root.addHandler(_FromLibrary(logging.WARNING))
    logging.captureWarnings(True)
    threading.excepthook = _log_death


def _log_death(about: threading.ExceptHookArgs) -> None:
    name = about.thread.name if about.thread is not None else ""
    value = about.exc_value
    log.error(
        "thread_died", thread=name, error=tell(value) if value is not None else about.exc_type.__name__, exc_info=value
    )


def level_number(level: str) -> int:
    """Give the number of a level's name."""
    return int(logging.getLevelName(level.upper()))


def _simple(key: str, value: Any) -> Any:
    """Give what can travel to the parent, of bounded length: one character more than is shown, so that the cut can be
    seen.
    """
    if isinstance(value, (int, float, bool, type(None))):
        return value
    return (value if isinstance(value, (str, bytes)) else _text(value))[: _limit(key) + 1]


def _limit(key: str) -> int:
    return TRACEBACK_MAX if key == "exception" else VALUE_MAX


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - of a plugin's class; a log line is not worth a failure
        return f"<{type(value).__name__}>"
