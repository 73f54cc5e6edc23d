"""One file of a spool: records behind each other, each with its length and CRC-32, only ever added to.

In: records (bytes). Out: the same, in order, and how many were damaged. A segment that is written to is named
``BORN.open``; a finished one ``BORN-COUNT.spool``, so that it is known how many records a damaged one held. No record
is empty: a power cut may leave zeros behind what was written, and they would be read as records. Raises OSError.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from otus_core.values import frozen

MAGIC = b"OTUSSPL1"
"""The last character is the format's version."""
FRAME = struct.Struct("<II")
"""Before each record: its length, and the CRC-32 of its bytes."""
RECORD_MAX = 64 << 20
"""No output is as large: a length beyond it is damage."""
READ_BYTES = 1 << 20
"""A thousand messages of 1 KiB in one read; a record that is larger is read by itself."""
NAME = re.compile(r"(?P<born>\d{20})(?:-(?P<count>\d{1,10})\.spool|\.open)\Z")
"""Twenty digits hold 64 bits, so that names sort by age."""
FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


@frozen
class Piece:
    """Records read in one go.

    ``seen`` counts damaged ones too; ``end`` is the offset behind them. ``broken``: what follows cannot be read.
    """

    records: list[bytes]
    seen: int
    end: int
    broken: bool


class Segment:
    """One file.

    ``count`` records have been written, of which the first ``done`` need not be read again; ``done_offset`` is where
    the others begin.
    """

    def __init__(self, folder: Path, born: int, path: Path, count: int, size: int) -> None:
        self.folder = folder
        self.born = born
        self.count = count
        self.size = size
        self.settled = 0
        self.done = 0
        self.done_offset = len(MAGIC)
        self.is_damaged = False
        self.is_open = False
        self.is_unsynced = False
        self._path = path
        self._descriptor = -1
        self._ends: dict[int, tuple[int, int]] = {}

    @classmethod
    def create(cls, folder: Path, born: int) -> Segment:
        """Begin a new file, readable by its owner alone."""
        path = folder / f"{born:020d}.open"
        made = cls(folder, born, path, 0, len(MAGIC))
        # O_EXCL: a name that is taken would be another process's file. O_NOFOLLOW: nobody puts a link there (open(2)).
        made._descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | FLAGS, 0o600)
        made.is_open = True
        os.write(made._descriptor, MAGIC)
        return made

    @classmethod
    def find(cls, path: Path) -> Segment | None:
        """Take up a file that is there already; ``None`` for one that is no segment.

        What a crash left half written is cut off.
        """
        named = NAME.match(path.name)
        if named is None:
            return None
        made = cls(path.parent, int(named["born"]), path, int(named["count"] or 0), path.lstat().st_size)
        if path.open("rb").read(len(MAGIC)) != MAGIC:
            made.is_damaged, made.size = True, len(MAGIC)  # nothing in it can be read
        if named["count"] is None:
            made._take_up()
        return made

    def _take_up(self) -> None:
        """Count what another process was writing when it died."""
        self._descriptor = os.open(self._path, os.O_RDWR | FLAGS)
        self.is_open = True
        at, seen = len(MAGIC), 0
        while at < self.size:
            piece = self.read(at, 1 << 16)
            at, seen = piece.end, seen + piece.seen
            if piece.broken or not piece.seen:
                break
        # At the first record that is not whole: a kill in the middle of a write leaves half of one, which never
        # counted.
        if at < self.size:
            os.ftruncate(self._descriptor, at)
        self.size, self.count = max(at, len(MAGIC)), seen
        self.finish()

    def append(self, records: Sequence[bytes]) -> int:
        """Add records, all or none; gives the offset behind them."""
        data = b"".join(part for record in records for part in (FRAME.pack(len(record), zlib.crc32(record)), record))
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            # A full disk takes a part of a write (write(2)): half a record would make all behind it unreadable.
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)
        self.count += len(records)
        self.is_unsynced = True
        return self.size

    def finish(self) -> None:
        """Write no more."""
        if self.is_open:
            self.is_open = False
            path = self.folder / f"{self.born:020d}-{self.count}.spool"
            os.rename(self._path, path)
            self._path = path

    def read(self, offset: int, most: int) -> Piece:
        """Read up to ``most`` records from an offset on, about a megabyte of them at most."""
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDONLY | FLAGS)
        data = os.pread(self._descriptor, READ_BYTES, offset)
        records: list[bytes] = []
        at = seen = 0
        while seen < most and len(data) - at >= FRAME.size:
            size, checksum = FRAME.unpack_from(data, at)
            # A length that cannot be: nothing tells where the next record begins, so the rest of the file is given up.
            if not size or size > RECORD_MAX or offset + at + FRAME.size + size > self.size:
                return Piece(records, seen, offset + at, True)
            if len(data) - at - FRAME.size < size:
                if seen:
                    break
                data = os.pread(self._descriptor, FRAME.size + size, offset)
            record = data[at + FRAME.size : at + FRAME.size + size]
            at += FRAME.size + size
            seen += 1
            if zlib.crc32(record) == checksum:
                records.append(record)
            else:
                self.is_damaged = True
        return Piece(records, seen, offset + at, not seen and offset < self.size)

    def take_unsynced(self) -> int | None:
        """Give a descriptor of this file, for the caller to sync and close, if it has been written to since the last
        time.
        """
        if not self.is_unsynced or self._descriptor < 0:
            return None
        descriptor = os.dup(self._descriptor)  # where there is none to be had it stays to be synced
        self.is_unsynced = False
        return descriptor

    def settle(self, first: int, end: int, offset: int) -> None:
        """Records ``first`` to ``end`` need not be read again; ``offset`` is behind them."""
        self.settled += end - first
        self._ends[first] = (end, offset)
        while self.done in self._ends:
            self.done, self.done_offset = self._ends.pop(self.done)

    def skip(self, done: int, offset: int) -> None:
        """An earlier process was done with so many records."""
        self.done = self.settled = done
        self.done_offset = offset

    def remove(self) -> None:
        """Have done with this file. One in which something was damaged is set aside for whoever wants to look at it."""
        self.close()
        if self.is_damaged:
            os.replace(self._path, self._path.with_suffix(".damaged"))
        else:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
