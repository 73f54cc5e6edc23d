"""One server that packets are sent to: what UDP and TCP have in common, and UDP."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

import attrs

from otus_core import Logger
from otus_hep.config import HepReporterConfig, split_address
from otus_hep.encoding import Packets

log = Logger("otus.hep")
BUFFER_PAUSE_S = 0.001
"""The interface's queue was full (ENOBUFS, send(2)), which poll(2) does not tell the end of; it is empty in about this.
"""
SEND_BUFFER = 4 << 20
"""Bytes, for what a burst brings faster than the interface sends; net.core.wmem_max may allow less."""
TELL_AGAIN_S = 30.0
"""A server that comes and goes, as UDP sees it, is told of once in so long."""


@attrs.define
class Sent:
    """How many packets went, from the first one asked for on; ``oversized`` are numbers among them that no datagram to
    that server can hold. ``error`` says why the rest did not go.
    """

    count: int = 0
    oversized: list[int] = attrs.field(factory=list)
    error: Exception | None = None


class Server:
    """Where packets go, and how it is there."""

    def __init__(self, address: str, config: HepReporterConfig) -> None:
        self.address = address
        self.host, self.port = split_address(address)
        self.reason = ""
        self._config = config
        self._down_until = 0.0
        self._told_at = -TELL_AGAIN_S
        self._told = False

    def is_down(self) -> bool:
        """Whether it was not there lately."""
        return asyncio.get_running_loop().time() < self._down_until

    def returns_at(self) -> float:
        """When it is tried again, by the clock of the event loop."""
        return self._down_until

    def note(self, error: Exception | None) -> None:
        """Note how sending ended."""
        if error is None:
            self.reason, self._down_until = "", 0.0
            if self._told:
                self._told = False
                log.info("server_available", server=self.address)
            return
        self.reason = f"{self.address}: {in_words(error)}"
        now = asyncio.get_running_loop().time()
        self._down_until = now + self._config.retry_after
        if not self._told and now - self._told_at >= TELL_AGAIN_S:
            self._told, self._told_at = True, now
            log.warning("server_unavailable", server=self.address, error=in_words(error))

    async def open(self) -> None:
        """Get ready to send. Raises OSError and TimeoutError."""
        raise NotImplementedError

    async def deliver(self, packets: Packets, first: int) -> Sent:
        """Send packets from the number ``first`` on, in order. Raises nothing but CancelledError."""
        raise NotImplementedError

    async def close(self) -> None:
        """Give everything back."""
        raise NotImplementedError

    async def _addresses(self, kind: socket.SocketKind) -> list[tuple[Any, Any]]:
        """Give families and socket addresses of the host."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._config.timeout):  # name servers may be away, too
            found = await loop.getaddrinfo(self.host, self.port, type=kind)
        return [(family, address) for family, _, _, _, address in found]


def in_words(error: Exception) -> str:
    """Say what went wrong, without what only Python's users understand."""
    if isinstance(error, TimeoutError) and not error.args:
        return "no answer in time"
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror) and error.errno > 0:
        return os.strerror(error.errno) if type(error).__module__ == "builtins" else str(error)
    return str(error) or type(error).__name__


def wake(ready: asyncio.Future[None]) -> None:
    """Say to whoever waits that it goes on; may be called again."""
    if not ready.done():
        ready.set_result(None)


async def until_writable(descriptor: int, within: float) -> None:
    """Wait until a descriptor takes bytes. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, wake, ready)
    try:
        async with asyncio.timeout(within):
            await ready
    finally:
        loop.remove_writer(descriptor)


class DatagramServer(Server):
    """A server over UDP: what the kernel took counts as sent, for nobody acknowledges it.

    If nobody listens, the kernel learns so from ICMP, and says it at the next packet.
    """

    _socket: socket.socket | None = None

    async def open(self) -> None:
        """Connect a socket, so that the kernel tells what ICMP says."""
        if self._socket is None:
            family, address = (await self._addresses(socket.SOCK_DGRAM))[0]
            made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            try:
                made.connect(address)
            except OSError:
                made.close()
                raise
            self._socket = made

    async def deliver(self, packets: Packets, first: int) -> Sent:
        """Send datagrams."""
        told = Sent()
        try:
            await self.open()
            assert self._socket is not None
            await self._send(self._socket.fileno(), packets, first, told)
        except (OSError, UnicodeError) as error:  # a host's name may be no name at all
            told.error = error
            await self.close()
        self.note(told.error)
        return told

    async def _send(self, descriptor: int, packets: Packets, first: int, told: Sent) -> None:
        while first + told.count < len(packets):
            sent, error = packets.send(descriptor, first + told.count)
            told.count += sent
            if error == errno.EAGAIN:
                await until_writable(descriptor, self._config.timeout)
            elif error == errno.ENOBUFS:
                await asyncio.sleep(BUFFER_PAUSE_S)
            elif error == errno.EMSGSIZE:
                told.oversized.append(first + told.count)
                told.count += 1
            elif error:
                raise OSError(error, os.strerror(error))

    async def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
