"""Standard output, as reporters see it: whole lines, and one process that writes them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable

from otus_core.chores import keep_thread
from otus_core.errors import StdoutClosed
from otus_core.process.terminal import terminal_columns

PIPE_BYTES = 1 << 20
"""Of a worker's pipe, the most that the kernel gives by default (pipe-max-size, pipe(7)). A worker whose pipe is full
comes back to it after a slice of capture, so that what fits into a pipe is what goes out in each; 64 KiB were 30 lines
of JSON.
"""
READ_BYTES = 1 << 18
LINE_MAX = 8 << 20
"""A worker's line that grows beyond this is written in parts; an output of 64 KiB takes about 200 KiB as JSON."""


class StdoutWriter:
    """Writes to this process's own standard output. ``ended`` is why no more can be written; ``waited_ns`` is how long
    writing has taken, which is up to whoever reads.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self.ended: OSError | None = None
        self.waited_ns = 0
        self._descriptor = descriptor
        self.isatty = os.isatty(descriptor)
        self.before_write: Callable[[], None] = lambda: None

    @property
    def columns(self) -> int:
        """The width of the terminal as it is now, 0 where there is none."""
        return terminal_columns(self._descriptor)

    async def write(self, lines: bytes) -> None:
        """Write whole lines. Raises StdoutClosed when nobody reads any more, or there is no room for more."""
        self.before_write()
        begun = time.monotonic_ns()
        try:
            _write_all(self._descriptor, lines)
        except OSError as error:  # part of it may be written: to try again would write that twice
            self.ended = error
            raise StdoutClosed(*error.args) from None
        finally:
            self.waited_ns += time.monotonic_ns() - begun


class PipeWriter:
    """A worker's way to its parent's standard output."""

    def __init__(self, descriptor: int, isatty: bool, columns: int = 0) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self.isatty = isatty
        self.columns = columns

    async def write(self, lines: bytes) -> None:
        """Write whole lines, waiting while the parent is slow. Raises StdoutClosed when nobody reads any more."""
        view = memoryview(lines)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                await self._writable()
            except BrokenPipeError as error:
                raise StdoutClosed(*error.args) from None

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._descriptor)


class LineMerger:
    """Copies whole lines from the workers' pipes to standard output, in a thread: a slow reader holds up neither parent
    nor capture. ``ended`` is why no more can be written.
    """

    def __init__(self, descriptor: int = 1, on_closed: Callable[[], object] = lambda: None) -> None:
        self.ended: OSError | None = None
        self._out = descriptor
        self._on_closed = on_closed
        self.before_write: Callable[[], None] = lambda: None
        self._tails: dict[int, bytearray] = {}
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        self._ending = False
        self._thread = threading.Thread(
            target=keep_thread, args=("output:merge", self._copy), name="otus-stdout", daemon=True
        )
        self._thread.start()

    def pipe(self) -> int:
        """Make a pipe; gives the end for a worker, which the caller closes once the worker has it."""
        reader, writer = os.pipe()
        with contextlib.suppress(OSError):  # its user has many pipes already (pipe-user-pages-soft): it stays small
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        with self._lock:
            self._tails[reader] = bytearray()
        os.write(self._wake_write, b"+")
        return writer

    def close(self, timeout: float) -> bool:
        """Write what the pipes still hold, until their workers have closed them, for at most ``timeout`` seconds; says
        whether all is written.
        """
        if not self._ending:
            self._ending = True
            os.write(self._wake_write, b".")
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _copy(self) -> None:
        while True:
            with self._lock:
                readers = list(self._tails)
            if self._ending and not readers:
                return
            for reader in _readable(self._wake_read, *readers):
                if reader == self._wake_read:
                    os.read(reader, 64)
                else:
                    self._take(reader)

    def _take(self, reader: int) -> None:
        tail = self._tails[reader]
        data = os.read(reader, READ_BYTES)
        # Whole lines only: beyond PIPE_BUF bytes a pipe keeps nobody's writes together (pipe(7)), and lines of several
        # workers would mix. What a worker that has ended left without a newline goes out as it is.
        end = data.rfind(b"\n") + 1 if len(tail) + len(data) < LINE_MAX and data else len(data)
        try:
            if end or (tail and not data):
                self.before_write()
                _write_all(self._out, tail)
                _write_all(self._out, memoryview(data)[:end])
                tail.clear()
        except OSError as error:
            self.ended = error
            self._forget_all()
            self._on_closed()
            return
        tail += memoryview(data)[end:]
        if not data:
            self._forget(reader)

    def _forget(self, reader: int) -> None:
        with self._lock:
            self._tails.pop(reader, None)
        os.close(reader)

    def _forget_all(self) -> None:
        for reader in list(self._tails):
            self._forget(reader)


def _readable(*descriptors: int) -> list[int]:
    """Wait until some can be read. ``select`` would refuse a descriptor beyond 1,023, which a busy daemon has."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll()]


def _write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # standard output was handed to us non-blocking
            select.select([], [descriptor], [])
