"""Which calls are legs of one conversation: a B2BUA ends one call and makes another, and nothing in SIP must say so.

Evidence is added up, each piece with its reason; from ``ENOUGH`` on two calls are linked. What is known of a call comes
to the worker that looks for legs, from other workers as a card of plain values: once when it has begun, and once more
when it has ended, or when the capture has.
The first time the few calls that may be its legs are looked up in ``likely``; later only those are compared again that
lacked no more than the same outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from otus_calls.likely import Likely
from otus_calls.media import senders_of
from otus_calls.parties import read_party, same_user, sessions_of
from otus_calls.sdp import endpoints, read_sdp

if TYPE_CHECKING:
    from otus_calls.table import Call as Followed

ENOUGH = 60
"""Of about 100."""
# A session identifier (RFC 7989), or a header that names the other call, is enough by itself (``ENOUGH``); the same
# description in both needs something beside it.
SESSION_ID, NAMED, SAME_SDP = 60, 60, 45
TO_USER, FROM_USER, AT_ONCE, MIDDLE, OUTCOME = 20, 15, 20, 15, 15
AT_ONCE_NS = 20_000_000
"""A B2BUA on the same network sends the second INVITE as soon as it has read the first."""
SECOND_NS = 1_000_000_000
APART_NS = 4_000_000_000
"""A leg that begins later than this after the other needs more than likeness: somebody has to name it."""
ENDED_TOGETHER_NS = 500_000_000
"""One BYE makes the other: in between is the time to the next hop, and at most one retransmission (T1, RFC 3261
§17.1.1.1).
"""
CARDS_MAX = 16384
"""Calls whose legs are looked for at the same time; older ones are linked no more, and are reported all the same."""
COMPARED_A_SECOND = 10_000
"""Comparisons, by the packet clock: about 20 µs each with the links that they make, so a fifth of a processor. A
thousand calls a second through a B2BUA need four thousand; a flood of calls that are all alike would need 32 each.
"""
COMPARED_MAX = 65_536
"""Comparisons that are saved up for the end, where all calls that are up are looked at."""
SAME_MAX = 32
"""Calls that are kept in mind as those that may yet be legs of one."""

Card = tuple[Any, ...]
Link = tuple["Known", "Known", int, list[str]]
"""Two legs, their score, and the reasons for it."""


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
        return sessions_of(self.fields)


def card_of(call: Followed, now: int) -> Card:
    """Give what is known of a call by ``now``, in plain values."""
    outcome = call.outcome_by(now)
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
        senders_of(call.streams, call.from_tag.decode("utf-8", "replace"), outcome) if call.streams else [],
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
    """The calls among which legs are looked for. ``headers`` are those by which a B2BUA names the other leg.

    Where there is one worker, ``likely`` is shown the calls themselves, else ``take`` is given cards of them: never
    both.
    """

    def __init__(self, headers: tuple[str, ...]) -> None:
        self._headers = tuple(name.lower() for name in headers)
        self.likely = Likely(tuple(name.encode() for name in self._headers))
        self._numbers: dict[tuple[bytes, bytes], int] = {}
        self._affordable = COMPARED_MAX
        self._since = 0
        self.not_compared: Callable[[int], object] = lambda _n: None
        """Told how many comparisons there was no time for (``COMPARED_A_SECOND``)."""

    def take(self, card: Card, now: int = 0) -> list[Link]:
        """Take a card at ``now``, ns of the packet clock; gives, for each other leg that it shows, both with score and
        reasons.
        """
        key = card[:2]
        number = self._numbers.get(key)
        before = None if number is None else self._recall(number, 0)
        if number is not None and before is not None and before.start == card[2]:
            self.likely.keep(number, card)
            near = self.likely.near.get(number)
            return self.compare(number, near, now) if near else []
        number, gone = self.likely.next()
        self._forget(gone, number - CARDS_MAX)
        self._numbers[key] = number
        others = self._add(card)
        self.likely.keep(number, card)
        return self.compare(number, others, now) if others else []

    def _add(self, card: Card) -> Sequence[int]:
        call_id, _, start, src, dst, fields, offer = card[:7]
        named = (call_id, *[fields[header] for header in self._headers if header in fields])
        sessions = tuple(sessions_of(fields)) if "session-id" in fields else ()
        return self.likely.add(start, src, dst, fields.get("from"), fields.get("to"), named, sessions, offer)

    def _recall(self, number: int, now: int) -> Known | None:
        """Give what is known of a call; it is put together once, when somebody asks."""
        one: Known | Card | Followed | None = self.likely.known(number)
        if one is None or isinstance(one, Known):
            return one
        known = Known(*(one if isinstance(one, tuple) else card_of(one, now)))
        self.likely.keep(number, known)
        return known

    def compare(self, number: int, others: Sequence[int], now: int) -> list[Link]:
        """Compare a call with others; those that may yet be legs, when both have ended, are kept in mind."""
        found: list[Link] = []
        others = self._afford(tuple(others), now)
        if not others:
            return found
        one = self._recall(number, now)
        for their in others:
            other = self._recall(their, now)
            if one is None or other is None or their == number:
                continue
            if (one.call_id, one.from_tag) == (other.call_id, other.from_tag):
                continue
            score, reasons = compare(one, other, self._headers)
            if score >= ENOUGH:
                found.append((one, other, score, reasons))
            if score >= ENOUGH - OUTCOME:
                for this, that in ((number, their), (their, number)):
                    near = self.likely.near.setdefault(this, [])
                    if that not in near and len(near) < SAME_MAX:
                        near.append(that)
        return found

    def _afford(self, others: tuple[int, ...], now: int) -> tuple[int, ...]:
        """Give those of the calls that there is time to compare with, the first ones."""
        more = (now - self._since) * COMPARED_A_SECOND // SECOND_NS
        if more > 0:
            self._affordable, self._since = min(COMPARED_MAX, self._affordable + more), now
        if len(others) > self._affordable:
            self.not_compared(len(others) - self._affordable)
            others = others[: self._affordable]
        self._affordable -= len(others)
        return others

    def _forget(self, known: Known | Card | None, number: int) -> None:
        if known is None:
            return
        key = known[:2] if isinstance(known, tuple) else (known.call_id, known.from_tag)
        if self._numbers.get(key) == number:
            del self._numbers[key]


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
