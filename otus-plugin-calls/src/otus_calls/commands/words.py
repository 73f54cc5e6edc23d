"""Calls in words: what the commands show of a record's fields, each made safe to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otus_calls.commands.terminal import BAD, GOOD, ODD
from otus_core import printable

NOTHING = "–"
# Characters in a cell: packets choose how long users and reasons are.
USER_MAX = 64
FLAGS_MAX = 160
MEDIA_MAX = 40
COLOURS = {
    "completed": GOOD,
    "in_call": GOOD,
    "failed": BAD,
    "no_reply": BAD,
    "lost": BAD,
    "challenged": ODD,
    "busy": ODD,
    "no_answer": ODD,
    "declined": ODD,
    "cancelled": ODD,
}
"""Of states: green is as it should be, red is a fault of the network, yellow what one of the parties did."""

Facts = Mapping[str, Any]


def clock(moment: str | None, digits: int = 1) -> str:
    """Give the time of day of an RFC 3339 time, with so many digits of a second; in UTC, as it is."""
    return moment[11 : 20 + digits] if moment else NOTHING


def date(moment: str | None) -> str:
    """Give the date of an RFC 3339 time."""
    return moment[:10] if moment else NOTHING


def party(facts: Facts, which: str) -> str:
    """Give who calls (``from``) or is called (``to``): the user, or else the address of record."""
    one = facts[which] or {}
    return printable(one.get("user") or one.get("uri") or "?", USER_MAX)


def parties(facts: Facts) -> str:
    """Give who calls whom."""
    return f"{party(facts, 'from')} → {party(facts, 'to')}"


def end(one: Mapping[str, Any] | None) -> str:
    """Give address and port of a party."""
    if not one or not one["ip"]:
        return NOTHING
    return host(one["ip"], one["port"])


def host(ip: str, port: int) -> str:
    """Give an address with its port."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def state(facts: Facts) -> str:
    """Give the state as people say it."""
    return str(facts["state"]).replace("_", " ")


def number(value: float | None, digits: int = 2) -> str:
    """Give a figure that may not be known."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def minutes(seconds: float | None) -> str:
    """Give a time as ``0:09``, ``1:02:03``."""
    if seconds is None:
        return NOTHING
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def flags(facts: Facts) -> str:
    """Give what was odd, and what the network said of a call that failed."""
    told = [str(one["flag"]) for one in facts["flags"]]
    if facts["q850"] is not None:
        told.append(f"q850:{facts['q850']}")
    return printable(" ".join(told), FLAGS_MAX)


def is_problem(facts: Facts) -> bool:
    """Whether a call went wrong, or something was odd with it."""
    return bool(facts["flags"]) or facts["state"] in ("failed", "no_reply", "lost")


def media(streams: Sequence[Facts]) -> str:
    """Give codecs, and the packets that the caller and the callee sent: ``PCMA ⇄ 236/236``."""
    if not streams:
        return NOTHING
    caller, callee = (sum(one["packets"] for one in streams if one["by"] == side) for side in ("caller", "callee"))
    codecs = "+".join(dict.fromkeys(str(one["codec"] or "?") for one in streams))
    if not caller and not callee:
        return printable(f"{codecs} ? {sum(one['packets'] for one in streams)}", MEDIA_MAX)
    arrow = "⇄" if caller and callee else "→" if caller else "←"
    return printable(f"{codecs} {arrow} {caller}/{callee}", MEDIA_MAX)


def flag(one: Facts) -> str:
    """Give a flag with its evidence."""
    return f"{one['flag']}: {one['evidence']}"
