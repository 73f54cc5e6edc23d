"""Counters by name, in memory that may outlive them."""

from __future__ import annotations

import pytest

from otus_core.model.accounts import Accounts


def test_counters_live_in_the_buffer_they_are_given() -> None:
    memory = bytearray(16)
    Accounts(["a", "b"], memory).add("b", 5)
    again = Accounts(["a", "b"], memory)
    again.add("b")
    assert again.snapshot() == {"a": 0, "b": 6}


def test_a_counter_that_was_not_named_cannot_be_added() -> None:
    accounts = Accounts(["a"])
    with pytest.raises(KeyError):
        accounts.add("packet's own name")
    assert "packet's own name" not in accounts


@pytest.mark.parametrize(("names", "size"), [(["a", "a"], 64), (["a", "b"], 15)], ids=["twice", "too small a buffer"])
def test_what_cannot_work_is_refused(names: list[str], size: int) -> None:
    with pytest.raises(ValueError, match=r"twice|need"):
        Accounts(names, bytearray(size))
