"""The lists of faults that ``nox -s mutants`` puts in fit the source: else change them with the code that they are
about.
"""

from __future__ import annotations

import tomllib

import pytest

from tests.mutants.edits import LISTS, ROOT, Edit, check, read_edits

EDITS = [edit for part in LISTS for edit in read_edits(part)]
PARTS_MIN = 60


@pytest.mark.parametrize("edit", EDITS, ids=[edit.name for edit in EDITS])
def test_an_edit_still_applies(edit: Edit) -> None:
    check(edit)


def test_modules_of_which_faults_are_made_are_there_with_their_tests() -> None:
    listed = tomllib.loads((ROOT / "tests" / "mutants" / "generated.toml").read_text())
    for file, entry in listed["target"].items():
        paths = [name.partition("::")[0] for name in (file, *entry["tests"])]
        assert [path for path in paths if not (ROOT / path).exists()] == []


def test_there_are_enough_faults_in_either_part() -> None:
    listed = tomllib.loads((ROOT / "tests" / "mutants" / "generated.toml").read_text())
    made = sum(entry["count"] for entry in listed["target"].values())
    assert made + sum(edit.part == "python" for edit in EDITS) >= PARTS_MIN
    assert sum(edit.part == "cython" for edit in EDITS) >= PARTS_MIN
