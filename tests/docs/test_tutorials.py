"""What the tutorials tell their readers to do works, and prints what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.snippets import agrees, follow
from tests.needs import ROOT

FOLDER = ROOT / "docs" / "tutorials"


@pytest.mark.parametrize("page", ["capture", "homer", "node", "plugin"])
def test_a_tutorial_does_what_it_says(page: str, tmp_path: Path) -> None:
    assert follow(FOLDER / f"{page}.md", tmp_path) >= 5


@pytest.mark.parametrize(
    ("told", "expected", "same"),
    [
        (["a", "b"], (), True),
        (["a", "b"], ("a", "b"), True),
        (["a", "b"], ("a",), False),
        (["a"], ("a", "b"), False),
        (["a", "b", "c"], ("a", "…"), True),
        (["a", "b", "c"], ("…", "c"), True),
        (["a", "b", "c"], ("…", "b"), False),
        (["a 1 2"], ("a 1…",), True),
        (["a 2"], ("a 1…",), False),
        ([], ("…",), True),
    ],
)
def test_what_a_page_says_is_compared(told: list[str], expected: tuple[str, ...], same: bool) -> None:
    assert agrees(told, expected) == same
