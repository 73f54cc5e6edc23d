"""Which calls are legs of one conversation: a B2BUA ends one call and makes another, and nothing in SIP must say so.

Evidence is added up, each piece with its reason; from ``ENOUGH`` on two calls are linked. What is known of a call comes
as a card, in plain values, to the worker that looks for legs: once when it has begun, and once more when it has ended.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import attrs

from otus_calls.parties import read_party, same_user, user_key
from otus_calls.sdp import endpoints, read_sdp

ENOUGH = 60
"""Of about 100."""
SESSION_ID, NAMED, SAME_SDP = 60, 60, 45
TO_USER, FROM_USER, AT_ONCE, MIDDLE, OUTCOME = 20, 15, 20, 15, 15
AT_ONCE_NS = 20_000_000
APART_NS = 4_000_000_000
"""A leg that begins later than this after the other needs more than likeness: somebody has to name it."""
ENDED_TOGETHER_NS = 500_000_000
CARDS_MAX = 16384
SAME_MAX = 32
"""Calls that are compared with a new one for each piece of evidence, the newest first."""
NIL = "0" * 32
"""RFC 7989 §5: no session identifier yet."""

Card = tuple[Any, ...]


@attrs.define(eq=False)
class Known:
    """A call as its newest card has it."""

    call_id: bytes
    from_tag: bytes
    start: int
    src: str
    dst: str
    fields: dict[str, str]
    offer: bytes | None
    answer: bytes | None
    state: str
    code: int | None
    end: int
    media: list[str]
    marks: tuple[Any, ...] = ()
    """By which it is found."""

    @cached_property
    def users(self) -> tuple[str | None, str | None]:
        """Whom the call is from and to."""
        return tuple((read_party(self.fields.get(name)) or {}).get("user") for name in ("from", "to"))  # type: ignore[return-value]

    @cached_property
    def listens(self) -> set[tuple[str, int]]:
        """Where the first offer says that its sender listens."""
        return endpoints(read_sdp(self.offer))

    @cached_property
    def sessions(self) -> set[str]:
        """The identifiers of RFC 7989: ``local;remote=remote``."""
        parts = self.fields.get("session-id", "").lower().replace("remote=", "").split(";")
        return {part.strip() for part in parts if len(part.strip()) == len(NIL)} - {NIL}


def card_of(call: Any, outcome: Any, media: list[str]) -> Card:
    """Give what is known of a call, in plain values."""
    first = outcome.invite or outcome.first
    accepted = outcome.accepted
    return (
        call.call_id,
        call.from_tag,
        outcome.start,
        first.src,
        first.dst,
        first.fields or {},
        first.body,
        None if accepted is None else accepted.body,
        outcome.state,
        None if outcome.final is None else outcome.final.status,
        outcome.end,
        media,
    )


def compare(one: Known, other: Known, headers: tuple[str, ...]) -> tuple[int, list[str]]:
    """Give the score of two calls as legs of one conversation, and the reasons for it."""
    found: list[tuple[int, str]] = []
    first, later = (one, other) if one.start <= other.start else (other, one)
    if first.sessions & later.sessions:
        found.append((SESSION_ID, "Session-ID"))
    for header in headers:
        values = (first.fields.get(header), later.fields.get(header))
        names = (values[1] and values[1].encode() == first.call_id) or (
            values[0] and values[0].encode() == later.call_id
        )
        if names or (values[0] and values[0] == values[1]):
            found.append((NAMED, header))
    if first.listens & later.listens:
        found.append((SAME_SDP, "the same media endpoint"))
    apart = later.start - first.start
    if apart <= APART_NS:
        found += _likeness(first, later, apart)
    return min(100, sum(score for score, _ in found)), [reason for _, reason in found]


def _likeness(first: Known, later: Known, apart: int) -> Iterator[tuple[int, str]]:
    if same_user(first.users[1], later.users[1]):
        yield TO_USER, "the same called user"
    if same_user(first.users[0], later.users[0]):
        yield FROM_USER, "the same calling user"
    if apart <= AT_ONCE_NS:
        yield AT_ONCE, f"{apart / 1e6:.1f} ms later"
    if first.dst == later.src:
        yield MIDDLE, f"{first.dst} is called by one and calls by the other"
    if first.end and later.end and first.state == later.state and first.code == later.code:
        distance = abs(first.end - later.end)
        if distance <= ENDED_TOGETHER_NS:
            yield OUTCOME, f"the same outcome, {distance / 1e6:.0f} ms apart"


class Legs:
    """The calls among which legs are looked for. ``headers`` are those by which a B2BUA names the other leg."""

    def __init__(self, headers: tuple[str, ...]) -> None:
        self._headers = tuple(name.lower() for name in headers)
        self._known: OrderedDict[tuple[bytes, bytes], Known] = OrderedDict()
        self._by: dict[Any, deque[Known]] = {}

    def take(self, card: Card) -> Iterator[tuple[Known, Known, int, list[str]]]:
        """Take a card; gives, for each other leg that it shows, both calls with score and reasons."""
        one = Known(*card)
        key = (one.call_id, one.from_tag)
        before = self._known.pop(key, None)
        if before is not None:
            self._forget(before)
        self._known[key] = one
        named = tuple(self._named(one))
        one.marks = (*named, *_offered(one))
        for other in self._others(one, named):
            score, reasons = compare(one, other, self._headers)
            if score >= ENOUGH:
                yield one, other, score, reasons
        for mark in one.marks:
            self._by.setdefault(mark, deque(maxlen=SAME_MAX)).append(one)
        if len(self._known) > CARDS_MAX:
            self._forget(self._known.popitem(last=False)[1])

    def _others(self, one: Known, named: tuple[Any, ...]) -> list[Known]:
        """Give the calls that may be legs: those that share a name, and those at one host that began about then."""
        found: dict[int, Known] = {}
        by = self._by
        for mark in (*named, *_sought(one)):  # likeness is not enough where neither the moment nor a user is the same
            if mark in by:
                found |= {id(other): other for other in by[mark]}
        return list(found.values())

    def _named(self, one: Known) -> Iterator[Any]:
        """Give what only another leg would share."""
        if "session-id" in one.fields:
            for session in one.sessions:
                yield "session", session
        for header in self._headers:
            if header in one.fields:
                yield "named", one.fields[header]
        yield "named", one.call_id.decode("utf-8", "replace")
        if one.offer is not None and b"c=" in one.offer:
            yield "offer", one.offer[one.offer.find(b"c=") :][:256]

    def _forget(self, one: Known) -> None:
        for mark in one.marks:
            others = self._by.get(mark)
            if others is not None:
                if one in others:
                    others.remove(one)
                if not others:
                    del self._by[mark]


def _offered(one: Known) -> Iterator[Any]:
    """Give the marks by which another leg finds a call: its hosts, with when it began, and with who calls."""
    user = user_key(one.users[0])
    for side, host in (("src", one.src), ("dst", one.dst)):
        yield side, host, one.start // AT_ONCE_NS
        if user:
            yield side, host, user, one.start // APART_NS


def _sought(one: Known) -> Iterator[Any]:
    """Give the marks of other legs: one call comes from where the other goes to, at about the same time."""
    user = user_key(one.users[0])
    at_once, period = one.start // AT_ONCE_NS, one.start // APART_NS
    for side, host in (("src", one.dst), ("dst", one.src)):
        for near in (-1, 0, 1):
            yield side, host, at_once + near
            if user:
                yield side, host, user, period + near


def leg_of(other: Known, one: Known, score: int, reasons: list[str]) -> dict[str, Any]:
    """Tell a call of its other leg. ``role`` is that leg's: ``inbound`` began first, ``outbound`` was made of it."""
    return {
        "call_id": other.call_id.decode("utf-8", "replace"),
        "from_tag": other.from_tag.decode("utf-8", "replace"),
        "score": score,
        "reasons": reasons,
        "role": "inbound" if other.start <= one.start else "outbound",
        "media": other.media,
    }
