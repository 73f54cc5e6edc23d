"""Configuration text that is large or odd is refused quickly and by its name."""

from __future__ import annotations

import pytest

from otus_core.config.load import _unique, load_text
from otus_core.errors import ConfigInvalid


@pytest.mark.parametrize(
    ("keys", "twice"), [("aba", "a"), ("aa", "a"), ("abcb", "b"), ("abb", "b"), ("abac", "a")], ids=str
)
def test_a_key_that_comes_again_is_named(keys: str, twice: str) -> None:
    with pytest.raises(Exception, match=f'the key "{twice}" is there twice'):
        _unique([(key, 1) for key in keys])


@pytest.mark.timeout(10)  # it took 33 s while each key was compared with all others
def test_many_keys_are_looked_through_once() -> None:
    keys = ",".join(f'"k{n}":1' for n in range(45_000))
    with pytest.raises(ConfigInvalid, match="k44999"):
        load_text(f'{{{keys},"k44999":1}}')
