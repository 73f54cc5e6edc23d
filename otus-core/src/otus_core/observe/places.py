"""Who may hold one of the few connections that an endpoint serves, and for how long.

In: connections that come, by the address of their peer, and go. Where all places are taken, whoever holds most of
them gives one back, so that a crowd from one address costs another address nothing; a request that is still coming
gives way before one that is being answered. Safe to call from several threads.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping

from otus_core.values import define

PLACES = 16
"""Connections that are served at once: each takes a descriptor and a thread of the daemon."""
THREADS_MAX = 4 * PLACES
"""Connections altogether: those that were shut down last until their threads have seen it."""
PEER_MAX = 3 * PLACES
"""Of one peer: on a busy machine whoever comes again at once has more that were shut down than places."""
HEADERS_WITHIN_S = 5.0
"""Time for a request to come whole, from the connection's begin."""
EXCHANGE_WITHIN_S = 10.0
"""Time for request and answer together, from the connection's begin."""
REASONS = ("too_many", "gave_way", "too_slow", "too_large", "unauthorized")
LOOKED_AT = 2048
"""Bytes of a request that has not been read; Prometheus sends some 400."""
NETWORK_V6 = 64
"""One customer has a network of so many bits at least (RFC 6177 §2), and all its addresses."""


@define(eq=False)
class _Held:
    """A connection: its peer, when its time is over, and whether its request has come whole."""

    peer: str
    begun: float
    until: float
    answered: bool = False

    @property
    def is_cut(self) -> bool:
        return self.until == math.inf


class Places:
    """The places of one endpoint. ``refused`` counts, by reason, who got no answer or none that tells anything."""

    def __init__(self) -> None:
        self._refused = Counter[str](dict.fromkeys(REASONS, 0))
        self._held: dict[socket.socket, _Held] = {}
        self._lock = threading.Lock()

    @property
    def refused(self) -> Mapping[str, int]:
        """How many connections got nothing, by reason."""
        return dict(self._refused)

    def count(self, reason: str) -> None:
        """Count a connection that got nothing."""
        with self._lock:
            self._refused[reason] += 1

    def take(self, request: socket.socket, address: str) -> bool:
        """Give a connection a place, another one's if need be; false where there is none for it."""
        peer, now = peer_of(address), time.monotonic()
        with self._lock:
            live = [held for held in self._held.values() if not held.is_cut]
            gives_way = self._who_gives_way(peer) if len(live) >= PLACES else None
            of_peer = sum(held.peer == peer for held in self._held.values())
            is_full = len(self._held) >= THREADS_MAX or of_peer >= PEER_MAX
            if is_full or (len(live) >= PLACES and gives_way is None):
                self._refused["too_many"] += 1
                return False
            if gives_way is not None:
                self._cut(gives_way, "gave_way")
            self._held[request] = _Held(peer, now, now + HEADERS_WITHIN_S)
            return True

    def _who_gives_way(self, newcomer: str) -> socket.socket | None:
        """Give, of the peer that holds most, the oldest connection whose request has not come, or else the oldest.

        ``None`` when that peer is the newcomer, and all its requests have come: they are being answered.
        """
        live = {request: held for request, held in self._held.items() if not held.is_cut}
        shares = Counter(held.peer for held in live.values())
        # The newcomer counts: else an address could take the place of another one that holds no more than it would.
        shares[newcomer] += 1
        most = max(shares.values())
        greedy = sorted(
            (held.answered or _is_here(request), held.begun, number, request)
            for number, (request, held) in enumerate(live.items())
            if shares[held.peer] == most
        )
        came, _, _, oldest = greedy[0]
        return None if came and shares[newcomer] == most else oldest

    def request_came(self, request: socket.socket) -> bool:
        """Give a connection the rest of its time; False when it has been cut, which its reader sees as the request's
        end.
        """
        with self._lock:
            held = self._held[request]
            if held.is_cut:
                return False
            held.answered = True
            held.until = held.begun + EXCHANGE_WITHIN_S
            return True

    def cut_the_slow(self) -> None:
        """Shut down the connections whose time is over. Their threads see the end and close them."""
        now = time.monotonic()
        with self._lock:
            for request in [request for request, held in self._held.items() if held.until < now]:
                self._cut(request, "too_slow")

    def _cut(self, request: socket.socket, reason: str) -> None:
        self._held[request].until = math.inf
        self._refused[reason] += 1
        with contextlib.suppress(OSError):  # the client has left already
            socket.socket.shutdown(request, socket.SHUT_RDWR)  # a TLS socket's own method would go on in clear

    def leave(self, request: socket.socket) -> None:
        """Take a place back, before its socket is closed."""
        with self._lock:
            self._held.pop(request, None)


def _is_here(request: socket.socket) -> bool:
    """Whether a request has come whole, although its thread, of which a busy machine has many, has yet to read it."""
    if isinstance(request, ssl.SSLSocket):  # what lies in the socket is encrypted
        return False
    try:
        # MSG_PEEK leaves the bytes for the thread that will read them (recv(2)).
        return b"\r\n\r\n" in request.recv(LOOKED_AT, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return False


def peer_of(address: str) -> str:
    """Give what counts as one peer: an IPv4 address, or an IPv6 network."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])  # without the zone (RFC 4007 §11)
    except ValueError:
        return address
    # A socket for both families shows an IPv4 client as ::ffff:192.0.2.1 (RFC 4291 §2.5.5.2).
    mapped = getattr(ip, "ipv4_mapped", None)
    if ip.version == 4 or mapped is not None:
        return str(mapped or ip)
    return str(ipaddress.ip_network((int(ip), NETWORK_V6), strict=False))
