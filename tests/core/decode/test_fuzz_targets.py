"""The fuzz targets run in plain Python over their seeds and a few thousand mutations."""

from __future__ import annotations

import pytest

from tests.fuzz import decode_target, harness, reassembly_target


@pytest.mark.parametrize("target", [decode_target, reassembly_target], ids=["decode", "reassembly"])
def test_seeds_and_mutations_do_no_harm(target) -> None:  # type: ignore[no-untyped-def]
    assert harness.walk(target.one_input, target.seeds(), mutations=3000) > 3000
