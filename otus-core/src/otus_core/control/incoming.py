"""Requests on their way in: cut out of what comes over each connection, within what all of them may hold together.

In: a connection's reader. Out: requests as bytes, one a line. asyncio's own ``readuntil`` would let each connection
hold twice the largest request, whatever the others hold.
"""

from __future__ import annotations

import asyncio

from otus_core.control.protocol import BUSY, PARSE_ERROR, REQUEST_MAX, RpcError

REQUEST_WITHIN_S = 10.0
"""From the first byte of a request to its end."""
IDLE_MAX_S = 300.0
"""Between two requests: who has forgotten a connection does not hold its descriptor for ever."""
PIECE = 1 << 14
"""Bytes that are read at once, and about as many that asyncio reads ahead."""
REQUESTS_MAX = 64 << 20
"""Bytes of the requests of all connections; room for sixteen of the largest at a time."""


class Room:
    """What all connections hold together: of requests that arrive, and of those that are being answered."""

    def __init__(self) -> None:
        self._held = 0
        self._arriving: set[Lines] = set()

    def note(self, lines: Lines, held: int, *, arriving: bool) -> None:
        """Take down what a connection holds now; where all hold too much, the largest that still arrives gives way."""
        self._held += held - lines.held
        lines.held = held
        if arriving:
            self._arriving.add(lines)
        else:
            self._arriving.discard(lines)
        # The largest: one that sends a large request slowly makes way for many that send small ones.
        while self._held > REQUESTS_MAX and self._arriving:
            largest = max(self._arriving, key=lambda one: one.held)
            self._arriving.remove(largest)
            self._held -= largest.held
            largest.held = 0
            largest.refuse()


class Lines:
    """The requests of one connection. ``held`` is the room that it takes up."""

    def __init__(self, reader: asyncio.StreamReader, room: Room) -> None:
        self.held = 0
        self._reader = reader
        self._room = room
        self._buffer = bytearray()
        self._limit: asyncio.Timeout | None = None
        self._is_refused = False

    async def read(self) -> bytes:
        """Read one request; empty when the caller has gone. Raises RpcError, TimeoutError, OSError."""
        self._room.note(self, len(self._buffer), arriving=False)
        while not (rest := self._buffer.lstrip(b"\n")):
            self._buffer.clear()
            async with asyncio.timeout(IDLE_MAX_S):
                self._buffer += await self._reader.read(PIECE)
            if not self._buffer:
                return b""
            await asyncio.sleep(0)  # a caller that sends nothing but blank lines waits for its turn as well
        self._buffer = rest
        try:
            async with asyncio.timeout(REQUEST_WITHIN_S) as self._limit:
                return await self._until_its_end()
        except TimeoutError:
            if self._is_refused:
                said = f"requests of more than {REQUESTS_MAX} bytes arrive at a time; try again"
                raise RpcError(BUSY, said) from None
            raise RpcError(PARSE_ERROR, f"the request did not end within {REQUEST_WITHIN_S:.0f} s") from None

    async def _until_its_end(self) -> bytes:
        known = 0
        while (end := self._buffer.find(b"\n", known)) < 0 and len(self._buffer) <= REQUEST_MAX:
            known = len(self._buffer)
            self._room.note(self, known, arriving=True)
            piece = await self._reader.read(PIECE)
            if not piece:
                return b""
            if self._is_refused:
                raise TimeoutError
            self._buffer += piece
        if not 0 <= end <= REQUEST_MAX:
            raise RpcError(PARSE_ERROR, f"a request is at most {REQUEST_MAX} bytes")
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        # Until the next one is asked for: what answers this one may keep all of it.
        self._room.note(self, len(line) + len(self._buffer), arriving=False)
        return line

    def refuse(self) -> None:
        """Have ``read`` raise an error, also while it waits: its time is over now."""
        self._is_refused = True
        self._buffer = bytearray()
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    def close(self) -> None:
        """Give back the room."""
        self._room.note(self, 0, arriving=False)
