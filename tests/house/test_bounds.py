"""The list of bounds has every bound of the code, and says of each what happens beyond it."""

from __future__ import annotations

from collections import Counter

from docs.bounds import bounds
from docs.bounds_beyond import BEYOND

FOUND = [bound.key for bound in bounds()]


def test_bounds_are_found() -> None:
    assert len(FOUND) > 100
    assert [key for key, n in Counter(FOUND).items() if n > 1] == []


def test_every_bound_says_what_happens_beyond_it() -> None:
    assert [key for key in FOUND if key not in BEYOND] == [], "docs/bounds_beyond.py says it"


def test_no_bound_is_listed_that_is_not_there() -> None:
    assert [key for key in BEYOND if key not in FOUND] == []
