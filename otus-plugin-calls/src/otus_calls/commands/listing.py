"""Rows as a table, as CSV and as JSON."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from otus_calls.commands import terminal
from otus_calls.commands.source import refuse
from otus_core import Column, columns_of, is_coloured, printable, table_lines, terminal_columns

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values, with a line of names.")]


def check_formats(*, as_json: bool, as_csv: bool) -> None:
    """Refuse both at once. Raises ConfigInvalid."""
    if as_json and as_csv:
        raise refuse("--csv", "give --json or --csv, not both")


def write_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON object for each row."""
    terminal.write(map(json.dumps, rows))


def write_csv(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Write these columns of each row, with a line of names."""
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: harmless(row[name]) for name in names})
        sys.stdout.flush()


def harmless(value: Any) -> Any:
    """Give a cell that can be shown. A spreadsheet takes it for text, if packets chose how it begins (CWE-1236)."""
    if not isinstance(value, str):
        return value
    return printable(f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value)


def write_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Write a table that fits the terminal."""
    lines = table_lines(columns, rows, terminal_columns())
    terminal.write([terminal.paint(next(lines), terminal.BOLD, is_coloured())])
    terminal.write(lines)


def widths_of(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> list[int]:
    """Give how wide the columns of a table are."""
    return [max(map(columns_of, cells)) for cells in zip([one.name for one in columns], *rows, strict=True)]
