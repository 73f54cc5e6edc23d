"""Durations as Otus writes them: what people would write, and what reads back to the same number of seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_core import ConfigInvalid, Duration, configuration, option
from otus_core.config.converter import structure, unstructure
from otus_core.config.sample import sample
from otus_core.config.shape import spell


@configuration
class Pauses:
    """Durations wherever they may stand."""

    one: Duration = option(default=0.05, ge=0.001, le=86400 * 7)
    none: Duration | None = option(default=None)
    some: list[Duration] = option(factory=list)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.05, "50ms"),
        (0.1, "100ms"),
        (1.0, "1s"),
        (90.0, "90s"),
        (300.0, "5m"),
        (86400.0, "1d"),
        (1e-7, None),
    ],
)
def test_a_duration_has_its_largest_whole_unit(seconds: float, text: str | None) -> None:
    assert spell(seconds) == text


@given(st.lists(st.floats(0, 1e8) | st.integers(0, 10**8), min_size=1))
def test_what_is_written_reads_back_to_the_same(seconds: list[float]) -> None:
    config = Pauses(none=seconds[0], some=[float(one) for one in seconds])
    assert structure(Pauses, unstructure(config)) == config


def test_bounds_and_refusals_have_units_too() -> None:
    assert "at least 1ms, at most 7d" in sample(Pauses).replace("\n# ", " ")
    with pytest.raises(ConfigInvalid, match="one: must be at most 7d, got 8d"):
        structure(Pauses, {"one": "192h"})
