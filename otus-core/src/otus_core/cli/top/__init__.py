"""``otus top``: what the daemon's tasks are doing, on a screen."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from otus_core.cli.session import session_of
from otus_core.errors import OtusError


def top(
    context: typer.Context,
    interval: Annotated[float, typer.Option("--interval", min=0.5, max=60.0, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Show on a screen what the daemon's tasks are doing: rates, drops, queues, workers, and which messages are most
    frequent.

    Keys: arrows choose a task, s sorts, r reverses the order, t shows what the task reports (as otus tap), space
    pauses, q quits. It needs the library textual: pip install textual.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise OtusError("otus top needs a terminal; otus stats --watch --output json is for programs")
    from otus_core.config.effective import socket_path
    from otus_core.control.client import call

    session = session_of(context)
    path = session.socket or socket_path(session.config)
    first = call(path, "daemon_stats")  # whether there is a daemon is said before the screen is taken
    try:
        from otus_core.cli.top.app import show_top
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("textual", "rich"):
            raise
        raise OtusError("otus top needs the library textual: pip install textual") from None
    show_top(path, first, interval)
