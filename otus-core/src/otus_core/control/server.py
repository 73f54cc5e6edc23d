"""The control socket: accepts local callers, reads requests, writes answers; every amount and time is bounded.

One door for whatever a caller may do wrong: each connection is served by ``_serve``, which ends it after any error.
Peers are checked by the kernel's word (SO_PEERCRED).
"""

from __future__ import annotations

import asyncio
import functools
import os
import resource
import socket
import stat
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from otus_core.chores import report_failure
from otus_core.control.audit import record
from otus_core.control.incoming import PIECE, Lines, Room
from otus_core.control.protocol import (
    INTERNAL_ERROR,
    NOT_ALLOWED,
    Follow,
    Request,
    RpcError,
    answer,
    notification,
    parse,
    refusal,
    rpc_error,
)
from otus_core.errors import OtusError
from otus_core.folders import make_folder
from otus_core.log import Logger
from otus_core.process.lock import take_lock

log = Logger("otus.control")

CONNECTIONS_MAX = 1024
"""Open at a time, or half of what descriptors there are, whichever is less; beyond, the one that has been silent for
longest goes.
"""
WRITE_WITHIN_S = 10.0
"""A caller that does not read its answer for so long is let go of: it holds the answer in the daemon's memory."""
WRITE_BUFFER_MAX = 1 << 20
"""Above it, ``drain`` waits for the caller, and nothing more is made for it meanwhile."""
BACKLOG = 1024
"""Callers that the kernel keeps until they are accepted; it takes at most net.core.somaxconn of them (listen(2))."""
ACCEPTED_AT_ONCE = 64
"""Before those that are too many are let go of: a crowd must not take the last descriptor."""
REFUSALS_EVERY_S = 1.0
"""At most one line so often about callers that may not call: whoever they are, they do not fill the log."""
UCRED = struct.Struct("=iII")  # struct ucred { pid_t pid; uid_t uid; gid_t gid; }, of SO_PEERCRED (unix(7))

Handle = Callable[[Request], Awaitable[Any]]
AfterAnswer = Callable[[Request], None]


class ControlServer:
    """Serves ``handle`` on a Unix socket. ``after_answer`` is called when an answer has been sent."""

    def __init__(self, path: Path, handle: Handle, after_answer: AfterAnswer = lambda _request: None) -> None:
        self._path = path
        self._handle = handle
        self._after_answer = after_answer
        self._server: asyncio.Server | None = None
        self._lock: int | None = None
        self._open: dict[asyncio.StreamWriter, float] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._room = Room()
        self._most = CONNECTIONS_MAX
        self.refused_peers = 0
        self._refusal_told_at = float("-inf")

    async def start(self) -> None:
        """Take the lock, then the socket. Raises OtusError when another daemon has it or the path is not ours."""
        lock = self._path.with_name(self._path.name + ".lock")
        try:
            make_folder(self._path.parent, 0o755)
            self._lock = take_lock(lock, self._path)
        except OSError as error:
            raise OtusError(
                f"control.socket {self._path}: {error.filename or lock}: {error.strerror or error}"
            ) from error
        # Only now that the lock is held: what lies there is of a daemon that is gone, and would make bind(2) fail.
        _clear(self._path)
        self._most = min(CONNECTIONS_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)  # the mode must be right from the first moment, not after the bind
        try:
            listener.bind(str(self._path))
        except OSError as error:
            listener.close()
            raise OtusError(f"control.socket {self._path}: {error.strerror or error}") from error
        finally:
            os.umask(before)
        self._server = await asyncio.start_unix_server(
            self._accept, sock=listener, limit=PIECE, backlog=ACCEPTED_AT_ONCE
        )
        # asyncio accepts as many at once as its backlog says, and listens with that; the kernel may keep more waiting.
        listener.listen(BACKLOG)

    async def stop(self) -> None:
        """Close the socket and every connection, and remove what is ours."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
            self._server = None
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a caller in a task of its own; where there are too many, the one that was silent for longest goes."""
        self._open[writer] = asyncio.get_running_loop().time()
        if len(self._open) > self._most:
            silent = min(self._open, key=self._open.__getitem__)
            del self._open[silent]  # at once: the next in a crowd is to cost another one
            silent.transport.abort()
        task = asyncio.create_task(self._meet(reader, writer), name="control:connection")
        self._serving.add(task)
        task.add_done_callback(functools.partial(self._part, writer))

    def _part(self, writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        self._open.pop(writer, None)
        # close() would wait until the caller has taken what is still to be written, which it may never do.
        writer.transport.abort()
        if not task.cancelled() and (error := task.exception()) is not None:
            report_failure("control:connection", error)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = Lines(reader, self._room)
        try:
            refused = self._refusal(writer)
            if refused is None:
                await self._serve(lines, writer)
            else:
                await _send(writer, refusal(refused))
        except (OSError, TimeoutError):
            pass
        finally:
            lines.close()

    def _refusal(self, writer: asyncio.StreamWriter) -> RpcError | None:
        """Ask the kernel who is calling: root and the daemon's own user may. Gives what others are told."""
        # SO_PEERCRED: whoever connected, as the kernel noted it then (unix(7)); nothing that is sent can change it.
        uid, own = _peer(writer), os.getuid()
        if uid in (0, own):
            return None
        self.refused_peers += 1
        now = asyncio.get_running_loop().time()
        if now - self._refusal_told_at >= REFUSALS_EVERY_S:
            self._refusal_told_at = now
            log.warning("control_peer_refused", uid=uid, refused=self.refused_peers)
        also = f" and the daemon's own user (uid {own})" if own else ""
        return RpcError(NOT_ALLOWED, f"uid {uid} is not allowed to command this daemon: it answers to root{also} only")

    async def _serve(self, lines: Lines, writer: asyncio.StreamWriter) -> None:
        """Answer one caller's requests, one after the other, until it goes or does something wrong."""
        writer.transport.set_write_buffer_limits(high=WRITE_BUFFER_MAX)
        while True:
            try:
                line = await lines.read()
            except RpcError as error:
                await _send(writer, refusal(error))
                return
            if not line:
                return
            self._open[writer] = asyncio.get_running_loop().time()
            uid = _peer(writer)
            request, reply, follow = await self._answer(line, uid)
            if reply is not None:
                await _send(writer, reply)
                method = request.method if request is not None else ""
                log.debug("answer_written", channel="control", uid=uid, command=method, bytes=len(reply))
            if follow is not None:
                await self._follow(follow, writer)
                return
            if request is not None:
                self._after_answer(request)
            await asyncio.sleep(0)  # a caller that has sent a thousand requests waits for its turn before each

    async def _follow(self, follow: Follow, writer: asyncio.StreamWriter) -> None:
        """Send what comes behind an answer, until there is no more or the caller goes, or does not read."""
        try:
            async for event in follow.events:
                self._open[writer] = asyncio.get_running_loop().time()
                await _send(writer, notification(follow.method, event))
        finally:
            await follow.events.aclose()

    async def _answer(self, line: bytes, uid: int) -> tuple[Request | None, bytes | None, Follow | None]:
        """Give the request and its answer, and what comes behind it.

        This is the fault boundary: a caller never sees a traceback, the daemon never dies of a request.
        """
        try:
            request = parse(line)
        except RpcError as error:
            log.debug("request_refused", channel="control", uid=uid, error=error.message)
            return None, refusal(error), None
        failure: RpcError | None = None
        follow: Follow | None = None
        try:
            result = await self._handle(request)
            follow = result if isinstance(result, Follow) else None
            reply = answer(request.id, result if follow is None else follow.opening)
        except RpcError as error:
            failure = error
        except OtusError as error:
            failure = rpc_error(error)
        except Exception as error:
            log.exception("control_request_failed", method=request.method)
            failure = RpcError(INTERNAL_ERROR, f"internal error: {type(error).__name__}")
        said = "" if failure is None else failure.message
        record("control", {"uid": uid}, request.method, request.params, said, quietly=True)
        if failure is not None:
            reply = refusal(failure, request.id)
        return request, None if request.is_notification else reply, follow


def _peer(writer: asyncio.StreamWriter) -> int:
    """Ask the kernel for the caller's user id."""
    sock = writer.get_extra_info("socket")
    _pid, uid, _gid = UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    return int(uid)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write one answer; a caller that does not read it is let go of. Raises OSError, TimeoutError."""
    writer.write(data)
    async with asyncio.timeout(WRITE_WITHIN_S):
        await writer.drain()


def _clear(path: Path) -> None:
    """Remove a socket that a dead daemon left, and nothing else. Raises OtusError."""
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(about.st_mode) or about.st_uid != os.getuid():
        raise OtusError(f"{path}: is there and is not a socket of ours; remove it or choose another --socket")
    path.unlink()
