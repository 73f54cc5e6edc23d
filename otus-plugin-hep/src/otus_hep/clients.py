"""Agents that are connected over TCP or TLS: each is read a piece at a time, so that none holds up the others."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections import Counter
from ipaddress import ip_address

from otus_core import Counter as Count
from otus_hep.collecting import Collector, Source
from otus_hep.config import HepCapturerConfig

PIECE = 1 << 16
"""Bytes that are read of one connection before the others have their turn."""
ACCEPTS = 16
"""At once, before those that are connected have their turn."""
HEAD = 6
"""Bytes: "HEP3", and the length of the whole packet in two more."""
LOOK_EVERY_S = 0.5
"""How often it is looked who takes too long; the time that an agent has is given in seconds."""


class Client:
    """One connection. ``begun`` is when it began what it has not finished: TLS, or a packet."""

    def __init__(self, sock: socket.socket, source: Source, address: str, *, greeted: bool) -> None:
        self.socket = sock
        self.source = source
        self.address = address
        self.greeted = greeted
        self.held = b""
        self.heard_at = time.monotonic()
        self.begun: float | None = None if greeted else self.heard_at


class Clients:
    """All connections, watched by an epoll of the capturer's."""

    def __init__(
        self, config: HepCapturerConfig, epoll: select.epoll, collector: Collector, counters: dict[str, Count]
    ) -> None:
        self._config = config
        self._epoll = epoll
        self._collector = collector
        self._count = counters
        self._by_descriptor: dict[int, Client] = {}
        self._per_address: Counter[str] = Counter()
        self._paused: dict[int, float] = {}
        self._looked_at = 0.0

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._by_descriptor

    def accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        """Take some new connections."""
        for _ in range(ACCEPTS):
            try:
                sock, address = listener.accept()
            except OSError:  # none is left, or the one that was there has gone
                return
            sock.setblocking(False)
            self._take(sock, str(address[0]), context)

    def _take(self, sock: socket.socket, address: str, context: ssl.SSLContext | None) -> None:
        source = self._collector.source(ip_address(address.partition("%")[0]).packed)
        if not source.allowed or self._per_address[address] >= self._config.max_connections_per_source:
            self._count["connections_refused"]()
            sock.close()
            return
        if len(self._by_descriptor) >= self._config.max_connections:
            self._count["connections_displaced"]()
            # The one that was silent longest: in a crowd, new connections displace each other and not an agent that
            # sends.
            self.drop(min(self._by_descriptor.values(), key=lambda client: client.heard_at))
        try:
            # An agent that is switched off says nothing: without probes its place would stay taken (tcp(7)).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):  # it was reset before we came to it
            self._count["connections_broken"]()
            sock.close()
            return
        client = Client(sock, source, address, greeted=context is None)
        self._by_descriptor[sock.fileno()] = client
        self._per_address[address] += 1
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._count["connections"]()

    def drop(self, client: Client) -> None:
        """Close a connection; what it had begun is lost, and counted."""
        descriptor = client.socket.fileno()
        if client.held:
            self._count["cut"]()
        del self._by_descriptor[descriptor]
        self._per_address[client.address] -= 1
        if not self._per_address[client.address]:
            del self._per_address[client.address]
        if self._paused.pop(descriptor, None) is None:
            self._epoll.unregister(descriptor)
        client.socket.close()

    def read(self, descriptor: int, piece: int = PIECE) -> int:
        """Read a piece of one connection; gives how many bytes there were."""
        client = self._by_descriptor[descriptor]
        client.heard_at = time.monotonic()
        try:
            if not client.greeted and not self._greet(client):
                return 0
            data = client.socket.recv(piece)
            while isinstance(client.socket, ssl.SSLSocket) and client.socket.pending():
                data += client.socket.recv(piece)  # what epoll does not know of; at most one record of 16 KiB
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError:
            self._count["connections_broken"]()
            self.drop(client)
            return 0
        if data:
            self._feed(client, client.held + data)
        else:
            self.drop(client)
        return len(data)

    def _greet(self, client: Client) -> bool:
        """Go on with the handshake of TLS; whether it is done."""
        assert isinstance(client.socket, ssl.SSLSocket)
        client.socket.do_handshake()
        client.greeted, client.begun = True, None
        return True

    def _feed(self, client: Client, data: bytes) -> None:
        taken = self._collector.stream(data, client.source)
        if taken < 0:
            client.held = b""
            self.drop(client)
            return
        client.held = data[taken:]
        pause = client.source.pause() if client.held else 0.0
        if pause or _begins_whole(client.held):  # of which no packet more may be taken now
            descriptor = client.socket.fileno()
            self._paused[descriptor] = time.monotonic() + pause
            self._epoll.unregister(descriptor)
        if not client.held or taken:
            client.begun = time.monotonic() if client.held else None
        elif client.begun is None:
            client.begun = time.monotonic()

    def next_due(self) -> float | None:
        """Give in how many seconds a connection that pauses goes on."""
        return max(0.0, min(self._paused.values()) - time.monotonic()) if self._paused else None

    def look(self) -> None:
        """Let those go on whose pause is over, and now and then drop those that take too long."""
        now = time.monotonic()
        for descriptor in [descriptor for descriptor, until in self._paused.items() if until <= now]:
            del self._paused[descriptor]
            self._epoll.register(descriptor, select.EPOLLIN)
            client = self._by_descriptor[descriptor]
            client.begun = now
            self._feed(client, client.held)
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        for client in list(self._by_descriptor.values()):
            slow = client.begun is not None and now - client.begun > self._config.timeout
            if slow and client.socket.fileno() not in self._paused:
                self._count["connections_slow"]()
                self.drop(client)

    def drain(self, most: int) -> None:
        """Read what has come of all connections, up to ``most`` bytes of each, and close them."""
        for descriptor, client in list(self._by_descriptor.items()):
            left = most
            while left > 0 and descriptor in self._by_descriptor and (n := self.read(descriptor)):
                left -= n
            if descriptor in self._by_descriptor:
                self.drop(client)

    def close(self) -> None:
        """Close everything."""
        for client in list(self._by_descriptor.values()):
            with contextlib.suppress(OSError):
                self.drop(client)


def _begins_whole(data: bytes) -> bool:
    """Whether a whole packet is there."""
    return len(data) >= HEAD and int.from_bytes(data[4:HEAD]) <= len(data)
