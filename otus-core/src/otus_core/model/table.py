"""Tables that fit: columns are narrowed, then left out, until a line is no longer than the terminal is wide.

In: columns and rows of printable text. Out: lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from otus_core.model.text import columns_of, fit
from otus_core.values import frozen

GAP = "  "


@frozen
class Column:
    """A column of a table, and how it gives way where there is no room."""

    name: str
    """What stands above it."""
    right: bool = False
    """Whether its cells stand at the right, as numbers do."""
    least: int = 0
    """Width to which its cells may be cut; 0 if they are never cut."""
    leaves: int = 0
    """When it is left out if cutting is not enough: 1 first, then 2 and so on; 0 never."""


class TableLayout:
    """Which columns there are, and how wide each is. ``width`` is that of a line, 0 for as wide as the cells are."""

    def __init__(self, columns: Sequence[Column], widths: Sequence[int], width: int) -> None:
        """Lay out columns whose cells are so wide."""
        self._columns = columns
        self._width = width
        self._shown, self._widths = _fitting(columns, list(widths), width)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns that are shown."""
        return tuple(self._columns[n].name for n in self._shown)

    def header(self) -> str:
        """Give the line of names."""
        return self.line([column.name for column in self._columns])

    def line(self, cells: Sequence[str], paint: Callable[[int, str], str] | None = None) -> str:
        """Give the line of a row, which has a cell for each column, shown or not.

        ``paint`` gets the place of a column and the text of its cell, and gives that text with its colour.
        """
        parts = [self._cell(n, cells[n]) for n in self._shown]
        line = GAP.join(parts).rstrip()
        if self._width and columns_of(line) > self._width:
            return fit(line, self._width)
        if paint is None:
            return line
        return GAP.join(paint(n, text) for n, text in zip(self._shown, parts, strict=True)).rstrip()

    def _cell(self, n: int, text: str) -> str:
        text = fit(text, self._widths[n])
        room = " " * (self._widths[n] - columns_of(text))
        return room + text if self._columns[n].right else text + room


def table_lines(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int = 0) -> Iterator[str]:
    """Give the lines of a table, the one with the names first. ``width`` 0 is as wide as the cells are."""
    held = list(rows)
    widths = [max(map(columns_of, column)) for column in zip([one.name for one in columns], *held, strict=True)]
    layout = TableLayout(columns, widths, width)
    yield layout.header()
    yield from map(layout.line, held)


def _fitting(columns: Sequence[Column], natural: list[int], width: int) -> tuple[list[int], list[int]]:
    """Choose columns and their widths."""
    shown = list(range(len(columns)))
    leaving = sorted((n for n in shown if columns[n].leaves), key=lambda n: columns[n].leaves)
    while True:
        widths = list(natural)
        over = sum(widths[n] for n in shown) + len(GAP) * (len(shown) - 1) - width
        if not width or over <= 0 or _narrow(columns, widths, shown, over) or not leaving:
            return shown, widths
        shown.remove(leaving.pop(0))


def _narrow(columns: Sequence[Column], widths: list[int], shown: Sequence[int], over: int) -> bool:
    """Take ``over`` columns away from the cells that may be cut, from the widest first; says whether that is enough."""
    while over > 0:
        spare = [(widths[n], n) for n in shown if columns[n].least and widths[n] > columns[n].least]
        if not spare:
            return False
        widths[max(spare)[1]] -= 1
        over -= 1
    return True
