"""The reference pages are those that the code gives."""

from __future__ import annotations

import re
import subprocess

import pytest

from docs.man import PAGE, manual
from docs.pages import FOLDER, pages
from tests.needs import tool

PAGES = pages()


def test_every_page_is_one_that_is_made() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name], "nox -s reference writes it again"


def test_the_manual_says_what_the_code_says() -> None:
    assert PAGE.read_text() == manual(), "nox -s reference writes it again"


def test_the_manual_is_understood_by_man() -> None:
    """groff says nothing of it, and a reader finds a command with its options."""
    done = subprocess.run(
        [tool("man"), "--warnings=w", "-l", str(PAGE)],
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/bin:/bin",
            "MANWIDTH": "100",
            "LC_ALL": "C.UTF-8",
            "MAN_KEEP_FORMATTING": "",
            "TERM": "dumb",
        },
        check=True,
    )
    assert done.stderr == ""
    assert re.search(r"^ +otus fleet status\n +otus fleet status \[TASK\] \[OPTIONS\]\n", done.stdout, re.MULTILINE)
    assert re.search(r"^EXIT STATUS\n +0 +all went well\n", done.stdout, re.MULTILINE)
