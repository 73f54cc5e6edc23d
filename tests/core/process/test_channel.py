"""Messages between processes: whole, in order, with descriptors, and bounded when nobody reads."""

from __future__ import annotations

import asyncio
import marshal
import os
import socket
from typing import Any

import pytest

from otus_core.process import channel as module
from otus_core.process.channel import Channel


async def pair() -> tuple[Channel, Channel, list[tuple[Any, list[int]]]]:
    ours, theirs = socket.socketpair()
    left, right = Channel(ours), Channel(theirs)
    heard: list[tuple[Any, list[int]]] = []
    right.on_message = lambda message, descriptors: heard.append((message, descriptors))
    left.listen()
    right.listen()
    return left, right, heard


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


def test_messages_of_any_size_arrive_in_order() -> None:
    async def scenario() -> None:
        left, right, heard = await pair()
        sent = [("n", n, b"x" * (n * 9973 % 300_000)) for n in range(60)]
        for message in sent:
            assert left.send(message)
            await asyncio.sleep(0)
        await until(lambda: len(heard) == len(sent))
        assert [message for message, _ in heard] == sent
        left.close()
        right.close()

    asyncio.run(scenario())


def test_descriptors_travel_with_their_message() -> None:
    async def scenario() -> None:
        left, right, heard = await pair()
        pipes = [os.pipe() for _ in range(3)]
        for n, (reader, writer) in enumerate(pipes):
            left.send((n, b"y" * 100_000))
            left.send((n,), [reader, writer])
        await until(lambda: len(heard) == 6)
        for n, (_, writer) in enumerate(pipes):
            os.write(writer, b"pipe %d" % n)
        for n, (message, descriptors) in enumerate(heard):
            assert len(descriptors) == (2 if n % 2 else 0)
            if descriptors:
                assert os.read(descriptors[0], 100) == b"pipe %d" % message[0]
        for descriptor in [d for p in pipes for d in p] + [d for _, ds in heard for d in ds]:
            os.close(descriptor)
        left.close()
        right.close()

    asyncio.run(scenario())


def test_a_peer_that_does_not_read_costs_bounded_memory(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "QUEUE_MAX_BYTES", 1 << 20)

    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        left = Channel(ours)
        left.listen()
        sent = [left.send(b"z" * 100_000) for _ in range(100)]
        assert not all(sent)
        assert left.dropped == sent.count(False)
        left.close()
        theirs.close()

    asyncio.run(scenario())


def test_the_end_of_the_peer_is_told_after_its_last_words() -> None:
    async def scenario() -> None:
        left, right, heard = await pair()
        gone: list[int] = []
        right.on_closed = lambda: gone.append(len(heard))
        left.send(("last",))
        left.close()
        await until(lambda: gone)
        assert (heard, gone) == ([(("last",), [])], [1])

    asyncio.run(scenario())


@pytest.mark.parametrize("body", [b"", b"nonsense", marshal.dumps(5), marshal.dumps(())], ids=repr)
def test_what_is_no_message_ends_the_channel(body: bytes) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        channel, closed = Channel(theirs), asyncio.Event()
        channel.on_closed = closed.set
        channel.listen()
        ours.send(module.HEADER.pack(len(body), 0) + body)
        async with asyncio.timeout(60):
            await closed.wait()
        ours.close()

    asyncio.run(scenario())
