"""Tables fit: no line is longer than the terminal is wide, and columns give way in the order that they say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otus_core import Column, columns_of, table_lines

COLUMNS = (
    Column("#", right=True),
    Column("name", least=4),
    Column("note", least=6, leaves=1),
    Column("size", leaves=2),
)
ROWS = [("1", "alice@example.com", "nothing to be said", "12"), ("10", "王小明", "–", "3")]


def test_a_table_is_as_wide_as_its_cells_where_there_is_room() -> None:
    assert list(table_lines(COLUMNS, ROWS)) == [
        " #  name               note                size",
        " 1  alice@example.com  nothing to be said  12",
        "10  王小明             –                   3",
    ]


def test_cells_that_may_be_cut_give_way_first_and_the_widest_of_them_first() -> None:
    assert list(table_lines(COLUMNS, ROWS, 36)) == [
        " #  name          note          size",
        " 1  alice@examp…  nothing to …  12",
        "10  王小明        –             3",
    ]


def test_columns_leave_in_their_order_where_that_is_not_enough() -> None:
    for width, names in ((18, ["#", "name", "size"]), (9, ["#", "name"])):
        assert next(table_lines(COLUMNS, ROWS, width)).split() == names


@given(
    st.lists(st.tuples(*[st.text("aé王–", max_size=30)] * len(COLUMNS)), max_size=5),
    st.integers(min_value=1, max_value=90),
)
def test_no_line_is_longer_than_the_width(rows: list[tuple[str, ...]], width: int) -> None:
    assert all(columns_of(line) <= width for line in table_lines(COLUMNS, rows, width))
