"""``otus report``: one page for a browser, with the calls of captures, their ladders and their quality over time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from otus_calls.commands.finding import choose, find_calls
from otus_calls.commands.newfile import new_file
from otus_calls.commands.reading import read_raw
from otus_calls.commands.source import Bpf, Files, Source, Tunnels, Where, refuse, source_of
from otus_calls.page.content import content_of
from otus_calls.page.file import page_of
from otus_core import printable

FILES_SHOWN = 3


def report(
    files: Files = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="The page to make (HTML).")
    ] = None,
    where: Where = None,
    bpf: Bpf = None,
    tunnels: Tunnels = None,
) -> None:
    """Make one page for a browser: the calls, to search and to sort, the ladder of each, and quality over time.

    otus report call.pcap -o calls.html
    otus report big.pcap -o failed.html --where "call.code >= 500"
    """
    if output is None:
        raise refuse("-o", "name the page to make")
    write_page(source_of(files, None, bpf, tunnels), output, "-o", where, None, raw=False)


def write_page(source: Source, output: Path, option: str, where: str | None, call: str | None, *, raw: bool) -> None:
    """Make the page of the calls that are asked for; ``option`` is the one that names ``output``."""
    with new_file(output, source.files, option) as file:
        found = find_calls(source, where)
        chosen = choose(found, call)
        messages = read_raw(source, {one.facts["call_id"] for one in chosen}) if raw else {}
        file.write(page_of(content_of(chosen, _title(source.files), messages)))
    told = f"{len(chosen):,} call{'s' if len(chosen) > 1 else ''}"
    sys.stderr.write(f"otus: {told} in {printable(str(output))}\n")
    found.end()


def _title(files: tuple[str, ...]) -> str:
    names = [printable(Path(one).name if one != "-" else "standard input", 80) for one in files]
    more = f" and {len(names) - FILES_SHOWN} more" if len(names) > FILES_SHOWN else ""
    return f"Calls in {', '.join(names[:FILES_SHOWN])}{more}"
