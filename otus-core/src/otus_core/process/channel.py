"""Messages between a parent and its workers, over one Unix socket, with descriptors where they are needed.

A message whose descriptors do not all arrive ends the channel: later messages would get the wrong ones. A message is a
plain value (what ``marshal`` takes: both ends run the same Python) behind its length. Only our own processes are on the
other end.
"""

from __future__ import annotations

import asyncio
import marshal
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

HEADER = struct.Struct("=II")
MESSAGE_MAX = 16 << 20
DESCRIPTORS_MAX = 16
READ_BYTES = 1 << 16
QUEUE_MAX_BYTES = 8 << 20
"""What may wait for a peer that does not read; a worker that is stopped must not fill its parent's memory."""


class Channel:
    """One end. ``on_message(message, descriptors)`` and ``on_closed()`` are called from the event loop."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._received = bytearray()
        self._descriptors: list[int] = []
        self._queue: deque[tuple[bytes, Sequence[int]]] = deque()
        self._queued = 0
        self._writing = False
        self._closed = False
        self.dropped = 0
        self.on_message: Callable[[Any, list[int]], None] = lambda _message, _descriptors: None
        self.on_closed: Callable[[], None] = lambda: None

    def listen(self) -> None:
        """Begin to receive."""
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._receive)

    def send(self, message: Any, descriptors: Sequence[int] = (), *, needed: bool = False) -> bool:
        """Queue a message; false when it was dropped because the peer is gone or, unless it is ``needed``, does not
        read.
        """
        body = marshal.dumps(message)
        if self._closed or (self._queued + len(body) > QUEUE_MAX_BYTES and not needed):
            self.dropped += 1
            return False
        self._queue.append((HEADER.pack(len(body), len(descriptors)) + body, descriptors))
        self._queued += len(body)
        self._writable()
        return True

    async def flush(self, timeout: float) -> None:
        """Wait until everything has been sent, at most ``timeout`` seconds."""
        until = asyncio.get_running_loop().time() + timeout
        while self._queue and not self._closed and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.005)

    def receive_rest(self) -> None:
        """Take in what a peer that has ended left behind."""
        while not self._closed and self._receive():
            pass

    def close(self) -> None:
        """Let go of the socket; ``on_closed`` is not called."""
        if self._closed:
            return
        self._closed = True
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
                self._gone()
                return
            self._queue.popleft()
            self._queued -= min(self._queued, sent)
            if sent < len(data):
                self._queue.appendleft((data[sent:], ()))
        self._queued = 0
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
            self._gone()
            return False
        if not data:
            self._gone()
            return False
        self._received += data
        self._descriptors += descriptors
        self._deliver()
        return True

    def _deliver(self) -> None:
        while len(self._received) >= HEADER.size and not self._closed:
            size, count = HEADER.unpack_from(self._received)
            if size > MESSAGE_MAX:
                self._gone()
                return
            if len(self._received) < HEADER.size + size:
                return
            body = bytes(self._received[HEADER.size : HEADER.size + size])
            del self._received[: HEADER.size + size]
            taken, self._descriptors = self._descriptors[:count], self._descriptors[count:]
            if len(taken) < count:  # this process may open no more: the kernel dropped them (MSG_CTRUNC, recvmsg(2))
                for descriptor in taken:
                    os.close(descriptor)
                self._gone()
                return
            try:
                message = marshal.loads(body)
            except (ValueError, EOFError, TypeError):
                message = None
            if not isinstance(message, tuple) or not message:
                for descriptor in taken:
                    os.close(descriptor)
                self._gone()  # what comes from there is not to be trusted any more
                return
            self.on_message(message, taken)

    def _gone(self) -> None:
        if not self._closed:
            self.close()
            self.on_closed()
