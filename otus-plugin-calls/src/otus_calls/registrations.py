"""Registrations (RFC 3261 §10): what each contact of an address of record did at a registrar.

In: what ``sighting`` keeps of REGISTER requests and their responses, in the worker that owns the address of record.
Out: a record for each registration when it has expired, was removed, or failed for good.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from otus_calls.model import moment
from otus_calls.names import VERSION
from otus_calls.parties import read_party

SECOND = 1_000_000_000
SETTLE_NS = 32 * SECOND
"""64 * T1: so long after the last word nothing more is to be expected (RFC 3261 §17.1.2.2, Timer F)."""
NEVER = 1 << 63
PENDING_MAX = 65536
SOURCES_MAX = 4096
TEXT_MAX = 512
DUPLICATE_NS = 20_000_000
FIELDS = frozenset({"contact", "m", "expires", "user-agent", "authorization", "proxy-authorization", "www-authenticate",
                    "proxy-authenticate"})  # fmt: skip
INEFFECTIVE = (408, 500, 503, 504)
_EXPIRES = re.compile(r";\s*expires\s*=\s*\"?(\d{1,9})", re.IGNORECASE)

Sighting = tuple[Any, ...]


def sighting(payload: Any, at: int, ends: tuple[str, int, str, int], signalling: tuple[Any, ...]) -> Sighting | None:
    """Give what is kept of one message of a registration, in plain values: address of record, time, ends, Call-ID,
    CSeq, status, contact, Expires, User-Agent, and whether it has credentials or a stale challenge. ``None`` for a
    message without To.
    """
    party = payload.to
    if party is None or not party.uri:
        return None
    call_id, _, _, _, cseq, _, status = signalling
    chosen = payload.selected(FIELDS)
    contacts = chosen.get("contact") or chosen.get("m")
    proof = "authorization" in chosen or "proxy-authorization" in chosen
    challenge = chosen.get("www-authenticate") or chosen.get("proxy-authenticate") or ""
    stale = "stale=true" in challenge.lower().replace('"', "")
    return (
        party.uri[:TEXT_MAX],
        at,
        ends,
        call_id[:256],
        cseq,
        status,
        (contacts or "")[: 16 * TEXT_MAX],
        chosen.get("expires"),
        (chosen.get("user-agent") or "")[:TEXT_MAX] or None,
        proof,
        stale,
    )


def aor_of(uri: str) -> str:
    """Give an address of record without parameters and password (RFC 3261 §10.3 step 5)."""
    return uri.partition(";")[0].partition("?")[0]


def _contacts(text: str) -> Iterator[tuple[str, str]]:
    """Give URI and parameters of each contact of a list."""
    if "," not in text and '"' not in text and ">" in text:  # nearly always it is one
        uri, _, parameters = text.partition("<")[2].partition(">")
        yield uri, parameters
        return
    at, quoted, bracket = 0, False, False
    for n, letter in enumerate(text + ","):
        if letter == '"' and not bracket:
            quoted = not quoted
        elif letter == "<" and not quoted:
            bracket = True
        elif letter == ">":
            bracket = False
        elif letter == "," and not quoted and not bracket:
            one = text[at:n].strip()
            at = n + 1
            if one:
                uri = "*" if one == "*" else (read_party(one) or {}).get("uri") or ""
                yield uri, one.rpartition(">")[2] if ">" in one else one.partition(";")[1] + one.partition(";")[2]


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


@attrs.define(eq=False)
class Binding:
    """One registration; times in ns since 1970."""

    aor: str
    contact: str
    registrar: tuple[str, int]
    source: tuple[str, int]
    protocol: int
    first: int
    last: int
    due: int
    call_id: str
    user_agent: str | None = None
    requested: int | None = None
    expires: int | None = None
    registered_at: int = 0
    removed: bool = False
    attempts: int = 0
    challenges: int = 0
    refreshes: int = 0
    successes: int = 0
    failures: int = 0
    ineffective: int = 0
    refused_proofs: int = 0
    retransmissions: int = 0
    duplicates: int = 0
    code: int | None = None
    delays: list[int] = attrs.field(factory=lambda: [0, 0, 0])  # number, sum, most of RRD in ns
    asked: int = 0
    attempt: int = 0
    had_proof: bool = False
    challenged: bool = False
    scan: bool = False

    def state(self, now: int) -> str:
        """Say how it stands."""
        if self.removed:
            return "unregistered"
        if self.registered_at and self.expires is not None:
            return "registered" if now < self.registered_at + self.expires * SECOND else "expired"
        if self.refused_proofs:
            return "wrong_password"
        if self.code in (401, 407):
            return "challenged"
        return "rejected" if self.code is not None else "no_reply"


def tell_binding(one: Binding, now: int, ended: str | None) -> dict[str, Any]:
    """Tell all that is known of a registration."""
    count, total, most = one.delays
    failed = one.failures
    return {
        "version": VERSION,
        "aor": one.aor,
        "contact": one.contact or None,
        "registrar": _end(one.registrar),
        "source": _end(one.source),
        "user_agent": one.user_agent,
        "call_id": one.call_id,
        "state": one.state(now),
        "code": one.code,
        "first": moment(one.first),
        "last": moment(one.last),
        "registered_at": moment(one.registered_at),
        "requested_expires": one.requested,
        "expires": one.expires,
        "expires_at": moment(one.registered_at + one.expires * SECOND) if one.registered_at and one.expires else None,
        "attempts": one.attempts,
        "successes": one.successes,
        "refreshes": one.refreshes,
        "challenges": one.challenges,
        "failures": failed,
        "retransmissions": one.retransmissions,
        "duplicates": one.duplicates,
        "rrd": round(total / count / 1e9, 6) if count else None,
        "rrd_max": round(most / 1e9, 6) if count else None,
        "ira": round(100 * one.ineffective / one.attempts, 3) if one.attempts else None,
        "wrong_password": one.refused_proofs > 0,
        "scan": one.scan,
        "ended": ended,
    }


def _end(end: tuple[str, int]) -> str:
    return f"[{end[0]}]:{end[1]}" if ":" in end[0] else f"{end[0]}:{end[1]}"


class Registrations:
    """The registrations of this worker. ``failed(source, aor)`` hears of each that a registrar refused."""

    def __init__(self, most: int, failed: Callable[[str, str], None]) -> None:
        self._most = most
        self._failed = failed
        self._soonest = NEVER
        self._bindings: OrderedDict[tuple[str, str, tuple[str, int]], Binding] = OrderedDict()
        self._pending: OrderedDict[tuple[bytes, int], tuple[Binding, int, tuple[Any, ...]]] = OrderedDict()

    def take(self, seen: Sighting) -> Binding | None:
        """Take a message; gives the registration that has no room any more, if there is one."""
        if seen[5] == 0:
            return self._asked(seen)
        self._answered(seen)
        return None

    def _asked(self, seen: Sighting) -> Binding | None:
        uri, at, ends, call_id, cseq, _, contacts, expires, agent, proof, _ = seen
        before = self._pending.get((call_id, cseq))
        if before is not None:
            if before[2] == ends:  # a second hop has other ends, and is neither
                if at - before[1] <= DUPLICATE_NS:
                    before[0].duplicates += 1
                else:
                    before[0].retransmissions += 1
            return None
        contact, parameters = next(_contacts(contacts), ("", ""))
        registrar, source = (ends[2], ends[3]), (ends[0], ends[1])
        aor = aor_of(uri)
        own = _EXPIRES.search(parameters)
        asked_for = int(own[1]) if own else _number(expires)
        key = (aor, contact, registrar)
        one = self._bindings.get(key)
        if one is None:
            one = Binding(aor, contact, registrar, source, 0, at, at, 0, call_id.decode("utf-8", "replace"))
            self._bindings[key] = one
        self._bindings.move_to_end(key)
        one.source, one.last, one.user_agent, one.asked = source, at, agent or one.user_agent, at
        one.requested = asked_for if asked_for is not None else one.requested
        if not (one.challenged and proof):  # else the same attempt, now with credentials
            one.attempts += 1
            one.attempt = at
        one.had_proof, one.challenged = proof, False
        one.due = max(one.due, at + SETTLE_NS)
        self._soonest = min(self._soonest, one.due)
        self._pending[call_id, cseq] = (one, at, ends)
        if len(self._pending) > PENDING_MAX:
            self._pending.popitem(last=False)
        return self._bindings.popitem(last=False)[1] if len(self._bindings) > self._most else None

    def _answered(self, seen: Sighting) -> None:
        _, at, ends, call_id, cseq, status, contacts, expires, _, _, stale = seen
        found = self._pending.get((call_id, cseq))
        if found is None or status < 200 or (ends[2], ends[3]) != (found[2][0], found[2][1]):
            return  # RFC 3261 §17.1.3: of the hops, the answer to the source is the one that counts
        del self._pending[call_id, cseq]
        one = found[0]
        one.last = max(one.last, at)
        one.code = status
        if status < 300:
            self._registered(one, at, contacts, expires)
        elif status in (401, 407):  # §22: a challenge, or the proof was wrong unless the nonce was stale
            one.challenges += 1
            one.challenged = stale or not one.had_proof
            if not one.challenged:
                one.refused_proofs += 1
                self._refused(one, status)
            one.due = max(one.due, at + SETTLE_NS)
        else:
            if status == 403 and one.had_proof:
                one.refused_proofs += 1
            self._refused(one, status)
            one.due = max(one.due, at + SETTLE_NS)
        self._soonest = min(self._soonest, one.due)

    def _refused(self, one: Binding, status: int) -> None:
        one.failures += 1
        one.ineffective += status >= 400 and status not in (401, 407)
        self._failed(one.source[0], one.aor)

    def _registered(self, one: Binding, at: int, contacts: str, expires: str | None) -> None:
        one.refused_proofs = 0
        one.successes += 1
        delay = at - one.attempt
        one.delays[0] += 1
        one.delays[1] += delay
        one.delays[2] = max(one.delays[2], delay)
        if one.requested == 0:
            one.removed = True
            one.due = at + SETTLE_NS
            return
        granted = None
        for uri, parameters in _contacts(contacts):
            own = _EXPIRES.search(parameters)
            if uri == one.contact and own:
                granted = int(own[1])
        if granted is None:
            granted = _number(expires)
        one.refreshes += one.registered_at > 0 and not one.removed
        one.removed = False
        one.registered_at = at
        one.expires = granted if granted is not None else one.requested if one.requested is not None else 3600
        one.due = at + one.expires * SECOND + SETTLE_NS

    def mark_scan(self, aor: str) -> None:
        """The source of this address of record tries many."""
        for one in self._bindings.values():
            if one.aor == aor:
                one.scan = True

    def due(self, now: int) -> list[Binding]:
        """Take out and give those of which nothing more is to be expected by ``now``."""
        if now < self._soonest:
            return []
        found = [(key, one) for key, one in self._bindings.items() if one.due <= now]
        for key, _ in found:
            del self._bindings[key]
        self._soonest = min((one.due for one in self._bindings.values()), default=NEVER)
        return [one for _, one in found]

    def all(self) -> list[Binding]:
        """Take out and give all."""
        found = list(self._bindings.values())
        self._bindings.clear()
        return found


class Sources:
    """Counts, by source, the users that it failed to register: many are a scan."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._users: OrderedDict[str, set[str]] = OrderedDict()

    def failed(self, source: str, aor: str) -> set[str]:
        """Note a failure; gives the users of a source that has tried enough of them, empty for any other."""
        users = self._users.setdefault(source, set())
        self._users.move_to_end(source)
        if len(self._users) > SOURCES_MAX:
            self._users.popitem(last=False)
        if len(users) >= self._least:
            return {aor}
        users.add(aor)
        return users if len(users) >= self._least else set()
