"""What commands write to standard output: lines and CSV, each row at once; and what kind of terminal it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from otus_core.model.text import printable

COLUMNS_MAX = 4096
"""No terminal is as wide as this."""


def terminal_columns(descriptor: int = 1) -> int:
    """Give the width of a terminal, that of the environment's COLUMNS first; 0 where there is neither."""
    told = os.environ.get("COLUMNS", "")
    # POSIX, XBD 8.3: COLUMNS is what the user prefers. What is no width is as if it were not there.
    if told.isdecimal() and 0 < int(told[:9]) <= COLUMNS_MAX:
        return int(told[:9])
    try:
        return os.get_terminal_size(descriptor).columns if os.isatty(descriptor) else 0
    except OSError:
        return 0


def is_coloured() -> bool:
    """Whether standard output is a terminal that shows colours, and is wanted to."""
    # no-color.org: the variable counts when it is there and not empty.
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def write_lines(lines: Iterable[str]) -> None:
    """Write lines as they come."""
    for line in lines:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()  # each of them: in a pipe, Python would wait until there are 8 KiB


def write_csv(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Write these columns of each row as it comes (RFC 4180), below a line of names; true and false are as in JSON."""
    import csv  # which help pages, that ask for colours here, do not need

    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(row[name]) for name in names})
        sys.stdout.flush()


def _harmless(value: Any) -> Any:
    """Give a cell that can be shown: packets choose texts, and a spreadsheet would run one that begins as a formula."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    # CWE-1236: with an apostrophe before it, a spreadsheet takes the cell for text.
    return printable(f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value)
