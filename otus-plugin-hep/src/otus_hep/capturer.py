"""The capturer ``hep``: takes what agents send in HEP, over UDP, TCP and TLS, and gives its messages as frames."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from collections import deque
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from otus_core import BaseCapturer, CaptureError, CaptureStats, Context, Counter, FrameBatch, read_secret, server_tls
from otus_hep.clients import Clients
from otus_hep.collecting import REASONS, Collector
from otus_hep.config import HepCapturerConfig, split_address
from otus_hep.plugin import CONNECTIONS

EMPTY = FrameBatch(b"", b"")
DATAGRAMS = 512
"""Of one socket, before the others have their turn."""
EVENTS = 256
"""Sockets that are served at one call of ``read``: as many as there may be connections by default."""
DRAIN_MOST = 65_536
"""Datagrams that are read when the task ends; a socket's buffer holds no more."""
DRAIN_BYTES = 1 << 22
"""Of each connection when the task ends: an agent may go on sending."""
SO_MEMINFO, DROPS = 55, 8
"""asm-generic/socket.h; linux/sock_diag.h: SK_MEMINFO_DROPS."""


class HepCapturer(BaseCapturer):
    """Listens for agents. ``stats().received`` are the packets that gave a frame, and those that the kernel dropped."""

    def __init__(self, config: HepCapturerConfig) -> None:
        self._config = config
        self._counters: dict[str, Counter] = {}
        self._epoll: select.epoll | None = None
        self._datagrams: dict[int, socket.socket] = {}
        self._listeners: dict[int, tuple[socket.socket, ssl.SSLContext | None]] = {}
        self._dropped = 0
        self._last: deque[FrameBatch] | None = None
        networks = [ip_network(one) for one in config.allow]
        self._networks = networks
        self._collector = Collector(self._allows, config.max_rate, b"")

    def wire(self, context: Context) -> None:
        """Take the counters."""
        self._counters = {name: context.counter(name) for name in (*REASONS, *CONNECTIONS)}

    def _allows(self, packed: bytes) -> bool:
        address = ip_address(packed)
        return not self._networks or any(address in network for network in self._networks)

    def open(self, shard: int = 0, shards: int = 1, fds: Sequence[int] = ()) -> None:
        """Begin to listen. Raises CaptureError."""
        config = self._config
        try:
            key = read_secret(config.key_file).encode() if config.key_file else b""
            context = server_tls(config.security) if config.tls else None
        except (OSError, ValueError) as error:
            raise CaptureError("hep", str(error)) from None
        self._collector = Collector(self._allows, config.max_rate, key)
        self._epoll = select.epoll()
        self._clients = Clients(config, self._epoll, self._collector, self._counters)
        for address in config.udp:
            sock = self._listen(address, socket.SOCK_DGRAM)
            self._datagrams[sock.fileno()] = sock
        for addresses, secured in ((config.tcp, None), (config.tls, context)):
            for address in addresses:
                sock = self._listen(address, socket.SOCK_STREAM)
                self._listeners[sock.fileno()] = (sock, secured)

    def _listen(self, address: str, kind: socket.SocketKind) -> socket.socket:
        assert self._epoll is not None
        try:
            host, port = split_address(address)
            family, _, _, _, where = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
            try:
                if kind == socket.SOCK_DGRAM:
                    self._enlarge(sock)
                else:
                    # Connections of before a restart may be in TIME_WAIT, and would keep the port (socket(7)).
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(where)
                if kind == socket.SOCK_STREAM:
                    sock.listen(128)
                self._epoll.register(sock.fileno(), select.EPOLLIN)
            except BaseException:
                sock.close()
                raise
        except (OSError, UnicodeError) as error:
            raise CaptureError(address, f"cannot listen here: {getattr(error, 'strerror', None) or error}") from None
        return sock

    def _enlarge(self, sock: socket.socket) -> None:
        """Have the kernel hold more than it does for others; without CAP_NET_ADMIN as much as net.core.rmem_max."""
        size = self._config.receive_buffer
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            # The kernel doubles what it is given, for its own bookkeeping (socket(7), SO_RCVBUF).
            sock.setsockopt(socket.SOL_SOCKET, 33, size)  # SO_RCVBUFFORCE, asm-generic/socket.h

    def read(self) -> FrameBatch | None:
        """Give what has come: a share of each socket and connection; after ``halt`` what was there, then ``None``."""
        if self._last is not None:
            return self._last.popleft() if self._last else None
        if self._epoll is None:
            return EMPTY
        self._clients.look()
        for descriptor, _ in self._epoll.poll(0, EVENTS):
            self._serve(descriptor)
        self._tell()
        return self._collector.batch()

    def _serve(self, descriptor: int) -> None:
        if descriptor in self._datagrams:
            self._collector.datagrams(descriptor, DATAGRAMS)
        elif descriptor in self._listeners:
            self._clients.accept(*self._listeners[descriptor])
        elif descriptor in self._clients:  # which may have given way to another a moment ago
            self._clients.read(descriptor)

    def _tell(self) -> None:
        for reason, count in self._collector.take_counts().items():
            self._counters[reason](count)

    def fileno(self) -> int | None:
        """Give the epoll, which is readable when any socket is."""
        return None if self._epoll is None or self._last is not None else self._epoll.fileno()

    def wait_hint(self) -> float | None:
        """Say when a connection that has to pause goes on."""
        if self._epoll is None or self._last is not None:
            return 0.0
        return self._clients.next_due()

    def halt(self) -> None:
        """Read what the kernel holds, and close everything."""
        if self._epoll is None or self._last is not None:
            return
        last: deque[FrameBatch] = deque()
        for descriptor in self._datagrams:
            taken = 0
            while taken < DRAIN_MOST and (n := self._collector.datagrams(descriptor, DATAGRAMS)):
                taken += n
                last.append(self._collector.batch())
        self._clients.drain(DRAIN_BYTES)
        last.append(self._collector.batch())
        self._last = deque(batch for batch in last if len(batch))
        self._tell()
        self._close_sockets()

    def stats(self) -> CaptureStats:
        """Totals since ``open``."""
        dropped = self._dropped + sum(map(_drops, self._datagrams.values()))
        return CaptureStats(received=self._collector.given + dropped, dropped=dropped)

    def _close_sockets(self) -> None:
        self._dropped += sum(map(_drops, self._datagrams.values()))
        for sock in (*self._datagrams.values(), *(listener for listener, _ in self._listeners.values())):
            sock.close()
        self._datagrams, self._listeners = {}, {}

    def close(self) -> None:
        """Close everything."""
        self._close_sockets()
        if self._epoll is not None:
            self._clients.close()
            self._epoll.close()
            self._epoll = None


def _drops(sock: socket.socket) -> int:
    """Give how many datagrams found no room in a socket's buffer."""
    told = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (DROPS + 1))
    return int(struct.unpack_from("I", told, 4 * DROPS)[0]) if len(told) > 4 * DROPS else 0
