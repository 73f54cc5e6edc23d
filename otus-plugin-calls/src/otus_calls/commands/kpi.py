"""``otus kpi``: the figures of calls (RFC 6076, ITU-T E.411, E.425), over time or by what calls have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from otus_calls.commands import terminal, words
from otus_calls.commands.finding import Found, find_calls
from otus_calls.commands.listing import AsCsv, AsJson, check_formats, write_json, write_table
from otus_calls.commands.source import Bpf, Files, Interface, Source, Tunnels, Where, refuse, source_of
from otus_calls.kpi import add, counts_of, tell_kpi
from otus_calls.times import SECOND_NS, nanoseconds
from otus_core import Column, TableLayout, is_coloured, printable, terminal_columns, write_csv, write_lines

GROUPS: Mapping[str, Callable[[words.Facts], Any]] = {
    "caller": lambda facts: facts["caller"]["ip"],
    "callee": lambda facts: facts["callee"]["ip"],
    "from": lambda facts: (facts["from"] or {}).get("user"),
    "to": lambda facts: (facts["to"] or {}).get("user"),
    "agent": lambda facts: facts["caller"]["agent"],
    "server": lambda facts: facts["callee"]["agent"],
    "transport": lambda facts: facts["caller"]["transport"],
    "state": lambda facts: facts["state"],
    "code": lambda facts: facts["code"],
}
LIVE_STEP, LIVE_STEP_MAX = 60 * SECOND_NS, 86_400 * SECOND_NS  # the processor calls takes no more for its kpi
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
ROWS_MAX = 100_000
"""Lines of ``--every``: short intervals of a long capture, or of one with a wrong clock, would be without end."""
COLUMNS = (
    Column("begin"),
    Column("by", least=12),
    Column("attempts", right=True),
    Column("answered", right=True, leaves=8),
    Column("asr %", right=True),
    Column("ner %", right=True),
    Column("ser %", right=True, leaves=4),
    Column("seer %", right=True, leaves=3),
    Column("isa %", right=True, leaves=2),
    Column("scr %", right=True, leaves=1),
    Column("acd", right=True, leaves=7),
    Column("srd", right=True, leaves=6),
    Column("sdd", right=True, leaves=5),
    Column("mos", right=True),
)
FLAT = ("begin", "by", "attempts", "answered", "asr", "ner", "ser", "seer", "isa", "scr", "acd", "srd", "sdd", "mos")
NOT_LIVE = ("by", "mos")
LIVE_WIDTHS = (19, 8, 8, 6, 6, 6, 6, 6, 6, 7, 7, 7)


def kpi(
    files: Files = None,
    interface: Interface = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="WHAT", help=f"A line for each: {', '.join(GROUPS)}.")
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", metavar="TIME", help="A line for each interval, such as 5m.")
    ] = None,
    where: Where = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    bpf: Bpf = None,
    tunnels: Tunnels = None,
) -> None:
    """Show figures of all calls: how many were answered, how long they took, how they sounded. Those of an interface
    come each minute, or as often as --every says, and count calls that ended in that time.

    otus kpi big.pcap
    otus kpi big.pcap --every 5m
    otus kpi big.pcap --by callee --csv
    """
    if by is not None and by not in GROUPS:
        raise refuse("--by", f"{printable(by, 40)!r} is not one of {', '.join(GROUPS)}")
    step = None if every is None else _interval(every)
    check_formats(as_json=as_json, as_csv=as_csv)
    source = source_of(files, interface, bpf, tunnels)
    if interface is not None:
        _show_live(source, by, where, LIVE_STEP if step is None else step, as_json=as_json, as_csv=as_csv)
        return
    found = find_calls(source, where, messages=False)
    rows = _rows(found, by, step)
    if as_json:
        write_json(rows)
    elif as_csv:
        write_csv(rows, FLAT)
    else:
        _show(rows, by, step)
    found.end()


def _show_live(source: Source, by: str | None, where: str | None, step: int, *, as_json: bool, as_csv: bool) -> None:
    """Show the figures of each interval when it has ended."""
    for option, given in (("--by", by), ("--where", where)):
        if given is not None:
            raise refuse(option, "is for capture files: the figures of an interface are those of all its calls")
    if step > LIVE_STEP_MAX:
        raise refuse("--every", "with an interface 1d is the longest")
    names = [name for name in FLAT if name not in NOT_LIVE]
    records = source.records({"kpi": step / SECOND_NS, "messages": False}, kind="kpi")
    told = (one["payload"] for one in records if one["payload_type"] == "kpi")
    rows = ({**{name: one.get(name) for name in names}, "answered": one["counts"]["established"]} for one in told)
    if as_json:
        write_json(rows)
    elif as_csv:
        write_csv(rows, names)
    else:
        columns = [one for one in COLUMNS if one.name not in NOT_LIVE]
        layout = TableLayout(columns, LIVE_WIDTHS, terminal_columns() or sum(LIVE_WIDTHS) + 2 * len(LIVE_WIDTHS))
        write_lines([terminal.paint(layout.header(), terminal.BOLD, is_coloured())])
        write_lines(layout.line([_cell(name, row[name]) for name in names]) for row in rows)


def _interval(text: str) -> int:
    """Read a time such as ``5m``, as ns. Raises ConfigInvalid."""
    read = re.fullmatch(r"(\d{1,9})\s*([smhd])", text, re.ASCII)
    if read is None or not int(read[1]):
        raise refuse("--every", f"{printable(text, 40)!r} is no time such as 30s, 5m, 1h or 1d")
    return int(read[1]) * UNITS[read[2]] * SECOND_NS


def _rows(found: Found, by: str | None, step: int | None) -> list[dict[str, Any]]:
    """Give a row for each interval and group in which calls began."""
    held: dict[tuple[int, str], list[words.Facts]] = {}
    for one in found.calls:
        if not one.chosen or not one.facts["start"]:
            continue
        at = nanoseconds(one.facts["start"])
        value = None if by is None else GROUPS[by](one.facts)
        begin = max(at // step * step, 1) if step else 0  # 0 is no time
        key = (begin, "" if by is None else words.NOTHING if value is None else str(value))
        if key not in held and len(held) >= ROWS_MAX:
            raise refuse("--every", f"more than {ROWS_MAX:,} lines: choose a longer time")
        held.setdefault(key, []).append(one.facts)
    order = sorted(held, key=lambda key: (key[0], -len(held[key]), key[1]))
    return [_row(begin, group, held[begin, group]) for begin, group in order]


def _row(begin: int, group: str, calls: Sequence[words.Facts]) -> dict[str, Any]:
    total: dict[str, int] = {}
    for facts in calls:
        add(total, counts_of(_outcome(facts)))
    told = tell_kpi(total, begin, begin, part=False)
    scores = [facts["mos"] for facts in calls if facts["mos"] is not None]
    return {
        **{name: told.get(name) for name in FLAT},
        "by": group or None,
        "answered": told["counts"]["established"],
        "mos": round(sum(scores) / len(scores), 2) if scores else None,
    }


def _outcome(facts: words.Facts) -> SimpleNamespace:
    """Give what ``counts_of`` asks for, from a record: times whose differences are those of the record."""
    answer = max(nanoseconds(facts["answer"]), 1) if facts["answer"] else 0
    bye = answer + _ns(facts["talk"]) if facts["talk"] is not None else 0
    return SimpleNamespace(
        state=facts["state"],
        partial=facts["partial"],
        answer=answer,
        final=None
        if facts["code"] is None or facts["state"] == "challenged"
        else SimpleNamespace(status=facts["code"]),
        bye=bye,
        attempt=1,
        reply=0 if facts["srd"] is None else 1 + _ns(facts["srd"]),
        bye_answered=bye + _ns(facts["sdd"]) if bye and facts["sdd"] is not None else 0,
    )


def _ns(seconds: float) -> int:
    return round(seconds * SECOND_NS)


def _show(rows: Sequence[Mapping[str, Any]], by: str | None, step: int | None) -> None:
    if not rows:
        write_lines(["no calls"])
        return
    left_out = {"begin": step is None, "by": by is None}
    columns = [one for one in COLUMNS if not left_out.get(one.name)]
    names = [name for name in FLAT if not left_out.get(name)]
    titled = [Column(by, one.right, one.least, one.leaves) if by and one.name == "by" else one for one in columns]
    write_table(titled, [[_cell(name, row[name]) for name in names] for row in rows])


def _cell(name: str, value: Any) -> str:
    if value is None:
        return words.NOTHING
    if name == "begin":
        return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if name == "by":
        return printable(value, 64)
    if name in ("attempts", "answered"):
        return f"{value:,}"
    if name == "acd":
        return words.minutes(value)
    return words.number(value, 1 if name in ("asr", "ner", "ser", "seer", "isa", "scr") else 2)
