"""Text from packets never reaches a terminal raw."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_core import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("grüße", "grüße"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\u2028", "\\u2028"),
        (b"\xff\xfeok", "\\xff\\xfeok"),
        ("back\\slash", "back\\\\slash"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str | bytes, shown: str) -> None:
    assert printable(text) == shown


@given(st.one_of(st.text(), st.binary()))
def test_the_result_is_always_printable(text: str | bytes) -> None:
    assert printable(text).isprintable()


def test_a_long_text_is_cut() -> None:
    assert printable("x" * 100, 10) == "x" * 9 + "…"
