"""Figures of all calls and registrations of an interval: RFC 6076, ITU-T E.411 and E.425.

A call record is one attempt: what was challenged and tried again is not counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otus_calls.model import moment
from otus_calls.names import VERSION

INEFFECTIVE = (408, 500, 503, 504)
"""RFC 6076 §4.8: the network could not set the session up; a timeout counts too."""
ANSWERED_BY_USER = (480, 486, 600, 603)
"""RFC 6076 §4.7: the network did its part, whatever the user did."""

COUNTS = (
    "attempts",  # calls that began here
    "redirected",
    "challenged",
    "established",
    "effective",
    "ineffective",
    "completed",
    "user_busy",
    "no_answer",
    "declined",
    "cancelled",
    "talks",
    "talk_ns",
    "delays",
    "delay_ns",
    "disconnects",
    "disconnect_ns",
    "registrations",
    "registrations_ineffective",
)


def counts_of(outcome: Any) -> dict[str, int]:
    """Give what one call adds to the counts; empty for a call that began before the capture, or is under way."""
    state = outcome.state
    if outcome.partial or (not outcome.answer and state in ("trying", "ringing", "early_media")):
        return {}
    code = outcome.final.status if outcome.final is not None else 0
    answered = bool(outcome.answer)
    added = {
        "attempts": 1,
        "redirected": int(state == "redirected"),
        "challenged": int(state == "challenged"),
        "established": int(answered),
        "effective": int(answered or code in ANSWERED_BY_USER),
        "ineffective": int(not answered and (code in INEFFECTIVE or state == "no_reply")),
        "completed": int(answered and state == "completed"),
        "user_busy": int(state == "busy"),
        "no_answer": int(state == "no_answer"),
        "declined": int(state == "declined"),
        "cancelled": int(state == "cancelled"),
    }
    if answered and outcome.bye > outcome.answer:
        added |= {"talks": 1, "talk_ns": outcome.bye - outcome.answer}
    if outcome.reply and outcome.attempt:
        added |= {"delays": 1, "delay_ns": outcome.reply - outcome.attempt}
    if outcome.bye_answered and outcome.bye:
        added |= {"disconnects": 1, "disconnect_ns": outcome.bye_answered - outcome.bye}
    return added


def add(total: dict[str, int], added: Mapping[str, int]) -> None:
    """Add counts to others."""
    for name, n in added.items():
        total[name] = total.get(name, 0) + n


def _share(part: int, of: int) -> float | None:
    return round(100 * part / of, 3) if of > 0 else None


def _mean(total: int, of: int) -> float | None:
    return round(total / of / 1e9, 6) if of > 0 else None


def tell_kpi(total: Mapping[str, int], begin: int, end: int, *, part: bool) -> dict[str, Any]:
    """Tell the figures of an interval, in per cent and seconds. ``part``: other workers tell of the same interval."""
    n = {name: total.get(name, 0) for name in COUNTS}
    tried = n["attempts"]
    served = n["established"] + n["user_busy"] + n["no_answer"] + n["declined"] + n["cancelled"]
    return {
        "version": VERSION,
        "begin": moment(begin),
        "end": moment(end),
        "part": part,
        "attempts": tried,
        "ser": _share(n["established"], tried - n["redirected"]),  # RFC 6076 §4.6
        "seer": _share(n["effective"], tried - n["redirected"]),  # §4.7: 401 and 407 are not taken out
        "isa": _share(n["ineffective"], tried),  # §4.8
        "scr": _share(n["completed"], tried),  # §4.9
        "asr": _share(n["established"], tried),  # ITU-T E.411
        "ner": _share(served, tried),  # ITU-T E.425
        "acd": _mean(n["talk_ns"], n["talks"]),
        "srd": _mean(n["delay_ns"], n["delays"]),  # RFC 6076 §4.3
        "sdd": _mean(n["disconnect_ns"], n["disconnects"]),  # §4.4
        "registrations": n["registrations"],
        "ira": _share(n["registrations_ineffective"], n["registrations"]),  # §4.2
        "counts": {name: n[name] for name in COUNTS if not name.endswith("_ns")},
        "talk_seconds": round(n["talk_ns"] / 1e9, 6),
    }
