"""What the parties agreed on, and when: offers and answers of a call in turn (RFC 3264).

Media change with the answer, not with the offer: a re-INVITE that is refused changes nothing (RFC 3261 §14.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from otus_calls.sdp import endpoints, is_fax, is_held, read_sdp

Lines = list[dict[str, Any]]
CALLER, CALLEE = "caller", "callee"
HOLDS_MAX = 64
"""Times on hold that are told one by one."""


def other_side(side: str) -> str:
    """Give the other party."""
    return CALLEE if side == CALLER else CALLER


@attrs.define(eq=False)
class Session:
    """What came of the offers. ``lines`` is by who listens there, ``caller`` or ``callee``, as agreed on last;
    ``offered`` is the first offer. ``hold`` tells of each hold: who holds, from when to when in ns, ``None`` for one
    that lasts.
    """

    lines: dict[str, Lines] = attrs.field(factory=dict)
    offered: Lines = attrs.field(factory=list)
    everywhere: dict[str, set[tuple[str, int]]] = attrs.field(factory=lambda: {CALLER: set(), CALLEE: set()})
    codecs: set[str] = attrs.field(factory=set)
    hold: list[dict[str, Any]] = attrs.field(factory=list)
    t38: bool = False
    agreed: bool = False

    def agree(self, at: int, offerer: str, offer: Lines, answer: Lines) -> None:
        """An offer was answered at ``at``."""
        self.agreed = True
        self.lines = {offerer: offer, other_side(offerer): answer}
        self.codecs |= {codec.lower() for one in answer for codec in one["codecs"]}
        self.codecs |= {codec.lower() for one in offer for codec in one["codecs"]}
        self.t38 = self.t38 or (is_fax(offer) and is_fax(answer))
        for side, lines in self.lines.items():
            self._set_hold(side, is_held(lines), at)

    def _set_hold(self, side: str, held: bool, at: int) -> None:
        last = next((one for one in reversed(self.hold) if one["by"] == side), None)
        if held and (last is None or last["to"] is not None) and len(self.hold) < HOLDS_MAX:
            self.hold.append({"by": side, "from": at, "to": None})
        elif not held and last is not None and last["to"] is None:
            last["to"] = at

    def held_for(self, begin: int, end: int) -> int:
        """Give how many ns between two times at least one party held the other."""
        spans = sorted((max(one["from"], begin), min(one["to"] or end, end)) for one in self.hold)
        total, reached = 0, begin
        for first, last in spans:
            if last > reached:
                total += last - max(first, reached)
                reached = last
        return total


def read_session(notes: Iterable[Any]) -> Session:
    """Follow the offers and answers in the messages of a call."""
    session = Session()
    pending: dict[tuple[int, bool], tuple[str, Lines]] = {}  # by CSeq and whether the caller asked
    for note in notes:
        if note.repeat or note.body is None:
            continue
        lines = read_sdp(note.body)
        if not lines:
            continue
        asker = CALLER if note.from_caller else CALLEE
        side = asker if note.status == 0 else other_side(asker)
        session.everywhere[side] |= endpoints(lines)
        key = (note.cseq, note.from_caller)
        if not session.offered:
            session.offered = lines
        if note.status == 0:
            _asked(session, pending, note, key, side, lines)
        elif note.status < 300:
            waiting = pending.get(key)
            if waiting is None:  # RFC 3261 §13.2.1: the offer is in the answer, its answer in the ACK
                pending[key] = (side, lines)
            elif waiting[0] == asker:
                session.agree(note.time, asker, waiting[1], lines)
    return session


def _asked(session: Session, pending: Any, note: Any, key: tuple[int, bool], side: str, lines: Lines) -> None:
    waiting = pending.get(key)
    if note.method in ("ACK", "PRACK") and waiting is not None and waiting[0] != side:
        session.agree(note.time, waiting[0], waiting[1], lines)
    elif note.method != "ACK":
        pending[key] = (side, lines)
