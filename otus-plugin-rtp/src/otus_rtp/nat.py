"""Parties behind NAT, who are not where their session descriptions say: known by where they signal from.

In: announcements, and packets that look like RTP and that nobody announced. Out: the party that such a stream goes to.
The signalling address of a party is where its description came from; what it announced may be a private address that
nobody sees outside (RFC 3235 §3).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

import attrs

from otus_core import FlowContextRefused, FlowKey, FlowRegistry
from otus_rtp.announced import carries_rtp

PARTIES_MAX = 16384
"""Parties that are remembered; the one heard of longest ago goes for another."""
LOOKED_AT_MAX = 64
"""Of the parties at one address, the latest: where more of them wait, nobody can tell whose a stream is."""
ADDRESSES_MAX = 1024
"""Addresses whose packed form is remembered: proxies signal for many."""
RIVALS_MAX = 4
"""Streams to one party that are told apart; of more, none can be said to be its own."""
RIVAL_NS = 2_000_000_000
"""A stream is the only one to a party when no other one went there for so long."""
SWEPT_EACH = 64
"""Parties that are looked at in one go, so that no packet waits for a look at all of them."""


@attrs.define(eq=False)
class Party:
    """One media line of a party that is elsewhere than it says."""

    owner: Any
    keys: tuple[FlowKey, ...]
    context: dict[str, Any]
    address: bytes
    """Where it signals from, packed."""
    peer: bytes
    """Where its description went."""
    latched: FlowKey | None = None
    """The endpoint at which it was found."""
    explained: bool = False
    rivals: dict[FlowKey, int] = attrs.field(factory=dict)
    """5-tuples of streams that may be its, with the time of their last packet."""

    def takes(self, payload_type: int) -> bool:
        """Whether it has announced a payload type."""
        codecs = self.context.get("codecs")
        return not isinstance(codecs, dict) or not codecs or payload_type in codecs


class Parties:
    """Parties by the address that they signal from."""

    def __init__(self, flows: FlowRegistry) -> None:
        self._flows = flows
        self.known: dict[tuple[Any, Any, Any], Party] = {}
        """By the party's name: owner, tag and line."""
        self._at: dict[bytes, dict[tuple[Any, Any, Any], Party]] = {}

    def __len__(self) -> int:
        return len(self.known)

    def hear(self, owner: Any, keys: Sequence[FlowKey], context: Any) -> None:
        """Take what was announced: a party that is where it says is not remembered."""
        if not keys or not carries_rtp(context):
            return
        name = (owner, context.get("tag"), context.get("line"))
        known = self.known.get(name)
        if context.get("nat"):  # it was latched on, here or by another worker
            if known is not None:
                known.explained, known.latched = True, keys[0]
            return
        ends = _signalling(context)
        if ends is None or any(key.parts()[2] in (ends[0], bytes(len(ends[0]))) for key in keys):
            if known is not None:
                self._forget(name)
            return
        party = Party(owner, tuple(keys), context, *ends)
        if known is not None and known.keys == party.keys:
            party.explained, party.latched = known.explained, known.latched
        self._forget(name)
        if len(self.known) >= PARTIES_MAX:
            self._forget(next(iter(self.known)))
        self.known[name] = self._at.setdefault(party.address, {})[name] = party
        if party.latched is not None:  # what it says anew holds there too
            self._announce(party)

    def _forget(self, name: tuple[Any, Any, Any]) -> None:
        party = self.known.pop(name, None)
        if party is not None:
            there = self._at[party.address]
            del there[name]
            if not there:
                del self._at[party.address]

    def party_for(self, key: FlowKey, payload_type: int, at: int) -> Party | None:
        """Give the only party that an unexplained packet can go to; where both ends are addresses that the parties of
        one call signal from, that call comes before others.
        """
        src, _, dst, _, _ = key.parts()
        there = self._at.get(dst)
        if there is None:
            return None
        found = [
            party
            for party in islice(reversed(there.values()), LOOKED_AT_MAX)
            if not party.explained and party.takes(payload_type) and self._holds(party)
        ]
        callers = {name[0] for name in islice(reversed(self._at.get(src, {})), LOOKED_AT_MAX)}
        sure = [party for party in found if party.peer == src or party.owner in callers]
        found = sure or (found if len(there) <= LOOKED_AT_MAX else [])
        if len(found) != 1:
            return None
        (party,) = found
        party.rivals.pop(key, None)
        if len(party.rivals) >= RIVALS_MAX:
            party.rivals.pop(next(iter(party.rivals)))
        party.rivals[key] = at
        return party

    def _holds(self, party: Party) -> bool:
        return self._flows.announced(party.keys[0], party.owner) is not None

    def latch(self, party: Party, key: FlowKey, at: int) -> bool:
        """Announce where a party was found, if no other stream goes there; gives whether that was done."""
        if any(at - then < RIVAL_NS for rival, then in party.rivals.items() if rival != key):
            return False
        _, _, dst, port, protocol = key.parts()
        party.latched = FlowKey.endpoint(dst, port, protocol)
        return self._announce(party)

    def _announce(self, party: Party) -> bool:
        assert party.latched is not None
        party.explained = True
        try:
            self._flows.announce([party.latched], {**party.context, "nat": True}, party.owner)
        except FlowContextRefused:  # it was as large as a context may be
            return False
        return True

    def concerned(self, key: FlowKey, matches: Sequence[Any]) -> bool:
        """Whether one end of a 5-tuple that was matched by the other end alone is where its party signals from."""
        if not self._at or not matches or matches[0].score not in (1, 2):
            return False
        src, _, dst, _, _ = key.parts()
        there = self._at.get(src if matches[0].score == 2 else dst, {})
        mine = [party for name, party in islice(reversed(there.items()), LOOKED_AT_MAX) if name[0] == matches[0].owner]
        if len(mine) == 1:
            mine[0].explained = True
        return bool(mine)

    def sweep(self) -> None:
        """Forget some of those whose calls are over."""
        for name in list(islice(self.known, SWEPT_EACH)):
            party = self.known[name]
            if self._holds(party):
                self.known[name] = self.known.pop(name)
            else:
                self._forget(name)


def _signalling(context: dict[str, Any]) -> tuple[bytes, bytes] | None:
    """Give where a description came from and where it went, packed; ``None`` where nobody says so."""
    said = context.get("signalling")
    if not isinstance(said, tuple) or len(said) != 4 or not isinstance(said[0], str) or not isinstance(said[2], str):
        return None
    source, destination = _pack(said[0]), _pack(said[2])
    if source is None or destination is None or len(source) != len(destination):
        return None
    return source, destination


@lru_cache(ADDRESSES_MAX)
def _pack(address: str) -> bytes | None:
    try:
        return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except (OSError, ValueError):
        return None
