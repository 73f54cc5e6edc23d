"""The counters that components declare for themselves, as ``context.counter`` gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otus_core.model.accounts import Accounts, Counter
from otus_core.model.counter_names import name_of

SHOWN_MAX = 60


def name_own_counters(kind: str, name: str, declaration: Any) -> dict[str, str]:
    """Give the names of a component's own counters in the accounts, by those that it declares; of a parser also those
    of what it meets and does not look into.
    """
    names = {one: name_of("counted", kind, name, one) for one in declaration.counters}
    return names | {one: name_of("hidden", name, one) for one in getattr(declaration, "hidden", ())}


def counting(accounts: Accounts, kind: str, name: str, declaration: Any) -> Callable[[str], Counter]:
    """Give what gives a component its own counters; it raises ValueError for a name that is not declared."""
    names = name_own_counters(kind, name, declaration)

    def counter(one: str) -> Counter:
        if one not in names:
            there = ", ".join(sorted(names)) or "none"
            raise ValueError(f"{kind} {name} has no counter {str(one)[:SHOWN_MAX]!r}; it declares {there}")
        return Counter(accounts, names[one])

    return counter


def counting_alone(kind: str, name: str, declaration: Any) -> Callable[[str], Counter]:
    """Give the same to a component that no task runs, such as one that is tested."""
    return counting(Accounts(name_own_counters(kind, name, declaration).values()), kind, name, declaration)
