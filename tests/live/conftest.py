"""A pair of namespaces for each test, and runs that end with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.live.net import Pair, Run

NUMBERS = count()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two namespaces joined by a veth pair."""
    made = Pair(f"otus{os.getpid() % 100_000}x{next(NUMBERS)}")
    yield made
    made.remove()


@pytest.fixture
def run(pair: Pair, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start ``otus run`` with these arguments in the near namespace; returns when it captures."""
    runs: list[Run] = []

    def start(*arguments: object, namespace: str = "", workers: int = 1, waits: bool = True) -> Run:
        if workers > 1:
            arguments = (*arguments, "--workers", workers)
        runs.append(Run(pair, tmp_path, *arguments, namespace=namespace, workers=workers))
        return runs[-1].started() if waits else runs[-1]

    yield start
    for one in runs:
        one.close()
