"""Otus's own TCP connections: a capture of the interface that leads to the broker would else capture its own reports,
and grow by itself.

Every process looks at its own sockets only; the supervisors gather what they found, and tell all workers.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

Connection = tuple[str, int, str, int]
"""Local address and port, remote address and port: always all four.

With less, whoever sends from the port that we listen on, or to the broker from our address, would not be captured
either.
"""

LOOK_EVERY_S = 2.0
MAPPED = "::ffff:"


def find_own_connections() -> list[Connection]:
    """Give the TCP connections that this process opened or accepted, each once, in order."""
    found: set[Connection] = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found |= _connection(int(name))
    return sorted(found)


def _connection(descriptor: int) -> set[Connection]:
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        # The type may have SOCK_NONBLOCK and SOCK_CLOEXEC in it, above its four bits (SOCK_TYPE_MASK,
        # include/linux/net.h).
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type & 0xF != socket.SOCK_STREAM:
            return set()
        local, port = sock.getsockname()[:2]
        remote, remote_port = sock.getpeername()[:2]  # a listener has none: OSError
        return {(_plain(local), port, _plain(remote), remote_port)}


def _plain(address: str) -> str:
    # IPv4 over an IPv6 socket (RFC 4291, 2.5.5.2) is IPv4 on the wire; a zone (RFC 4007, 11) is not on the wire at all.
    return address.removeprefix(MAPPED).partition("%")[0]


def as_connection(told: Sequence[Any]) -> Connection:
    """Make what another process has told a connection. Raises TypeError or ValueError for what is none."""
    local, port, remote, remote_port = told
    return str(local), int(port), str(remote), int(remote_port)


class Gathered:
    """What all processes have found. ``version`` changes when it does."""

    def __init__(self) -> None:
        self.version = 0
        self._looked_at = -LOOK_EVERY_S
        self._found: dict[object, tuple[Connection, ...]] = {}

    def look(self) -> bool:
        """Look at this process's own, every ``LOOK_EVERY_S`` however often it is called; says whether they are others
        than before.
        """
        now, before = time.monotonic(), self.version
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            with suppress(OSError):  # no descriptor left to look with: the next look will do
                self.tell("ours", find_own_connections())
        return self.version != before

    def tell(self, owner: object, connections: Iterable[Connection]) -> None:
        """Take what one process has now; nothing when it is gone."""
        told = tuple(connections)
        if self._found.get(owner, ()) == told:
            return
        if told:
            self._found[owner] = told
        else:
            del self._found[owner]
        self.version += 1

    def all(self) -> list[Connection]:
        """Give every connection once."""
        return sorted({one for told in self._found.values() for one in told})
