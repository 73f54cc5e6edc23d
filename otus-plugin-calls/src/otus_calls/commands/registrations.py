"""``otus registrations``: who registers where, until when, and who fails to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer

from otus_calls.commands import terminal, words
from otus_calls.commands.listing import AsCsv, AsJson, check_formats, widths_of, write_json
from otus_calls.commands.source import CHOSEN, Bpf, Files, Interface, Tunnels, source_of
from otus_core import (
    Column,
    RunFailed,
    TableLayout,
    is_coloured,
    printable,
    terminal_columns,
    write_csv,
    write_lines,
)

COLUMNS = (
    Column("first", leaves=5),
    Column("address of record", least=16),
    Column("source", least=9, leaves=9),
    Column("registrar", least=9, leaves=6),
    Column("state"),
    Column("code", right=True, leaves=8),
    Column("expires", right=True, leaves=7),
    Column("tries", right=True),
    Column("refreshed", right=True, leaves=3),
    Column("failed", right=True),
    Column("rrd", right=True, leaves=2),
    Column("odd"),
    Column("user agent", least=10, leaves=1),
)
LIVE_WIDTHS = (10, 28, 21, 21, 14, 4, 7, 5, 9, 6, 5, 14, 24)
STATE = 4
COLOURS = {
    "registered": terminal.GOOD,
    "unregistered": terminal.GOOD,
    "wrong_password": terminal.BAD,
    "rejected": terminal.BAD,
    "no_reply": terminal.BAD,
    "challenged": terminal.ODD,
    "expired": terminal.ODD,
}
FLAT = (
    *("aor", "contact", "registrar", "source", "user_agent", "call_id", "state", "code", "first", "last"),
    *(
        "registered_at",
        "requested_expires",
        "expires",
        "expires_at",
        "attempts",
        "successes",
        "refreshes",
        "challenges",
    ),
    *("failures", "retransmissions", "duplicates", "rrd", "rrd_max", "ira", "wrong_password", "scan", "ended"),
)
CELL_MAX = 96


def registrations(
    files: Files = None,
    interface: Interface = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where", metavar="EXPR", help="Only those that match, such as \"registration.state == 'wrong_password'\"."
        ),
    ] = None,
    problems: Annotated[bool, typer.Option("--problems", help="Only those that failed, or look like a scan.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    bpf: Bpf = None,
    tunnels: Tunnels = None,
) -> None:
    """Show who registers where: a line for each address of record, contact and registrar.

    otus registrations register.pcap
    otus registrations register.pcap --problems
    """
    source = source_of(files, interface, bpf, tunnels)
    check_formats(as_json=as_json, as_csv=as_csv)
    told = _records(source.records({"messages": False}, where, "registration"), where, problems)
    if as_json:
        write_json(told)
    elif as_csv:
        write_csv(told, FLAT)
    elif interface is not None:
        layout = TableLayout(COLUMNS, LIVE_WIDTHS, terminal_columns() or sum(LIVE_WIDTHS) + 2 * len(LIVE_WIDTHS))
        write_lines(_lines(told, layout))
    else:
        _show(told)


def _records(records: Iterable[dict[str, Any]], where: str | None, problems: bool) -> Iterator[dict[str, Any]]:
    for one in records:
        facts = one["payload"]
        if one["payload_type"] != "registration" or (where is not None and CHOSEN not in one["labels"]):
            continue
        if not problems or facts["failures"] or facts["scan"] or facts["state"] not in ("registered", "unregistered"):
            yield facts


def _show(told: Iterator[dict[str, Any]]) -> None:
    """Write the table of all, also of a capture that turns out to be damaged."""
    found: list[dict[str, Any]] = []
    failure = None
    try:
        found += told
    except RunFailed as error:
        failure = error
    found.sort(key=lambda facts: (facts["first"] or "", facts["aor"]))
    if found:
        layout = TableLayout(COLUMNS, widths_of(COLUMNS, map(_cells, found)), terminal_columns())
        write_lines(_lines(found, layout))
    elif failure is None:
        write_lines(["no registrations in it"])
    if failure is not None:
        raise failure


def _lines(told: Iterable[Mapping[str, Any]], layout: TableLayout) -> Iterator[str]:
    colours, date = is_coloured(), None
    for n, facts in enumerate(told):
        if words.date(facts["first"]) != date:
            date = words.date(facts["first"])
            yield terminal.paint(f"{date} UTC", terminal.DIM, colours)
        if n == 0:
            yield terminal.paint(layout.header(), terminal.BOLD, colours)
        yield layout.line(_cells(facts), terminal.painter(STATE, COLOURS.get(facts["state"], "")) if colours else None)


def _cells(facts: Mapping[str, Any]) -> tuple[str, ...]:
    odd = [name for name, is_so in (("scan", facts["scan"]), ("wrong password", facts["wrong_password"])) if is_so]
    return (
        words.clock(facts["first"]),
        printable(facts["aor"].removeprefix("sip:"), CELL_MAX),
        printable(facts["source"], CELL_MAX),
        printable(facts["registrar"], CELL_MAX),
        words.state(facts),
        words.NOTHING if facts["code"] is None else str(facts["code"]),
        words.NOTHING if facts["expires"] is None else f"{facts['expires']} s",
        str(facts["attempts"]),
        str(facts["refreshes"]),
        str(facts["failures"]),
        words.number(facts["rrd"]),
        " ".join(odd),
        printable(facts["user_agent"] or "", CELL_MAX),
    )
