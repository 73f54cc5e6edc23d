"""The fuzz target for configuration files runs over its seeds and some mutations."""

from __future__ import annotations

import pytest

from tests.fuzz import config_target, harness


def test_seeds_and_mutations_do_no_harm() -> None:
    small = [seed for seed in config_target.seeds() if len(seed) < 1000]
    assert harness.walk(config_target.one_input, small, mutations=1500) > 1500


@pytest.mark.parametrize(
    "data",
    [
        b"a: 1e999",
        b'{"a": 1e999}',
        b"a: " + b"[" * 100_000,
        b"{" * 100_000,
        b'{"a":' * 100_000,
        b"- " * 100_000,
        b"x" * (2 << 20),
        b"9" * 900_000,
    ],
    ids=["yaml-infinite", "json-infinite", "yaml-deep", "json-deep", "json-objects", "lists", "large", "digits"],
)
def test_size_and_depth_are_bounded(data: bytes) -> None:
    config_target.one_input(data)
