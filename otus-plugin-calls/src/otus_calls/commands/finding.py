"""The calls of a capture, numbered as ``otus calls`` numbers them, and those of them that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from otus_calls.commands.source import CHOSEN, Source, refuse
from otus_core import OtusError, RunFailed, printable

INTERRUPTED = 130
"""The exit status of a run that Ctrl-C ended."""


@attrs.frozen
class Numbered:
    """A call: ``number`` is its place in the table of all calls, ``facts`` are what its record holds."""

    number: int
    facts: dict[str, Any]
    chosen: bool
    """Whether it matches ``--where``."""


@attrs.frozen
class Found:
    """The calls of a source, by the time they began; ``failure`` is how the run ended, if not well."""

    calls: list[Numbered]
    failure: RunFailed | None = None

    def end(self) -> None:
        """End the command as the run ended: what there was has been shown. Raises RunFailed."""
        if self.failure is not None:
            raise self.failure


def find_calls(source: Source, where: str | None = None, *, messages: bool = True) -> Found:
    """Read all there is; calls without their ``messages`` take two thirds of the time. Raises RunFailed where nothing
    could be read.
    """
    records: list[dict[str, Any]] = []
    failure = None
    try:
        records += (one for one in source.records({"messages": messages}, where) if one["payload_type"] == "call")
    except RunFailed as error:
        failure = error
        if error.exit_status == 2 or not records:
            raise
    records.sort(key=lambda one: (one["payload"]["start"] or "", one["payload"]["call_id"]))
    calls = [
        Numbered(number, one["payload"], where is None or CHOSEN in one["labels"])
        for number, one in enumerate(records, 1)
    ]
    return Found(calls, failure)


def follow_calls(
    source: Source, where: str | None, wanted: Callable[[dict[str, Any]], bool], *, messages: bool = True
) -> Iterator[Numbered]:
    """Give the calls of an interface that match ``where`` and are wanted, each when it has ended. Raises RunFailed."""
    records = (one for one in source.records({"messages": messages}, where) if one["payload_type"] == "call")
    told = (one["payload"] for one in records if where is None or CHOSEN in one["labels"])
    for number, facts in enumerate(filter(wanted, told), 1):
        yield Numbered(number, facts, True)


def choose(found: Found, call: str | None) -> list[Numbered]:
    """Give the calls that match ``--where`` and ``--call``: a number of the table, or a Call-ID.

    Raises OtusError where there are none, and RunFailed where Ctrl-C was pressed before all were there.
    """
    if found.failure is not None and found.failure.exit_status == INTERRUPTED:
        raise found.failure
    if not found.calls:
        raise OtusError("there is no call in it")
    if call is None:
        chosen = [one for one in found.calls if one.chosen]
        if not chosen:
            raise OtusError(f"--where: {none_matches(len(found.calls))}")
        return chosen
    chosen = [one for one in found.calls if one.facts["call_id"] == call]
    if not chosen and call.isdecimal():
        chosen = [one for one in found.calls if one.number == int(call)]
    if not chosen:
        raise refuse("--call", _no_such(call, len(found.calls)))
    return chosen


def none_matches(count: int) -> str:
    """Say that none of the calls is wanted."""
    return "the only call does not match" if count == 1 else f"none of the {count:,} calls matches"


def _no_such(call: str, count: int) -> str:
    if call.isdecimal() and len(call) < 10:
        return f"there is no call {int(call)}: otus calls numbers them 1 to {count:,}"
    return f"no call has the Call-ID {printable(call, 80)}; otus calls lists them"
