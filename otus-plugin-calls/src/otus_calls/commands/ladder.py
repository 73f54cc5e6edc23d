"""``otus ladder``: how calls went, arrow by arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from otus_calls.commands import terminal, words
from otus_calls.commands.finding import Numbered, choose, find_calls, follow_calls
from otus_calls.commands.lifelines import Ladder, arrows
from otus_calls.commands.reading import Key, read_raw
from otus_calls.commands.source import (
    Bpf,
    Call,
    Files,
    Interface,
    Source,
    Tunnels,
    Where,
    files_to_read_twice,
    refuse,
    source_of,
)
from otus_core import fit, is_coloured, printable, terminal_columns, write_lines

RAW_INDENT = " " * 4


def ladder(
    files: Files = None,
    interface: Interface = None,
    call: Call = None,
    where: Where = None,
    legs: Annotated[bool, typer.Option("--legs", help="Draw the legs of a call, as B2BUAs make them, in one.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Show each message itself below its arrow.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="OUT", help="Make a page for a browser instead.")
    ] = None,
    bpf: Bpf = None,
    tunnels: Tunnels = None,
) -> None:
    """Draw the messages of calls as arrows between hosts, with times, session descriptions and media; those of an
    interface when they have ended.

    otus ladder call.pcap
    otus ladder call.pcap --call 3 --raw
    otus ladder call.pcap --where "call.state == 'busy'"
    """
    if interface is not None:
        for option, given in (("--legs", legs), ("--raw", raw), ("--html", html is not None)):
            if given:
                raise refuse(option, "is for capture files, not for an interface")
        write_lines(_live_lines(source_of(files, interface, bpf, tunnels), call, where))
        return
    source = files_to_read_twice(files, bpf, tunnels) if raw else source_of(files, None, bpf, tunnels)
    if html is not None:
        from otus_calls.commands.report import write_page

        write_page(source, html, "--html", where, call, raw=raw)
        return
    found = find_calls(source, where)
    chosen = choose(found, call)
    messages = read_raw(source, {one.facts["call_id"] for one in chosen}) if raw else {}
    write_lines(_make_lines(chosen, found.calls, messages, legs))
    found.end()


def _live_lines(source: Source, call: str | None, where: str | None) -> Iterator[str]:
    """Give the ladder of each call, or of those with one Call-ID, with an empty line between them."""
    for one in follow_calls(source, where, lambda facts: call in (None, facts["call_id"])):
        yield from [""] if one.number > 1 else []
        yield from _make_lines([one], [one], {}, legs=False)


def _make_lines(
    chosen: Sequence[Numbered], known: Sequence[Numbered], messages: Mapping[Key, bytes], legs: bool
) -> Iterator[str]:
    width, colours = terminal_columns(), is_coloured()
    drawn: set[int] = set()
    for one in chosen:
        together = _with_legs(one, known) if legs else [one]
        if one.number in drawn:
            continue
        yield from [""] if drawn else []
        drawn.update(each.number for each in together)
        for each in together:
            head = _head(each)
            yield terminal.paint(fit(head, width) if width else head, terminal.BOLD, colours)
        drawing = Ladder(arrows([each.facts for each in together]), width, colours)
        yield from drawing.lines((lambda message: _raw_lines(message, messages)) if messages else None)
        yield from _tail([each.facts for each in together], width)


def _with_legs(one: Numbered, known: Sequence[Numbered]) -> list[Numbered]:
    """Give a call and the legs that are linked with it, near or far."""
    found, waiting = [one], [one]
    while waiting:
        linked = {leg["call_id"] for leg in waiting.pop().facts["legs"]}
        for other in known:
            if other.facts["call_id"] in linked and other not in found:
                found.append(other)
                waiting.append(other)
    return found


def _head(one: Numbered) -> str:
    facts = one.facts
    code = "" if facts["code"] is None else f" {facts['code']} {facts['reason'] or ''}".rstrip()
    told = [
        f"#{one.number}",
        words.parties(facts),
        words.state(facts) + printable(code, 64),
        f"{words.date(facts['start'])} UTC",
        printable(facts["call_id"], 128),
    ]
    return "  ".join(told)


def _tail(calls: Sequence[Mapping[str, Any]], width: int) -> Iterator[str]:
    """Tell what was odd, and what is not drawn."""
    for facts in calls:
        cut = facts["messages_cut"]
        told = [words.flag(flag) for flag in facts["flags"]]
        told += [f"{cut:,} messages in between are not shown"] if cut else []
        for text in told:
            line = printable(text, 400)
            yield fit(line, width) if width else line


def _raw_lines(message: Mapping[str, Any], messages: Mapping[Key, bytes]) -> Iterator[str]:
    key = (message["time_ns"], message["src"], message["sport"], message["dst"], message["dport"])
    text = messages.get(key)
    if text is None:
        return
    for line in text.rstrip(b"\r\n").split(b"\n"):
        yield (RAW_INDENT + printable(line.removesuffix(b"\r"))).rstrip()
    yield ""
