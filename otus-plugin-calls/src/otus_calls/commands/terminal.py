"""What a command paints on a terminal."""

from __future__ import annotations

from collections.abc import Callable

GOOD, BAD, ODD, DIM, BOLD = "32", "31", "33", "2", "1"
"""SGR parameters (ECMA-48 §8.3.117)."""


def paint(text: str, colour: str, wanted: bool = True) -> str:
    """Give text in a colour."""
    return f"\x1b[{colour}m{text}\x1b[0m" if wanted and colour and text.strip() else text


def painter(column: int, colour: str) -> Callable[[int, str], str]:
    """Give what paints one column of a table's line."""
    return lambda n, text: paint(text, colour if n == column else "")
