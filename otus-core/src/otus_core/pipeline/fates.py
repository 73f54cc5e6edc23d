"""What became of each message of a batch, from what a reporter said.

In: a ``ReportResult`` of somebody else's code, which may be anything. Out: ``Fates``, in which every place of the batch
stands once; nothing is raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import attrs

from otus_core.components import ReportResult
from otus_core.values import define

T = TypeVar("T")
INVALID = "invalid"
"""The reason of messages of which the reporter did not say properly what became of them."""
KINDS = ("failed", "retry", "final")


@define(eq=False)
class Fates:
    """``failed`` and ``retry`` are places in the batch with their reasons; ``lost`` counts those that are dropped, by
    reason.

    ``fault`` says what was wrong with the answer, or is empty.
    """

    reported: int = 0
    failed: dict[int, str] = attrs.field(factory=dict)
    retry: dict[int, str] = attrs.field(factory=dict)
    lost: dict[str, int] = attrs.field(factory=dict)
    fault: str = ""
    waits: bool = False
    """The destination is not there: what is to be retried may be kept for as long as there is room."""

    def lose(self, reason: str, n: int) -> None:
        """Count messages that are dropped."""
        if n:
            self.lost[reason] = self.lost.get(reason, 0) + n

    @property
    def is_success(self) -> bool:
        """Whether the destination took something."""
        return self.reported > 0

    @property
    def is_failure(self) -> bool:
        """Whether the whole batch failed for a reason that may hold for the next one too."""
        return not self.reported and bool(self.failed or self.retry or self.fault)


def fail_all(size: int, reason: str) -> Fates:
    """Give the fates of a batch that failed as a whole."""
    return Fates(failed=dict.fromkeys(range(size), reason))


def retry_all(size: int, reason: str, *, waits: bool) -> Fates:
    """Give the fates of a batch that is to be tried again as a whole."""
    return Fates(retry=dict.fromkeys(range(size), reason), waits=waits)


def by_reason(batch: Sequence[T], places: Mapping[int, str]) -> dict[str, list[T]]:
    """Give the messages at some places of a batch by the reason that each place has, in order."""
    found: dict[str, list[T]] = {}
    for place in sorted(places):
        found.setdefault(places[place], []).append(batch[place])
    return found


def sort_out(result: Any, size: int) -> Fates:
    """Give the fate of each of ``size`` messages."""
    if not isinstance(result, ReportResult):
        fates = fail_all(size, INVALID)
        fates.fault = f"report() gave {type(result).__name__}, not a ReportResult"
        return fates
    try:
        return _sort_fates(result, size)
    except Exception as error:  # mappings, keys and numbers are the reporter's own
        fates = fail_all(size, INVALID)
        fates.fault = f"report() gave a ReportResult that cannot be read: {type(error).__name__}"
        return fates


def _sort_fates(result: ReportResult, size: int) -> Fates:
    # Nearly every batch: no places need to be sorted.
    if result.reported == size and not (result.failed or result.retry or result.final):
        return Fates(reported=size)
    fates = Fates(waits=True)
    rest = _place(fates, result, size)
    if result.reported > len(rest) or result.reported < 0:
        fates.fault = (
            f"report() says that {result.reported} of {size} messages were reported, and tells the fate of "
            f"{size - len(rest)} others"
        )
    # Never more than there are: a wrong number must not make messages appear that nobody offered.
    fates.reported = min(max(int(result.reported), 0), len(rest))
    _count(fates, result, rest)
    return fates


def _place(fates: Fates, result: ReportResult, size: int) -> list[int]:
    """Note the messages that are named by their places; gives the places of the others."""
    rest = dict.fromkeys(range(size))
    for kind in KINDS:
        for reason, some in getattr(result, kind).items():
            if isinstance(some, int):
                continue
            for place in some:
                if place not in rest:
                    fates.fault = f"report() tells the fate of message {place!r} of {size} twice, or there is none"
                    continue
                del rest[place]
                _note(fates, kind, str(reason), place)
    return list(rest)


def _count(fates: Fates, result: ReportResult, rest: list[int]) -> None:
    """Note the messages that are only counted.

    Which they are is known when nothing else of the rest has another fate.
    """
    counted = {kind: _counts(getattr(result, kind)) for kind in KINDS}
    told = [kind for kind in KINDS if counted[kind]]
    left = len(rest) - fates.reported
    known = not fates.reported and len(told) <= 1
    for kind in told:
        for reason, n in counted[kind].items():
            taken = min(max(n, 0), left)
            if taken != n:
                fates.fault = f"report() tells the fate of more messages than there are: {n} of {left} for {reason!r}"
            left -= taken
            if not known:  # nobody can say which they are: they can only be counted
                fates.lose(reason, taken)
                continue
            for place in rest[:taken]:
                _note(fates, kind, reason, place)
            del rest[:taken]
    if left:
        fates.fault = fates.fault or f"report() does not tell what became of {left} messages"
        if known and not told:
            fates.failed.update(dict.fromkeys(rest[:left], INVALID))
        else:
            fates.lose(INVALID, left)


def _counts(told: Mapping[str, Any]) -> dict[str, int]:
    return {str(reason): some for reason, some in told.items() if isinstance(some, int) and some}


def _note(fates: Fates, kind: str, reason: str, place: int) -> None:
    if kind == "failed":
        fates.failed[place] = reason
    elif kind == "retry":
        fates.retry[place] = reason
    else:
        fates.lose(reason, 1)
