"""A server over TCP or TLS: a connection that is opened when it is needed, and again when it broke.

HEP has no acknowledgements. What comes nearest: the server's machine has acknowledged all bytes of a call (``tcp_info``
of linux/tcp.h counts them), and a moment later the connection still stands. If it breaks before, whether the server has
read them is not known, and they are sent again over the next connection: rather twice than not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
from typing import Any

from otus_hep.config import HepReporterConfig
from otus_hep.encoding import Packets
from otus_hep.server import Sent, Server, until_writable, wake

TCP_INFO_BYTES = 128
"""As much of ``struct tcp_info`` as reaches to the field that is read; the kernel gives what it is asked for (tcp(7)).
"""
BYTES_ACKED = 120
"""Its place in ``struct tcp_info``, 64 bits."""
SIOCOUTQ = 0x5411
"""linux/sockios.h: bytes that the other machine has not acknowledged."""
PROBES = 3
"""Unanswered probes after which the kernel gives a connection up: one may be lost by chance."""
FIRST_LOOK_S = 0.0005
"""A round trip on a local network: the kernel tells nobody when something is acknowledged, so it is asked."""
LAST_LOOK_S = 0.02
"""Pauses double up to this: for a server far away, looking more often would only take time."""
AT_ONCE = 1 << 18
"""Bytes of one ``send``: TLS encrypts all of them in one go, and holds up the packets meanwhile."""
ATTEMPTS = 2
"""The second one over a new connection: that the old one was dead often shows only when it is used."""


class Connection:
    """One connection. ``broken`` is done when it is, with the reason as its result."""

    def __init__(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._socket = sock
        self.broken: asyncio.Future[Exception] = loop.create_future()
        loop.add_reader(sock.fileno(), self._hear)

    def _hear(self) -> None:
        """Read what the server says, which is nothing but the end, and records of TLS."""
        try:
            while self._socket.recv(4096):
                pass
            self.fail(ConnectionResetError("the server closed the connection"))
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Have done with this connection."""
        if not self.broken.done():
            self.broken.set_result(error)
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket.fileno())
            loop.remove_writer(self._socket.fileno())
            self._socket.close()

    def check(self) -> None:
        """Raise the error that broke it."""
        if self.broken.done():
            raise self.broken.result()

    async def write(self, data: bytes, patience: float) -> int:
        """Hand bytes to the kernel; gives up to where the other machine must acknowledge.

        Raises OSError, and TimeoutError when nothing is taken for ``patience`` seconds.
        """
        rest = memoryview(data)
        while rest:
            self.check()
            try:
                rest = rest[self._socket.send(rest[:AT_ONCE]) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await self._until_writable(patience)
            except ssl.SSLWantReadError:
                await asyncio.sleep(FIRST_LOOK_S)
            except OSError as error:
                self._hear()  # why the server hung up, if it has said so
                self.fail(error)
        return self._mark()

    def _mark(self) -> int:
        """Give up to where the other machine must acknowledge all that was written."""
        before = -1
        # What is acknowledged between the two questions would count twice, and be waited for in vain.
        while before != (acknowledged := self.count_acknowledged()):
            before = acknowledged
            (waiting,) = struct.unpack("i", fcntl.ioctl(self._socket.fileno(), SIOCOUTQ, bytes(4)))
        return before + int(waiting)

    async def _until_writable(self, patience: float) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self._socket.fileno(), wake, ready)
        try:
            waited: set[asyncio.Future[Any]] = {ready, self.broken}
            done, _ = await asyncio.wait(waited, timeout=patience)
        finally:
            if not self.broken.done():  # else the descriptor may be another's by now
                loop.remove_writer(self._socket.fileno())
        if not done:
            raise TimeoutError("the server takes nothing more")

    def count_acknowledged(self) -> int:
        """Give how many bytes the other machine has acknowledged. Raises OSError."""
        self.check()
        told = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        return int.from_bytes(told[BYTES_ACKED : BYTES_ACKED + 8], "little" if _LITTLE else "big")

    async def settle(self, mark: int, patience: float, settle: float) -> None:
        """Wait until everything up to ``mark`` is acknowledged, and the connection stands ``settle`` seconds later.

        Raises OSError, and TimeoutError when nothing is acknowledged for ``patience`` seconds.
        """
        loop = asyncio.get_running_loop()
        pause, last, since = FIRST_LOOK_S, -1, loop.time()
        while (now := self.count_acknowledged()) < mark:
            if now != last:
                last, since = now, loop.time()
            elif loop.time() - since > patience:
                raise TimeoutError("the server takes nothing more")
            await asyncio.wait({self.broken}, timeout=pause)
            pause = min(2 * pause, LAST_LOOK_S)
        if settle:
            await asyncio.wait({self.broken}, timeout=settle)
        self.check()

    async def close(self) -> None:
        """Say goodbye, and close."""
        if not self.broken.done():
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            if isinstance(self._socket, ssl.SSLSocket):
                _say_goodbye(self._socket)
            self.fail(ConnectionAbortedError("closed"))


_LITTLE = struct.pack("=H", 1) == b"\1\0"


def _say_goodbye(sock: ssl.SSLSocket) -> None:
    """Send TLS's close_notify, without which the end looks like an attack (RFC 8446 §6.1)."""
    with contextlib.suppress(OSError, ValueError):  # it does not wait for the answer
        sock.unwrap()


class StreamServer(Server):
    """A server over TCP, or TLS if there is a ``context``. Calls write one after the other."""

    def __init__(self, address: str, config: HepReporterConfig, context: ssl.SSLContext | None) -> None:
        super().__init__(address, config)
        self._context = context
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._failed_at = -1.0

    async def open(self) -> None:
        """Connect, unless there is a connection that stands."""
        if self._connection is not None and not self._connection.broken.done():
            return
        self._connection = None
        async with asyncio.timeout(self._config.timeout):
            self._connection = Connection(await self._connect())

    async def _connect(self) -> socket.socket:
        trouble: OSError = OSError(f"{self.host} has no address")
        for family, address in await self._addresses(socket.SOCK_STREAM):
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                self._watch(sock)
                await asyncio.get_running_loop().sock_connect(sock, address)
                return await self._secure(sock)
            except OSError as error:
                sock.close()
                trouble = error
            except BaseException:
                sock.close()
                raise
        raise trouble

    def _watch(self, sock: socket.socket) -> None:
        """Have the kernel ask a silent server whether it is still there."""
        pause = max(1, int(self._config.keepalive))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, pause)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, pause // PROBES))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        # A call's bytes go in one write: Nagle's algorithm would only hold its end back until the rest is acknowledged.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def _secure(self, sock: socket.socket) -> socket.socket:
        if self._context is None:
            return sock
        made = self._context.wrap_socket(sock, server_hostname=self.host, do_handshake_on_connect=False)
        try:
            while True:
                try:
                    made.do_handshake()
                    return made
                except ssl.SSLWantReadError:
                    await _until_readable(made.fileno())
                except ssl.SSLWantWriteError:
                    await until_writable(made.fileno(), self._config.timeout)
        except BaseException:
            made.close()
            raise

    async def deliver(self, packets: Packets, first: int) -> Sent:
        """Send packets; all of them or none count as sent."""
        data = packets.stream() if first == 0 else b"".join(packets[n] for n in range(first, len(packets)))
        for _ in range(ATTEMPTS):  # what a connection that broke did not carry goes over a new one at once
            used = self._connection
            try:
                await self._send(data)
            except (OSError, UnicodeError) as error:
                self.note(error)
                if used is None or used is not self._connection:
                    return Sent(error=error)
                trouble = error
            else:
                self.note(None)
                return Sent(len(packets) - first)
        return Sent(error=trouble)

    async def _send(self, data: bytes) -> None:
        asked = asyncio.get_running_loop().time()
        async with self._turn:
            # Those that waited for the same connection fail with it, in the place of trying one after the other for its
            # timeout.
            if self._failed_at >= asked:  # while this call waited
                raise ConnectionError(self.reason.partition(": ")[2])
            connection, mark = await self._write(data)
        try:
            await connection.settle(mark, self._config.timeout, self._config.settle)
        except TimeoutError as error:
            connection.fail(error)
            raise

    async def _write(self, data: bytes) -> tuple[Connection, int]:
        try:
            await self.open()
            assert self._connection is not None
            return self._connection, await self._connection.write(data, self._config.timeout)
        except BaseException as error:  # cancelled halfway through a packet: the stream is of no use any more
            if self._connection is not None:
                self._connection.fail(ConnectionAbortedError(str(error)))
            if isinstance(error, OSError):
                self._failed_at = asyncio.get_running_loop().time()
                self.note(error)
            raise

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


async def _until_readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
