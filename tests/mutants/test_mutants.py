"""The lists of faults fit the source, and a sample of them is noticed: ``nox -s mutants`` tries all."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.mutants.__main__ import judge_all
from tests.mutants.edits import LISTS, ROOT, Edit, check, read_edits

EDITS = [edit for part in LISTS for edit in read_edits(part)]
SAMPLE = 10
COMPILED_SAMPLE = 2
"""A module takes some five seconds to compile."""
PARTS_MIN = 60


@pytest.mark.parametrize("edit", EDITS, ids=[edit.name for edit in EDITS])
def test_an_edit_still_applies(edit: Edit) -> None:
    """Else the list has grown old: change it with the code that it is about."""
    check(edit)


def test_modules_of_which_faults_are_made_are_there_with_their_tests() -> None:
    listed = tomllib.loads((Path(__file__).parent / "generated.toml").read_text())
    for file, entry in listed["target"].items():
        paths = [name.partition("::")[0] for name in (file, *entry["tests"])]
        assert [path for path in paths if not (ROOT / path).exists()] == []


def test_there_are_enough_faults_in_either_part() -> None:
    listed = tomllib.loads((Path(__file__).parent / "generated.toml").read_text())
    made = sum(entry["count"] for entry in listed["target"].values())
    assert made + sum(edit.part == "python" for edit in EDITS) >= PARTS_MIN
    assert sum(edit.part == "cython" for edit in EDITS) >= PARTS_MIN


@pytest.mark.slow
def test_the_sample_is_noticed() -> None:
    sample = [edit for edit in EDITS if edit.sample]
    assert len(sample) == SAMPLE
    assert sum(bool(edit.modules) for edit in sample) == COMPILED_SAMPLE
    found = {one.edit.name: one.told or one.verdict for one in judge_all(sample, jobs=2)}
    assert found == dict.fromkeys(found, "killed")
