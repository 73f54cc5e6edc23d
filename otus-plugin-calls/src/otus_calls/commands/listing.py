"""Rows as a table and as JSON, and the options that ask for JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from otus_calls.commands import terminal
from otus_calls.commands.source import refuse
from otus_core import Column, columns_of, is_coloured, table_lines, terminal_columns, write_lines

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values, with a line of names.")]


def check_formats(*, as_json: bool, as_csv: bool) -> None:
    """Refuse both at once. Raises ConfigInvalid."""
    if as_json and as_csv:
        raise refuse("--csv", "give --json or --csv, not both")


def write_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON object for each row."""
    write_lines(map(json.dumps, rows))


def write_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Write a table that fits the terminal."""
    lines = table_lines(columns, rows, terminal_columns())
    write_lines([terminal.paint(next(lines), terminal.BOLD, is_coloured())])
    write_lines(lines)


def widths_of(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> list[int]:
    """Give how wide the columns of a table are."""
    return [max(map(columns_of, cells)) for cells in zip([one.name for one in columns], *rows, strict=True)]
