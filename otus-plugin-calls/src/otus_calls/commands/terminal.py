"""The terminal that a command writes to: how wide it is, and whether it has colours."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable

GOOD, BAD, ODD, DIM, BOLD = "32", "31", "33", "2", "1"
"""SGR parameters (ECMA-48 §8.3.117)."""


def width() -> int:
    """Give the columns of the terminal, or those that COLUMNS names; 0 where there is none, as in a pipe."""
    if os.environ.get("COLUMNS", "").isdecimal() or sys.stdout.isatty():
        return shutil.get_terminal_size((0, 0)).columns
    return 0


def coloured() -> bool:
    """Whether colours are wanted: on a terminal that knows them, unless NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, wanted: bool = True) -> str:
    """Give text in a colour."""
    return f"\x1b[{colour}m{text}\x1b[0m" if wanted and colour and text.strip() else text


def painter(column: int, colour: str) -> Callable[[int, str], str]:
    """Give what paints one column of a table's line."""
    return lambda n, text: paint(text, colour if n == column else "")


def write(lines: Iterable[str]) -> None:
    """Write lines as they come."""
    for line in lines:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
