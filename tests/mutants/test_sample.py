"""A sample of the faults that ``nox -s mutants`` puts in is noticed, always the same ten."""

from __future__ import annotations

import pytest

from tests.mutants.__main__ import judge_all
from tests.mutants.edits import LISTS, read_edits

SIZE = 10
COMPILED = 2
"""A module takes some five seconds to compile."""


@pytest.mark.slow
def test_the_sample_is_noticed() -> None:
    sample = [edit for part in LISTS for edit in read_edits(part) if edit.sample]
    assert len(sample) == SIZE
    assert sum(bool(edit.modules) for edit in sample) == COMPILED
    found = {one.edit.name: one.told or one.verdict for one in judge_all(sample, jobs=2)}
    assert found == dict.fromkeys(found, "killed")
