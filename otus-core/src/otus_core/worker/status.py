"""What a component says of itself, made plain values of bounded size before it leaves the worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from otus_core.model.accounts import Accounts
from otus_core.model.counter_names import name_of
from otus_core.model.text import printable
from otus_core.pipeline.counters import STATUSES

IN_ORDER = ("", "connected", "stopped")
"""States of a reporter that nobody need look after; "stopped" is one that has been told to stop."""
STATUS_KEYS_MAX = 32
STATUS_TEXT_MAX = 300
"""Of a reporter's status so many entries and characters reach the parent, twice a second at most."""

SHOWN_MAX = 60
"""Characters of a status that is none, in the error about it."""

Plain = str | int | float | bool
Status = dict[str, Plain]


def status_of(reporter: Any) -> Status:
    """Ask a reporter how its destination is: plain values of bounded size. Empty where it does not tell."""
    ask = getattr(reporter, "status", None)  # inheriting from BaseReporter is not required
    return plain_status(ask() if ask is not None else {})


def plain_status(told: Any) -> Status:
    """Make what a component says of itself plain values of bounded number and size.

    Raises what its mapping and its texts raise.
    """
    return {
        printable(str(key), STATUS_TEXT_MAX): _plain(value) for key, value in list(dict(told).items())[:STATUS_KEYS_MAX]
    }


def words(told: Any) -> str:
    """Make what a component says text of bounded length, safe for logs and terminals.

    Raises what its ``__str__`` raises.
    """
    return printable(str(told), STATUS_TEXT_MAX)


def _plain(value: Any) -> Plain:
    # What marshal and JSON take as it is; a plugin's own type could run its code when it is shown.
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return words(", ".join(map(str, value[:STATUS_KEYS_MAX])))
    return "" if value is None else words(value)


def answers(status: Mapping[str, Any]) -> bool:
    """Whether a destination answers, as far as its reporter knows."""
    return status.get("state", "") in IN_ORDER and not status.get("reason")


def complaint(status: Mapping[str, Any]) -> str:
    """Give what a reporter complains of, or empty; one that connects for the first time does not yet."""
    state = str(status.get("state", ""))
    return str(status.get("reason") or ("" if state in (*IN_ORDER, "connecting") else state))


Told = Mapping[str, tuple[str, str]]
"""By ``kind:ID``: a status, and why."""


def check_status(component: str, status: str) -> str:
    """Give a status as it is. Raises ValueError for one that there is not."""
    if status not in STATUSES:
        raise ValueError(f"{component}: status {str(status)[:SHOWN_MAX]!r}: use {', '.join(STATUSES)}")
    return status


class Statuses:
    """What the components of one worker say of themselves with ``context.status``; the last word of each holds."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._told: dict[str, tuple[str, str]] = {}

    def teller(self, component: str) -> Callable[..., None]:
        """Give what ``context.status`` is for a component."""

        def tell(status: str, why: str = "") -> None:
            self._told[component] = (check_status(component, status), words(why))
            self._accounts.set(name_of("status", component), STATUSES.index(status))

        self._accounts.set(name_of("status", component), 0)  # an earlier worker's word holds no longer
        return tell

    def now(self) -> dict[str, tuple[str, str]]:
        """Give what each that has said something said last."""
        return dict(self._told)
