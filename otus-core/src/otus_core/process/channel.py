"""Messages between a parent and its workers, over one Unix socket, with descriptors where they are needed.

A message whose descriptors do not all arrive ends the channel: later messages would get the wrong ones. On its way a
message is a plain value (what ``marshal`` takes: both ends run the same Python) behind its length. Only our own
processes are on the other end.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from otus_core.process.messages import Message, pack, unpack

M = TypeVar("M", bound=Message)

NONSENSE = "sent a message that cannot be understood"
# Length and number of descriptors, as this machine writes numbers: both ends run on it.
HEADER = struct.Struct("=II")
MESSAGE_MAX = 16 << 20
# A worker's first message has two and those of its capture; the kernel takes up to 253 with one message (SCM_MAX_FD,
# include/net/scm.h).
DESCRIPTORS_MAX = 16
READ_BYTES = 1 << 16
QUEUE_MAX_BYTES = 8 << 20
"""What may wait for a peer that does not read; a worker that is stopped must not fill its parent's memory."""


class Channel(Generic[M]):
    """One end, which takes messages of these kinds, by their names; any other ends the channel.

    ``on_message(message, descriptors)`` and ``on_closed(why)`` are called from the event loop. ``why`` says what the
    peer has done that ended the channel; it is empty when the peer let go of it.
    """

    def __init__(self, sock: socket.socket, kinds: Mapping[str, type[M]]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._kinds = kinds
        self._received = bytearray()
        self._descriptors: list[int] = []
        self._queue: deque[tuple[bytes, Sequence[int]]] = deque()
        self._queued = 0
        self._writing = False
        self._closed = False
        self._sent = asyncio.Event()
        self._sent.set()
        self.dropped = 0
        self.on_message: Callable[[M, list[int]], None] = lambda _message, _descriptors: None
        self.on_closed: Callable[[str], None] = lambda _why: None

    def listen(self) -> None:
        """Begin to receive."""
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._receive)

    def send(self, message: Message, descriptors: Sequence[int] = (), *, needed: bool = False) -> bool:
        """Queue a message; false when it was dropped because the peer is gone or, unless it is ``needed``, does not
        read.
        """
        body = pack(message)
        if self._closed or (self._queued + len(body) > QUEUE_MAX_BYTES and not needed):
            self.dropped += 1
            return False
        self._queue.append((HEADER.pack(len(body), len(descriptors)) + body, descriptors))
        self._queued += len(body)
        self._sent.clear()
        self._writable()
        return True

    async def flush(self, timeout: float) -> None:
        """Wait until everything has been sent, at most ``timeout`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._sent.wait()

    def receive_rest(self) -> None:
        """Take in what a peer that has ended left behind."""
        while not self._closed and self._receive():
            pass

    def close(self) -> None:
        """Let go of the socket; ``on_closed`` is not called."""
        if self._closed:
            return
        self._closed = True
        self._sent.set()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock.fileno())
        loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def _writable(self) -> None:
        while self._queue:
            data, descriptors = self._queue[0]
            try:
                sent = socket.send_fds(self._sock, [data], list(descriptors)) if descriptors else self._sock.send(data)
            except BlockingIOError:
                if not self._writing:
                    self._writing = True
                    asyncio.get_running_loop().add_writer(self._sock.fileno(), self._writable)
                return
            except OSError:
                # The peer has ended; its last words are still here to be read (unix(7)), and say how it ended.
                self._queue.clear()
                self.receive_rest()
                self._part()
                return
            self._queue.popleft()
            self._queued -= min(self._queued, sent)
            if sent < len(data):
                # A stream may take a part; the descriptors went with its first byte and must not be sent again.
                self._queue.appendleft((data[sent:], ()))
        self._queued = 0
        self._sent.set()
        if self._writing:
            self._writing = False
            asyncio.get_running_loop().remove_writer(self._sock.fileno())

    def _receive(self) -> bool:
        """Take in what is there; false when there was nothing."""
        try:
            data, descriptors, _flags, _address = socket.recv_fds(self._sock, READ_BYTES, DESCRIPTORS_MAX)
        except BlockingIOError:
            return False
        except OSError:
            self._part()
            return False
        # End of file on a stream socket: the other end is closed, which a process's end does too.
        if not data:
            self._part()
            return False
        self._received += data
        self._descriptors += descriptors
        self._deliver()
        return True

    def _deliver(self) -> None:
        while len(self._received) >= HEADER.size and not self._closed:
            size, count = HEADER.unpack_from(self._received)
            # The length comes from a process that has read hostile packets: no more than the bound is gathered for it.
            if size > MESSAGE_MAX:
                self._part(f"sent a message of {size} bytes")
                return
            if len(self._received) < HEADER.size + size:
                return
            body = bytes(self._received[HEADER.size : HEADER.size + size])
            del self._received[: HEADER.size + size]
            # Descriptors arrive with the first byte of what they were sent with (unix(7)), so never after their
            # message; those of later messages may be here already, and the header says how many are this one's.
            taken, self._descriptors = self._descriptors[:count], self._descriptors[count:]
            if len(taken) < count:  # this process may open no more: the kernel dropped them (MSG_CTRUNC, recvmsg(2))
                self._give_up(taken, "sent descriptors, but this process may open no more")
                return
            try:
                message = unpack(body, self._kinds)
            except (ValueError, EOFError, TypeError, LookupError):
                self._give_up(taken, NONSENSE)
                return
            self.on_message(message, taken)

    def _give_up(self, descriptors: Sequence[int], why: str) -> None:
        """Take nothing more from a peer that is not to be trusted, or whose later messages cannot be told apart."""
        for descriptor in descriptors:
            os.close(descriptor)
        self._part(why)

    def _part(self, why: str = "") -> None:
        if not self._closed:
            self.close()
            self.on_closed(why)
