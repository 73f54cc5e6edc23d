"""Each fuzz target still runs: its seeds, and some mutations, on the modules as they are installed."""

from __future__ import annotations

import importlib
import random

import pytest

from tests.fuzz.__main__ import TARGETS
from tests.fuzz.harness import mutate

MUTATIONS = 50


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_mutations_do_no_harm(name: str) -> None:
    target = importlib.import_module(f"tests.fuzz.{name}")
    seeds, chance = target.seeds(), random.Random(1)
    assert seeds
    for data in [*seeds, *(mutate(chance.choice(seeds), chance, seeds) for _ in range(MUTATIONS))]:
        target.one_input(data)
