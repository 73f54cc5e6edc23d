"""Registrations: what is told of them, how their header fields are read, and which sources try many users.

``bindings.pyx`` follows them.
"""

from __future__ import annotations

import re
import sys
from collections import OrderedDict
from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from otus_calls.model import moment
from otus_calls.names import VERSION
from otus_calls.parties import read_party

if TYPE_CHECKING:
    from otus_calls.bindings import Binding

SECOND = 1_000_000_000
SETTLE_NS = 32 * SECOND
"""64 * T1: so long after the last word nothing more is to be expected (RFC 3261 §17.1.2.2, Timer F)."""
SOURCES_MAX = 4096
"""Addresses that are watched for scans; a scan from more of them than that shows in the figures."""
TEXT_MAX = 512
"""Characters of an address, a contact and a user agent: whoever registers chooses them."""
DUPLICATE_NS = 20_000_000
"""A copy from a mirror port comes within milliseconds; a retransmission after T1, 500 ms (RFC 3261 §17.1.2.1)."""
FIELDS = frozenset({"to", "t", "contact", "m", "expires", "user-agent", "authorization", "proxy-authorization",
                    "www-authenticate", "proxy-authenticate"})  # fmt: skip
_EXPIRES = re.compile(r";\s*expires\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


def aor_of(value: str) -> str:
    """Give the URI in a To without parameters and password (RFC 3261 §10.3 step 5)."""
    uri = (read_party(value) or {}).get("uri") or ""
    return uri[:TEXT_MAX].partition(";")[0].partition("?")[0]


def contacts_of(text: str) -> Iterator[tuple[str, str]]:
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


def expires_of(parameters: str) -> int:
    """Give the parameter ``expires`` of a contact, -1 where it has none."""
    found = _EXPIRES.search(parameters)
    return int(found[1]) if found else -1


def number_of(text: str) -> int:
    """Read a number of at most nine digits, -1 for anything else."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1


def source_of(flow: bytes) -> str:
    """Give the address that a flow comes from, as text."""
    return str(ip_address(flow[: 4 if flow[36] == 4 else 16]))


def ends_of(flow: bytes) -> tuple[str, str]:
    """Give where a flow begins and ends, as text."""
    size = 4 if flow[36] == 4 else 16
    ports = int.from_bytes(flow[32:34], sys.byteorder), int.from_bytes(flow[34:36], sys.byteorder)
    one, other = (str(ip_address(flow[at : at + size])) for at in (0, 16))
    return _end((one, ports[0])), _end((other, ports[1]))


def tell_binding(one: Binding, now: int, ended: str | None) -> dict[str, Any]:
    """Tell all that is known of a registration."""
    count, expires = one.delay_count, one.expires if one.expires >= 0 else None
    source, registrar = ends_of(one.flow)
    failed = one.failures
    return {
        "version": VERSION,
        "aor": text_of(one.aor),
        "contact": text_of(one.contact) or None,
        "registrar": registrar,
        "source": source,
        "user_agent": text_of(one.agent or b"") or None,
        "call_id": text_of(one.call_id),
        "state": one.state(now),
        "code": one.code or None,
        "first": moment(one.first),
        "last": moment(one.last),
        "registered_at": moment(one.registered_at),
        "requested_expires": one.requested if one.requested >= 0 else None,
        "expires": expires,
        "expires_at": moment(one.registered_at + expires * SECOND) if one.registered_at and expires else None,
        "attempts": one.attempts,
        "successes": one.successes,
        "refreshes": one.refreshes,
        "challenges": one.challenges,
        "failures": failed,
        "retransmissions": one.retransmissions,
        "duplicates": one.duplicates,
        "rrd": round(one.delay_total / count / 1e9, 6) if count else None,
        "rrd_max": round(one.delay_most / 1e9, 6) if count else None,
        "ira": round(100 * one.ineffective / one.attempts, 3) if one.attempts else None,
        "wrong_password": one.refused_proofs > 0,
        "scan": one.scan,
        "ended": ended,
    }


def text_of(data: bytes) -> str:
    """Give bytes of a message as text."""
    return data.decode("utf-8", "replace")


def _end(end: tuple[str, int]) -> str:
    return f"[{end[0]}]:{end[1]}" if ":" in end[0] else f"{end[0]}:{end[1]}"


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
