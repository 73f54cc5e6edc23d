"""The control socket, against callers of every kind, over real Unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from otus_core.control import incoming
from otus_core.control import server as module
from otus_core.control.client import call
from otus_core.control.protocol import BUSY, INVALID_PARAMS, METHOD_NOT_FOUND, Request, RpcError
from otus_core.control.server import ControlServer
from otus_core.errors import DaemonNotRunning, OtusError, TaskNotFound
from tests.patience import PATIENCE_S, keeps, nearly_all


async def handle(request: Request) -> Any:
    if request.method == "echo":
        return request.params
    if request.method == "big":
        return "x" * 10_000_000
    if request.method == "lost":
        raise TaskNotFound("there is no task 'x'")
    if request.method == "bug":
        raise ZeroDivisionError("secret detail")
    if request.method == "params":
        raise RpcError(INVALID_PARAMS, "params.task_id: is required")
    raise RpcError(METHOD_NOT_FOUND, "unknown key")


@asynccontextmanager
async def serving(path: Path, **options: Any) -> AsyncIterator[ControlServer]:
    server = ControlServer(path, handle, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def exchange(path: Path, data: bytes, answers: int = 1) -> list[Any]:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 26)
    writer.write(data)
    lines = [json.loads(await asyncio.wait_for(reader.readline(), PATIENCE_S)) for _ in range(answers)]
    writer.close()
    return lines


def run(path: Path, scenario: Callable[[ControlServer], Any]) -> None:
    async def main() -> None:
        async with serving(path) as server:
            await asyncio.wait_for(scenario(server), 2 * PATIENCE_S)

    asyncio.run(main())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "otus.sock"


REQUEST = {"jsonrpc": "2.0", "id": 7, "method": "echo", "params": {"a": 1}}


@pytest.mark.parametrize(
    ("line", "code", "request_id"),
    [
        (b"{nonsense", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b"[" * 100_000, -32700, None),
        (b'{"a":' * 100 + b"1" + b"}" * 100, -32700, None),
        (b"[]", -32600, None),
        (b'{"id":1}', -32600, 1),
        (b'{"jsonrpc":"2.0","id":1}', -32600, 1),
        (b'{"jsonrpc":"2.0","id":{},"method":"echo"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"echo","params":[1]}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":"x","method":"nothing"}', -32601, "x"),
        (b'{"jsonrpc":"2.0","id":1,"method":"params"}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"lost"}', -32603, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"bug"}', -32603, 1),
    ],
)
def test_a_bad_request_is_answered_with_its_code(path: Path, line: bytes, code: int, request_id: Any) -> None:
    async def scenario(_server: ControlServer) -> None:
        (reply,) = await exchange(path, line + b"\n")
        assert (reply["error"]["code"], reply["id"]) == (code, request_id)
        assert "secret" not in reply["error"]["message"]

    run(path, scenario)


def test_requests_on_one_connection_are_answered_in_order(path: Path) -> None:
    async def scenario(_server: ControlServer) -> None:
        lines = b"".join(json.dumps({**REQUEST, "id": n, "params": {"n": n}}).encode() + b"\n" for n in range(20))
        replies = await exchange(path, b"\n\n" + lines, 20)
        assert [(reply["id"], reply["result"]["n"]) for reply in replies] == [(n, n) for n in range(20)]

    run(path, scenario)


def test_brackets_in_text_are_not_depth(path: Path) -> None:
    async def scenario(_server: ControlServer) -> None:
        request = {**REQUEST, "params": {"config": "[" * 500 + '"\\' + "{" * 500}}
        (reply,) = await exchange(path, json.dumps(request).encode() + b"\n")
        assert reply["result"] == request["params"]

    run(path, scenario)


def test_a_notification_gets_no_answer(path: Path) -> None:
    async def scenario(_server: ControlServer) -> None:
        silent = {key: value for key, value in REQUEST.items() if key != "id"}
        data = json.dumps(silent).encode() + b"\n" + json.dumps(REQUEST).encode() + b"\n"
        (reply,) = await exchange(path, data)
        assert reply["id"] == 7

    run(path, scenario)


def test_the_shutdown_begins_after_its_answer(path: Path) -> None:
    async def main() -> None:
        answered: list[str] = []
        async with serving(path, after_answer=lambda request: answered.append(request.method)):
            await exchange(path, json.dumps(REQUEST).encode() + b"\n")
            while not answered:
                await asyncio.sleep(0.01)
            assert answered == ["echo"]

    asyncio.run(main())


def test_the_socket_is_for_its_owner_alone(path: Path) -> None:
    async def scenario(_server: ControlServer) -> None:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

    run(path, scenario)
    assert not path.exists()


def test_a_second_daemon_is_refused(path: Path) -> None:
    async def scenario(_server: ControlServer) -> None:
        with pytest.raises(OtusError, match="another daemon is running"):
            await ControlServer(path, handle).start()
        (reply,) = await exchange(path, json.dumps(REQUEST).encode() + b"\n")
        assert reply["result"] == {"a": 1}

    run(path, scenario)


def test_a_stale_socket_is_taken_over(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def scenario(_server: ControlServer) -> None:
        (reply,) = await exchange(path, json.dumps(REQUEST).encode() + b"\n")
        assert reply["id"] == 7

    run(path, scenario)


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_not_our_socket_is_not_removed(path: Path, kind: str, tmp_path: Path) -> None:
    """The Go program removed whatever was at the path, with all below it."""
    path.parent.mkdir()
    if kind == "folder":
        (path / "precious").mkdir(parents=True)
    elif kind == "file":
        path.write_text("precious")
    else:
        (tmp_path / "target").write_text("precious")
        path.symlink_to(tmp_path / "target")
    with pytest.raises(OtusError, match="not a socket of ours"):
        asyncio.run(ControlServer(path, handle).start())
    assert os.path.lexists(path)


def test_a_request_that_is_too_long_ends_the_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "REQUEST_MAX", 1 << 16)

    async def scenario(_server: ControlServer) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b'"' + b"x" * (1 << 20))
        reply = json.loads(await asyncio.wait_for(reader.readline(), PATIENCE_S))
        assert reply["error"]["code"] == -32700
        with contextlib.suppress(ConnectionResetError):  # the rest of what was sent is not read
            assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        writer.close()

    run(path, scenario)


def test_all_requests_together_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what arrives the largest gives way; whoever sends less is answered, however many there are."""
    monkeypatch.setattr(incoming, "REQUESTS_MAX", 1 << 20)

    async def scenario(server: ControlServer) -> None:
        large = [await asyncio.open_unix_connection(str(path), limit=1 << 20) for _ in range(8)]
        small = [await asyncio.open_unix_connection(str(path), limit=1 << 20) for _ in range(8)]
        for n, (_, writer) in enumerate((*large, *small)):
            writer.write(json.dumps({**REQUEST, "params": {"a": "x" * (10_000 if n >= 8 else 250_000 + n)}}).encode())
        callers = (*large, *small)
        reading = [asyncio.create_task(reader.readline()) for reader, _ in callers]
        while sum(one.done() for one in reading) < 5:
            await asyncio.sleep(0.01)
        for one, (_, writer) in zip(reading, callers, strict=True):
            if not one.done():
                writer.write(b"\n")
        replies = [json.loads(await asyncio.wait_for(one, PATIENCE_S)) for one in reading]
        refused = [reply["error"]["code"] for reply in replies[:8] if "error" in reply]
        assert refused == [BUSY] * 5 and all("result" in reply for reply in replies[8:])
        for _, writer in (*large, *small):
            writer.close()
        while server._open:
            await asyncio.sleep(0.01)
        assert server._room._held == 0

    run(path, scenario)


def test_a_request_that_does_not_end_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "REQUEST_WITHIN_S", 0.2)

    async def scenario(_server: ControlServer) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"{")
        reply = json.loads(await asyncio.wait_for(reader.readline(), PATIENCE_S))
        assert "did not end" in reply["error"]["message"]
        writer.close()

    run(path, scenario)


def rest_of(connection: socket.socket) -> int:
    """Count the bytes that still come, until the other side has gone."""
    received = 0
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(1 << 20):
            received += len(data)
    return received


def test_a_caller_that_never_reads_is_let_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_WITHIN_S", 0.2)

    async def scenario(server: ControlServer) -> None:
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(str(path))
            deaf.sendall(json.dumps({**REQUEST, "method": "big"}).encode() + b"\n")
            while not server._open:
                await asyncio.sleep(0.01)
            while server._open:
                await asyncio.sleep(0.01)
            deaf.settimeout(PATIENCE_S)
            # In a thread: the server closes its end in a later turn of this loop.
            assert await asyncio.to_thread(rest_of, deaf) < 10_000_000

    run(path, scenario)


def test_an_honest_caller_is_answered_while_five_hundred_hang(path: Path) -> None:
    """500 callers that send one byte and wait; ``p99`` of an honest one stays under 200 ms."""
    worst: list[float] = []

    async def scenario(_server: ControlServer) -> None:
        hanging = []
        for _ in range(500):
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, str(path))
            sock.send(b"{")
            hanging.append(sock)
        worst.append(nearly_all([await answer_time(path) for _ in range(100)]))
        for sock in hanging:
            sock.close()

    def measured() -> float:
        run(path, scenario)
        return worst[-1]

    keeps(0.2, measured)


async def answer_time(path: Path) -> float:
    begun = time.perf_counter()
    await exchange(path, json.dumps(REQUEST).encode() + b"\n")
    return time.perf_counter() - begun


@pytest.mark.parametrize("flood", [json.dumps(REQUEST).encode() + b"\n", b"\n"], ids=["requests", "blank lines"])
def test_a_caller_with_a_thousand_requests_waits_for_its_turn(path: Path, flood: bytes) -> None:
    worst: list[float] = []

    async def scenario(_server: ControlServer) -> None:
        _, flooding = await asyncio.open_unix_connection(str(path))
        flooding.write(flood * (800_000 // len(flood)))
        await asyncio.sleep(0)
        worst.append(max([await answer_time(path) for _ in range(20)]))
        flooding.transport.abort()

    def measured() -> float:
        run(path, scenario)
        return worst[-1]

    keeps(0.2, measured)


def test_more_callers_than_allowed_cost_the_most_silent_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 5)

    async def scenario(_server: ControlServer) -> None:
        first = await asyncio.open_unix_connection(str(path))
        await asyncio.sleep(0.05)
        others = [await asyncio.open_unix_connection(str(path)) for _ in range(5)]
        assert await asyncio.wait_for(first[0].read(), PATIENCE_S) == b""
        (reply,) = await exchange(path, json.dumps(REQUEST).encode() + b"\n")
        assert reply["id"] == 7
        for _, writer in others:
            writer.close()

    run(path, scenario)


class Serving:
    """A server in a thread, for the blocking client."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ready = threading.Event()
        self.done: asyncio.Event
        self.loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Serving:
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self.thread.start()
        assert self.ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.done.set)
        self.thread.join(PATIENCE_S)

    async def _main(self) -> None:
        self.loop, self.done = asyncio.get_running_loop(), asyncio.Event()
        async with serving(self.path):
            self.ready.set()
            await self.done.wait()


def test_the_client_gives_results_and_the_daemon_s_own_words(path: Path) -> None:
    with Serving(path):
        assert call(path, "echo", {"a": [1]}) == {"a": [1]}
        assert len(call(path, "big")) == 10_000_000
        with pytest.raises(OtusError, match="there is no task 'x'"):
            call(path, "lost")
        with pytest.raises(OtusError, match="another version"):
            call(path, "from_the_future")


def test_the_client_says_that_no_daemon_runs(path: Path) -> None:
    with pytest.raises(DaemonNotRunning, match="otus daemon") as caught:
        call(path, "echo")
    assert caught.value.exit_status == 3
