"""``otus calls``: the calls of captures or of an interface, a line each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from otus_calls.commands import terminal, words
from otus_calls.commands.finding import Numbered, find_calls, follow_calls, none_matches
from otus_calls.commands.listing import AsCsv, AsJson, check_formats, widths_of, write_json
from otus_calls.commands.rows import COLUMNS, LIVE_WIDTHS, cells
from otus_calls.commands.source import Bpf, Files, Interface, Source, Tunnels, Where, refuse, source_of
from otus_core import OtusError, TableLayout, fit, is_coloured, printable, terminal_columns, write_csv, write_lines

STATE = 3
FLAT = (
    *("number", "call_id", "from_tag", "start", "ring", "answer", "end", "state", "code", "reason", "q850"),
    *("from_user", "from_uri", "to_user", "to_uri", "request_uri", "caller", "callee", "transport"),
    *("user_agent", "server", "pdd", "setup", "talk", "total", "srd", "sdd", "sdt", "hangup_by", "attempts"),
    *("retransmissions", "duplicates", "reinvites", "hops", "media", "mos", "flags", "legs", "partial", "ended"),
)
"""The columns of ``--csv``."""


def calls(
    files: Files = None,
    interface: Interface = None,
    where: Where = None,
    problems: Annotated[
        bool, typer.Option("--problems", help="Only calls that went wrong or were odd, each with the reasons.")
    ] = False,
    legs: Annotated[
        bool, typer.Option("--legs", help="Show the legs of a call, as B2BUAs make them, below each other.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="A screen to work with, for calls that are under way (with -i).")
    ] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    bpf: Bpf = None,
    tunnels: Tunnels = None,
) -> None:
    """Show the calls of capture files or of an interface, a line each.

    otus calls call.pcap
    otus calls call.pcap --problems
    otus calls big.pcap --where "call.to_user == '200'"
    """
    source = source_of(files, interface, bpf, tunnels)
    _check(source, problems=problems, legs=legs, watch=watch, as_json=as_json, as_csv=as_csv)
    if watch:
        _watch(source, where)
    elif interface is not None:
        _show_live(source, where, problems, as_json, as_csv)
    else:
        found = find_calls(source, where, messages=as_json)
        shown = [one for one in found.calls if one.chosen and (not problems or words.is_problem(one.facts))]
        if as_json:
            write_json(map(_whole, shown))
        elif as_csv:
            write_csv(map(_flat, shown), FLAT)
        else:
            write_lines(_table(shown, len(found.calls), problems, legs))
        found.end()


def _check(source: Source, *, problems: bool, legs: bool, watch: bool, as_json: bool, as_csv: bool) -> None:
    check_formats(as_json=as_json, as_csv=as_csv)
    if watch and source.interface is None:
        raise refuse("--watch", "needs an interface: give -i")
    if watch and (as_json or as_csv or problems or legs):
        raise refuse("--watch", "the screen has its own ways to choose: leave --json, --csv, --problems, --legs out")
    if legs and (source.interface is not None or as_json or as_csv):
        raise refuse("--legs", "is for tables of capture files; JSON and CSV name the legs of each call")


def _watch(source: Source, where: str | None) -> None:
    try:
        from otus_calls.screen.app import watch_calls
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("textual", "rich"):
            raise
        raise OtusError("--watch needs the library textual: pip install textual") from None
    watch_calls(source, where)


def _show_live(source: Source, where: str | None, problems: bool, as_json: bool, as_csv: bool) -> None:
    """Show each call when its record comes."""
    numbered = follow_calls(source, where, lambda facts: not problems or words.is_problem(facts), messages=as_json)
    if as_json:
        write_json(map(_whole, numbered))
    elif as_csv:
        write_csv(map(_flat, numbered), FLAT)
    else:
        write_lines(_live_lines(numbered, problems))


def _whole(one: Numbered) -> dict[str, Any]:
    return {"number": one.number, **one.facts}


def _flat(one: Numbered) -> dict[str, Any]:
    """Give the fields of a call as a flat mapping with the names ``FLAT``."""
    facts = one.facts
    told = {
        "number": one.number,
        **{f"{side}_{part}": (facts[side] or {}).get(part) for side in ("from", "to") for part in ("user", "uri")},
        **{side: words.end(facts[side]) for side in ("caller", "callee")},
        "transport": facts["caller"]["transport"],
        "user_agent": facts["caller"]["agent"],
        "server": facts["callee"]["agent"],
        "hops": len(facts["hops"]),
        "media": len(facts["media"]),
        "flags": " ".join(str(flag["flag"]) for flag in facts["flags"]),
        "legs": " ".join(str(leg["call_id"]) for leg in facts["legs"]),
    }
    return {name: told.get(name, facts.get(name)) for name in FLAT}


def _table(shown: Sequence[Numbered], count: int, problems: bool, legs: bool) -> Iterator[str]:
    """Give the lines of the table, with each date before its calls."""
    if not shown:
        yield ("no calls in it (otus run shows what else there is)" if not count else none_matches(count))
        return
    order = _with_legs(shown) if legs else [(one, False) for one in shown]
    rows = [_leg_cells(one, leg) for one, leg in order]
    layout = TableLayout(COLUMNS, widths_of(COLUMNS, rows), terminal_columns())
    yield from _lines(((one, row) for (one, _), row in zip(order, rows, strict=True)), layout, problems)


def _live_lines(numbered: Iterable[Numbered], problems: bool) -> Iterator[str]:
    layout = TableLayout(COLUMNS, LIVE_WIDTHS, terminal_columns() or sum(LIVE_WIDTHS) + 2 * len(LIVE_WIDTHS))
    yield from _lines(((one, cells(one)) for one in numbered), layout, problems)


def _lines(rows: Iterable[tuple[Numbered, Sequence[str]]], layout: TableLayout, problems: bool) -> Iterator[str]:
    colours, date = is_coloured(), None
    for n, (one, row) in enumerate(rows):
        if words.date(one.facts["start"]) != date:
            date = words.date(one.facts["start"])
            yield terminal.paint(f"{date} UTC", terminal.DIM, colours)
        if n == 0:
            yield terminal.paint(layout.header(), terminal.BOLD, colours)
        yield layout.line(row, terminal.painter(STATE, words.COLOURS.get(one.facts["state"], "")) if colours else None)
        if problems:
            yield from _reasons(one.facts, terminal_columns())


def _reasons(facts: Mapping[str, Any], width: int) -> Iterator[str]:
    """Say why a call is shown among the problems, a line each."""
    told = [words.flag(flag) for flag in facts["flags"]]
    if facts["code"] is not None and facts["code"] >= 400:
        told.insert(0, f"{facts['code']} {facts['reason'] or ''}".rstrip())
    if facts["reason_header"]:
        told.append(f"Reason: {facts['reason_header']}")
    if facts["warning"]:
        told.append(f"Warning: {facts['warning']}")
    for line in told:
        text = f"       {printable(line, 400)}"
        yield fit(text, width) if width else text


def _with_legs(shown: Sequence[Numbered]) -> list[tuple[Numbered, bool]]:
    """Order calls so that the legs of each stand below the one that began first; says which are such legs."""
    by_id: dict[str, list[Numbered]] = {}
    for one in shown:
        by_id.setdefault(one.facts["call_id"], []).append(one)
    order: list[tuple[Numbered, bool]] = []
    placed: set[int] = set()
    for first in shown:
        waiting = [(first, False)]
        while waiting:
            one, leg = waiting.pop(0)
            if one.number in placed:
                continue
            placed.add(one.number)
            order.append((one, leg))
            waiting += [(other, True) for link in one.facts["legs"] for other in by_id.get(link["call_id"], ())]
    return order


def _leg_cells(one: Numbered, leg: bool) -> Sequence[str]:
    row = cells(one)
    return row if not leg else (*row[:2], f"└ {row[2]}", *row[3:])
