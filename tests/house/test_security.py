"""SECURITY.md names tests that exist, keeps its table whole, and invents no address."""

from __future__ import annotations

import re

import pytest

from tests.needs import ROOT

TEXT = (ROOT / "SECURITY.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
PARTS = (
    "What is protected",
    "Who acts, and where the boundaries are",
    "Controls",
    "Not promised",
    "Bounds",
    "How to report a fault",
)


def test_tests_are_named() -> None:
    assert len(NAMED) > 30


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_the_test_exists(path: str, name: str) -> None:
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_every_control_names_a_test() -> None:
    controls = TEXT.partition("## Controls")[2].partition("\n## ")[0]
    rows = [line for line in controls.splitlines() if line.startswith("|")][2:]
    assert rows
    assert [row for row in rows if not re.search(r"`tests/[\w/]+\.py::\w+` \|$", row)] == []


def test_it_has_its_parts() -> None:
    assert re.findall(r"^## (.+)$", TEXT, re.MULTILINE) == list(PARTS)


def test_it_names_no_address() -> None:
    assert re.findall(r"\S+@\S+|https?://\S+", TEXT) == []
