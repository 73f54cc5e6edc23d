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
from otus_core.process.messages import (
    FROM_WORKER,
    TO_WORKER,
    Acquired,
    Ended,
    Failed,
    Fault,
    FromWorker,
    InitWorker,
    Log,
    Message,
    Publish,
    Started,
    Stop,
    ToWorker,
    pack,
    unpack,
)


async def pair() -> tuple[Channel[ToWorker], Channel[FromWorker], list[tuple[FromWorker, list[int]]]]:
    ours, theirs = socket.socketpair()
    left, right = Channel(ours, TO_WORKER), Channel(theirs, FROM_WORKER)
    heard: list[tuple[FromWorker, list[int]]] = []
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
        sent = [Publish(1, b"x" * (n * 9973 % 300_000)) for n in range(60)]
        for message in sent:
            assert left.send(message)
            await asyncio.sleep(0)
        await until(lambda: len(heard) == len(sent))
        assert [message for message, _ in heard] == sent
        left.close()
        right.close()

    asyncio.run(scenario())


def test_last_words_are_heard_by_one_who_speaks_to_a_peer_that_has_ended() -> None:
    async def scenario() -> None:
        left, right, heard = await pair()
        ends: list[str] = []
        right.on_closed = ends.append
        left.send(Publish(1, b"almost"))
        left.send(Ended())
        left.close()
        right.send(Stop())  # before the loop has read what is there
        assert [message for message, _ in heard] == [Publish(1, b"almost"), Ended()]
        assert ends == [""]

    asyncio.run(scenario())


def test_descriptors_travel_with_their_message() -> None:
    async def scenario() -> None:
        left, right, heard = await pair()
        pipes = [os.pipe() for _ in range(3)]
        for n, (reader, writer) in enumerate(pipes):
            left.send(Publish(1, b"y" * 100_000))
            left.send(Failed(str(n)), [reader, writer])
        await until(lambda: len(heard) == 6)
        for n, (_, writer) in enumerate(pipes):
            os.write(writer, b"pipe %d" % n)
        for n, (message, descriptors) in enumerate(heard):
            assert len(descriptors) == (2 if n % 2 else 0)
            if descriptors:
                assert isinstance(message, Failed)
                assert os.read(descriptors[0], 100) == f"pipe {message.reason}".encode()
        for descriptor in [d for p in pipes for d in p] + [d for _, ds in heard for d in ds]:
            os.close(descriptor)
        left.close()
        right.close()

    asyncio.run(scenario())


def test_a_peer_that_does_not_read_costs_bounded_memory(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "QUEUE_MAX_BYTES", 1 << 20)

    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        left = Channel(ours, TO_WORKER)
        left.listen()
        sent = [left.send(Publish(1, b"z" * 100_000)) for _ in range(100)]
        assert not all(sent)
        assert left.dropped == sent.count(False)
        left.close()
        theirs.close()

    asyncio.run(scenario())


def test_the_end_of_the_peer_is_told_after_its_last_words() -> None:
    async def scenario() -> None:
        left, right, heard = await pair()
        gone: list[tuple[int, str]] = []
        right.on_closed = lambda why: gone.append((len(heard), why))
        left.send(Failed("last"))
        left.close()
        await until(lambda: gone)
        assert (heard, gone) == ([(Failed("last"), [])], [(1, "")])

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        marshal.dumps(5),
        marshal.dumps(()),
        marshal.dumps(([], 5)),
        marshal.dumps(("Nobody knows this", 5)),
        marshal.dumps(("Publish",)),
        marshal.dumps(("Publish", b"", b"")),
        marshal.dumps(("Publish", "text")),
        marshal.dumps(("Fault", "eth0", "gone", "far", True)),
        pack(Stop()),  # which only a parent says
        pack(Acquired(1)),
    ],
    ids=repr,
)
def test_what_is_no_message_ends_the_channel(body: bytes) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        channel, closed = Channel(theirs, FROM_WORKER), asyncio.Event()
        said: list[str] = []
        channel.on_message = lambda message, _descriptors: said.append(f"took {message}")
        channel.on_closed = lambda why: (said.append(why), closed.set())[0]
        channel.listen()
        ours.send(module.HEADER.pack(len(body), 0) + body)
        async with asyncio.timeout(60):
            await closed.wait()
        assert said == [module.NONSENSE]
        ours.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "message",
    [
        Fault("eth0", "gone", None, fatal=False),
        Fault("a.pcap", "cut", 17, fatal=True),
        Started(("kafka",), ()),
        Log("info", {"event": "text", "n": 5}),
    ],
    ids=repr,
)
def test_a_message_is_what_it_was(message: FromWorker) -> None:
    assert unpack(pack(message), FROM_WORKER) == message


def test_a_workers_first_message_is_what_it_was() -> None:
    first = InitWorker(
        task={"id": "t"}, plugins={"enabled": None}, shard=0, shards=2, hostname="edge-1", node_ip="", tags={},
        counters_size=4096, isatty=False, columns=0, log_level="info", cpus=[], has_opener=True, user=(65534, 65534),
        open_circuits=["parser:sip"], secret=b"16",
    )  # fmt: skip
    sent: Message = first
    assert unpack(pack(sent), TO_WORKER) == first


def test_flushing_ends_when_everything_is_sent_and_not_before() -> None:
    """With the time that it may take as long as anybody could wait."""

    async def scenario() -> None:
        left, right, heard = await pair()
        right._sock.setblocking(False)
        asyncio.get_running_loop().remove_reader(right._sock.fileno())
        for _ in range(40):
            left.send(Publish(1, b"x" * 100_000))
        flushing = asyncio.create_task(left.flush(1e6))
        await asyncio.sleep(0)
        assert not flushing.done()
        right.listen()
        async with asyncio.timeout(60):
            await flushing
            await until(lambda: len(heard) == 40)
        left.close()
        right.close()

    asyncio.run(scenario())
