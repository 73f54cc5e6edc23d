"""The reference pages are those that the code gives."""

from __future__ import annotations

import pytest

from docs.pages import FOLDER, pages

PAGES = pages()


def test_every_page_is_one_that_is_made() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name], "nox -s reference writes it again"
