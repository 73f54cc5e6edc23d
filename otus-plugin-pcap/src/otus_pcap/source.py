"""Opens what is to be read and gives its bytes, decompressed: plain files, gzip, pipes and standard input.

In: names. Out: ``fill(room)``, which puts bytes into a buffer. Raises OSError for what the system refuses and
``Damaged`` for bad gzip data.
"""

from __future__ import annotations

import io
import os
import select
import stat
import zlib

STDIN = "-"
GZIP_MAGIC = b"\x1f\x8b"
COMPRESSED_READ = 16384
"""Bytes of compressed input taken at a time; what they become is bounded by the room, so a bomb is only a long file."""
EMPTY_MEMBERS_A_FILL = 256
"""Gzip members may hold nothing; after so many of them others get their turn."""


class Damaged(Exception):
    """The compressed data is damaged; ``offset`` is where, in the compressed file."""

    def __init__(self, reason: str, offset: int) -> None:
        self.reason = reason
        self.offset = offset
        super().__init__(reason)


class Source:
    """One open file or pipe."""

    def __init__(self, name: str, descriptor: int | None = None) -> None:
        """Open it, unless it is open already. Raises OSError."""
        self.name = name
        self._file = io.FileIO(0, closefd=False) if name == STDIN else io.FileIO(descriptor or name, opener=open_file)
        mode = os.fstat(self._file.fileno()).st_mode
        self.waits = not stat.S_ISREG(mode)
        """Whether bytes may take their time to come: a pipe, a terminal, a socket."""
        self.consumed = 0
        """Bytes read of the file as it is stored."""
        self._gzip: _Gzip | None = None
        self._begun = False
        self._head = b""

    @property
    def compressed(self) -> bool:
        """Whether it has turned out to be gzip data."""
        return self._gzip is not None

    def fileno(self) -> int:
        """Descriptor to wait on."""
        return self._file.fileno()

    def fill(self, room: memoryview) -> int | None:
        """Put the next bytes into ``room``; gives how many, 0 at the end, ``None`` when none are there yet.

        Raises OSError and Damaged.
        """
        if not self._begun and not self._begin():
            return None
        if self._gzip is not None:
            return self._gzip.fill(room)
        if not self._head:
            return self.read_into(room)
        count = min(len(room), len(self._head))
        room[:count], self._head = self._head[:count], self._head[count:]
        return count

    def _begin(self) -> bool:
        """Find out whether it is compressed, which the first two bytes tell."""
        while len(self._head) < len(GZIP_MAGIC):
            buffer = bytearray(len(GZIP_MAGIC) - len(self._head))
            count = self.read_into(memoryview(buffer))
            if count is None:
                return False
            if count == 0:
                break
            self._head += buffer[:count]
        self._begun = True
        if self._head == GZIP_MAGIC:
            self._gzip = _Gzip(self, self._head)
        return True

    def read_into(self, room: memoryview) -> int | None:
        """Read stored bytes, without waiting for them."""
        if self.waits and not _readable(self._file.fileno()):
            return None
        count = self._file.readinto(room)
        self.consumed += count or 0
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Gzip:
    """Decompresses a gzip stream of any number of members (RFC 1952 §2.2)."""

    def __init__(self, source: Source, head: bytes) -> None:
        self._source = source
        self._pending = head
        self._kept = b""
        self._member = zlib.decompressobj(wbits=31)
        self._buffer = bytearray(COMPRESSED_READ)
        self._ended = False

    def fill(self, room: memoryview) -> int | None:
        """Put the next decompressed bytes into ``room``, as ``Source.fill`` does."""
        for _ in range(EMPTY_MEMBERS_A_FILL):
            if not self._pending:
                count = self._source.read_into(memoryview(self._buffer))
                if count is None:
                    return None
                if count == 0:
                    return self._end()
                self._pending = self._kept + self._buffer[:count]
                self._kept = b""
            made = self._decompress(len(room))
            if made:
                room[: len(made)] = made
                return len(made)
        return None

    def _decompress(self, limit: int) -> bytes:
        """Take from what is pending; gives up to ``limit`` bytes."""
        if self._member.eof and not self._next_member():
            return b""
        try:
            made = self._member.decompress(self._pending, limit)
        except zlib.error as error:
            raise Damaged(f"the gzip data is damaged ({error})", self._offset()) from None
        self._pending = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return made

    def _next_member(self) -> bool:
        """Begin the next member, past the zeros that may pad the last one (as gzip itself does)."""
        self._pending = self._pending.lstrip(b"\0")
        if len(self._pending) < len(GZIP_MAGIC):
            self._pending, self._kept = b"", self._pending
            return False
        if not self._pending.startswith(GZIP_MAGIC):
            raise Damaged("something else follows the gzip data", self._offset())
        self._member = zlib.decompressobj(wbits=31)
        return True

    def _offset(self) -> int:
        return self._source.consumed - len(self._pending)

    def _end(self) -> int:
        if self._kept or not self._member.eof:
            raise Damaged("the gzip data ends too early", self._source.consumed)
        return 0


def open_file(name: str, flags: int = os.O_RDONLY | os.O_CLOEXEC) -> int:
    """Open a file, or a named pipe. Raises OSError."""
    # Without O_NONBLOCK opening a named pipe would wait for its writer; reading polls first either way.
    return os.open(name, flags | os.O_NONBLOCK)


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def size_of(name: str, descriptor: int | None = None) -> int | None:
    """Bytes of a regular file; ``None`` for what has no size."""
    if name == STDIN:
        return None
    try:
        status = os.stat(descriptor or name)
    except (OSError, ValueError):  # what cannot be opened has its error when its turn comes
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else None
