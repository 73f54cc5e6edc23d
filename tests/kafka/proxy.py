"""A TCP proxy that misbehaves on demand, between a client and the broker's ``PROXIED`` listener."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from .broker import Broker


class Proxy:
    """``async with Proxy(broker)``: forwards until told otherwise.

    ``hold_answers`` lets requests through and keeps what the broker says to them.
    """

    def __init__(self, broker: Broker) -> None:
        self.port = broker.proxy_port
        self.target = broker.ports["PROXIED"]
        self.delay = 0.0
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._requests = asyncio.Event()
        self._answers = asyncio.Event()
        self._requests.set()
        self._answers.set()

    async def __aenter__(self) -> Proxy:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.refuse()

    async def listen(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def refuse(self) -> None:
        """Take no connections, and end those that there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Reset all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    def hang(self) -> None:
        """Take connections and let nothing through."""
        self._requests.clear()
        self._answers.clear()

    def hold_answers(self) -> None:
        """Let only requests through."""
        self._answers.clear()

    def resume(self) -> None:
        """Let everything through again."""
        self._requests.set()
        self._answers.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        other: asyncio.StreamWriter | None = None
        try:
            answers, other = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers |= {writer, other}
            there = asyncio.create_task(self._pump(reader, other, self._requests))
            back = asyncio.create_task(self._pump(answers, writer, self._answers))
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            back.cancel()
        except OSError:
            pass
        finally:
            for each in (writer, other):
                if each is not None:
                    self._writers.discard(each)
                    each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await gate.wait()
                writer.write(data)
                await writer.drain()
