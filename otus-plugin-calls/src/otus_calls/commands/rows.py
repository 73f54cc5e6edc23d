"""A call as a row of a table: of ``otus calls``, and of its screen."""

from __future__ import annotations

from otus_calls.commands import words
from otus_calls.commands.finding import Numbered
from otus_core import Column, printable

COLUMNS = (
    Column("#", right=True),
    Column("start", leaves=7),
    Column("from → to", least=16),
    Column("state"),
    Column("code", right=True, leaves=9),
    Column("pdd", right=True, leaves=5),
    Column("setup", right=True, leaves=4),
    Column("talk", right=True, leaves=8),
    Column("hops", right=True, leaves=3),
    Column("media", least=10, leaves=6),
    Column("mos", right=True),
    Column("flags", least=10),
    Column("by", leaves=2),
    Column("call id", least=12, leaves=1),
)
LIVE_WIDTHS = (5, 10, 28, 11, 4, 5, 5, 5, 4, 18, 4, 24, 6, 32)
"""Columns when lines are shown as they come, so that nobody knows what is still to come."""


def cells(one: Numbered) -> tuple[str, ...]:
    """Give the cells of a call, one for each of ``COLUMNS``."""
    facts = one.facts
    return (
        str(one.number),
        words.clock(facts["start"]),
        words.parties(facts),
        words.state(facts),
        words.NOTHING if facts["code"] is None else str(facts["code"]),
        words.number(facts["pdd"]),
        words.number(facts["setup"]),
        words.minutes(facts["talk"]),
        str(len(facts["hops"])),
        words.media(facts["media"]),
        words.number(facts["mos"]),
        words.flags(facts),
        facts["hangup_by"] or "",
        printable(facts["call_id"], 128),
    )
