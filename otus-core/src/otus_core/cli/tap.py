"""``otus tap``: what a running task of the daemon reports, live."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Annotated, Any, Literal

import typer

from otus_core.cli.session import session_of
from otus_core.errors import OtusError

TOLD_EVERY_S = 5.0
"""How often it is said that not everything is shown."""


def tap(
    context: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.")],
    keep: Annotated[
        str | None, typer.Option("--filter", metavar="EXPR", help="Show only what matches this expression.")
    ] = None,
    form: Annotated[
        Literal["text", "json"], typer.Option("--format", help="Lines for people, or one JSON object a line.")
    ] = "text",
    rate: Annotated[int, typer.Option("--rate", min=1, max=1000, help="Show at most so many messages a second.")] = 100,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many messages.")] = None,
) -> None:
    """Show live what a running task of the daemon reports, until it ends or Ctrl-C is pressed.

    The task is not slowed down. Of more messages a second than --rate, only some are shown, and standard error says how
    many there were. If the output is read too slowly, some are missing from it.

    otus tap sip --filter "sip.method == 'INVITE'"
    otus tap calls --format json | jq .payload
    """
    params = {"task_id": task_id, "filter": keep or "", "format": form, "rate": rate, **_terminal(form)}
    with contextlib.suppress(KeyboardInterrupt):
        _show(context, params, count)


def _terminal(form: str) -> dict[str, Any]:
    """Say what lines should be like: those for a terminal fit it."""
    if form == "json" or not sys.stdout.isatty():
        return {}
    from otus_core.process.terminal import is_coloured, terminal_columns

    return {"columns": terminal_columns(), "colour": is_coloured()}


def _show(context: typer.Context, params: dict[str, Any], count: int | None) -> None:
    from otus_core.config.effective import socket_path
    from otus_core.control.client import follow, lines_of

    session = session_of(context)
    path = session.socket or socket_path(session.config)
    told = Told()
    left = count
    for event in follow(path, "task_tap", params):
        if "lines" not in event:
            continue
        lines = lines_of(event)
        sys.stdout.write("".join(f"{line}\n" for line in lines[:left]))
        sys.stdout.flush()
        told.note(event)
        if left is not None:
            left -= len(lines)
            if left <= 0:
                return
        if "ended" in event:
            if event["ended"].startswith("task "):
                sys.stderr.write(f"otus: {event['ended']}\n")
                return
            raise OtusError(event["ended"])


class Told:
    """Says now and then that not everything is shown."""

    def __init__(self) -> None:
        self._seen = self._skipped = 0
        self._since = time.monotonic()

    def note(self, event: dict[str, Any]) -> None:
        """Take what the daemon says of a moment."""
        self._seen += event["seen"]
        self._skipped += event["skipped"]
        took = time.monotonic() - self._since
        if took < TOLD_EVERY_S:
            return
        if self._skipped:
            share = 100 * self._skipped / max(self._seen, 1)
            rate = self._seen / took
            sys.stderr.write(f"otus: {rate:,.0f} messages a second: {share:.0f} % of them were not looked at\n")
        self._seen = self._skipped = 0
        self._since = time.monotonic()
