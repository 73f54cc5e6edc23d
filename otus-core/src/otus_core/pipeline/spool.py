"""A queue of records on disk, oldest first, that survives its process: the store of one reporter in one worker.

In: records (bytes). Out: ``Range``s of them, to be settled in any order. The folder of a worker holds segments
(``segments``), a lock, and a ``position``: how much of the oldest segment is done, and how many records beyond that
were given out, which a new process gives out again. What is written survives a kill -9, and a power cut once the
descriptors that ``take_unsynced`` gives have been synced. Raises SpoolError where the folder cannot be used, OSError
where writing fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from otus_core.errors import OtusError
from otus_core.folders import make_folder
from otus_core.pipeline.segments import FLAGS, FRAME, MAGIC, Segment
from otus_core.values import define, frozen

SEGMENTS = 16
"""A full spool gives up its oldest segment, one part in so many."""
SEGMENT_BYTES = (1 << 16, 16 << 20)
"""Smallest and largest segment: below, a file costs more than what is in it; above, giving one up loses too much."""
DAMAGED_MAX = 4
"""So many damaged segments are kept."""
LOCK_WITHIN_S = 3.0
"""A worker that was killed a moment ago may still hold the lock."""


class SpoolError(OtusError):
    """A spool's folder cannot be used."""


@frozen
class SpoolLimits:
    """``max_age`` is in seconds."""

    max_bytes: int
    max_age: float


@define(eq=False)
class Range:
    """Records that were given out together: ``seen`` of a segment from number ``first`` on, damaged ones included.

    ``is_gone``: the spool has given them up meanwhile.
    """

    segment: Segment
    first: int
    seen: int
    end: int
    records: list[bytes]
    is_gone: bool = False


class Spool:
    """The spool of one worker.

    ``on_lost(reason, n)`` hears of records that are given up: ``spool_full``, ``spool_expired`` or ``spool_damaged``;
    ``on_gone(range)`` of those among them that are given out at the time, which are not counted as lost.
    """

    def __init__(
        self,
        path: Path,
        worker: int,
        workers: int,
        limits: SpoolLimits,
        *,
        on_lost: Callable[[str, int], None],
        on_gone: Callable[[Range], None],
    ) -> None:
        self._path = path
        self._folder = path / f"worker-{worker}"
        self._worker, self._workers = worker, workers
        self._limits = limits
        self._on_lost = on_lost
        self._on_gone = on_gone
        self._locks: list[int] = []
        self._positions: dict[Path, int] = {}
        self._segments: list[Segment] = []
        self._given: list[Range] = []
        self._unsynced: set[Path] = set()
        self._read_at: tuple[int, int, int] = (0, 0, len(MAGIC))
        low, high = SEGMENT_BYTES
        self._segment_bytes = min(max(limits.max_bytes // SEGMENTS, low), high)

    @property
    def bytes_held(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def count(self) -> int:
        """Records on disk that are not settled, those that are given out included."""
        return sum(segment.count - segment.settled for segment in self._segments)

    @property
    def waiting(self) -> int:
        """Records that can be given out."""
        return self.count - sum(given.seen for given in self._given)

    def open(self) -> int:
        """Take up what is there; gives how many records an earlier process had given out and not settled.

        Raises SpoolError.
        """
        resent = 0
        try:
            for folder in (self._folder, *self._orphans()):
                resent += self._take_up(folder)
        except OSError as error:
            self.close()
            raise SpoolError(f"spool {self._folder}: {error.strerror}") from error
        self._segments.sort(key=lambda segment: segment.born)
        self._rewind()
        return min(resent, self.count)

    def close(self) -> None:
        """Let go of the folder; what is in it stays."""
        for segment in self._segments:
            with contextlib.suppress(OSError):
                self._finish(segment)
        with contextlib.suppress(OSError):
            sync(self.take_unsynced())
        for segment in self._segments:
            segment.close()
        self._segments = []
        for descriptor in (*self._positions.values(), *self._locks):
            os.close(descriptor)
        self._positions, self._locks = {}, []

    def take_unsynced(self) -> list[int]:
        """Give descriptors of what has been written to since the last time, files and folders, for the caller to sync
        and close. Raises OSError where there is not even one to be had; the rest is given the next time.
        """
        found: list[int] = []
        try:
            for segment in self._segments:
                descriptor = segment.take_unsynced()
                if descriptor is not None:
                    found.append(descriptor)
            for folder in tuple(self._unsynced):
                with contextlib.suppress(FileNotFoundError):
                    found.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                self._unsynced.remove(folder)
        except OSError:
            if not found:
                raise
        return found

    def fits(self, records: Sequence[bytes]) -> bool:
        """Whether there is room without giving anything up."""
        return self.bytes_held + _size(records) <= self._limits.max_bytes

    def append(self, records: Sequence[bytes]) -> Range:
        """Write records behind all others; where there is no room the oldest segment is given up first.

        Raises OSError.
        """
        self._make_room(_size(records))
        segment = self._segments[-1] if self._segments else None
        if segment is None or not segment.is_open or segment.size >= self._segment_bytes or self._is_old(segment):
            if segment is not None:
                self._finish(segment)
            segment = self._new_segment()
        first = segment.count
        end = segment.append(records)
        return Range(segment, first, len(records), end, [])

    def give_out(self, written: Range) -> None:
        """Records that were just written are with the reporter already: they are not given out again."""
        self._given.append(written)
        self._read_at = (written.segment.born, written.first + written.seen, written.end)
        self._note_position(written.segment.folder)

    def take(self, most: int) -> Range | None:
        """Give out the next records, ``None`` when there are none. What cannot be read is given up and counted."""
        while self.waiting > 0:
            segment, first, offset = self._next()
            piece = segment.read(offset, min(most, segment.count - first))
            seen = segment.count - first if piece.broken or not piece.seen else piece.seen
            lost = seen - len(piece.records)
            given = Range(segment, first, seen, piece.end, piece.records)
            self._read_at = (segment.born, first + seen, piece.end)
            if lost:
                segment.is_damaged = True
                self._on_lost("spool_damaged", lost)
            if piece.records:
                self._given.append(given)
                self._note_position(segment.folder)
                return given
            self._settle(given)
        return None

    def settle(self, given: Range) -> None:
        """Every record of a range has its fate."""
        # Else the spool has given it up meanwhile, and its records are counted already.
        if given in self._given:
            self._given.remove(given)
            self._settle(given)

    def expire(self) -> None:
        """Give up segments that are older than ``max_age``."""
        while self._segments and self._is_expired(self._segments[0]):
            self._give_up(self._segments[0], "spool_expired")

    def _settle(self, given: Range) -> None:
        segment = given.segment
        segment.settle(given.first, given.first + given.seen, given.end)
        if not self.count:
            for one in list(self._segments):
                self._remove(one)
        elif segment.settled >= segment.count and not segment.is_open:
            self._remove(segment)
        else:
            self._note_position(segment.folder)

    def _next(self) -> tuple[Segment, int, int]:
        """Give where to read: segment, number of the record, offset."""
        born, first, offset = self._read_at
        for segment in self._segments:
            if segment.born == born and first < segment.count:
                return segment, first, offset
            if segment.born > born:
                return segment, segment.done, segment.done_offset
        raise IndexError("nothing waits")

    def _rewind(self) -> None:
        if self._segments:
            first = self._segments[0]
            self._read_at = (first.born, first.done, first.done_offset)

    def _new_segment(self) -> Segment:
        # Names are the order: a clock that was set back must not put a new segment before an older one.
        born = max(time.time_ns(), self._segments[-1].born + 1 if self._segments else 0)
        segment = Segment.create(self._folder, born)
        self._segments.append(segment)
        self._unsynced.add(self._folder)
        return segment

    def _finish(self, segment: Segment) -> None:
        segment.finish()
        self._unsynced.add(segment.folder)

    def _make_room(self, size: int) -> None:
        while self._segments and self.bytes_held + size > self._limits.max_bytes:
            self._give_up(self._segments[0], "spool_full")

    def _is_old(self, segment: Segment) -> bool:
        """Whether a segment has been written to for so long that its first and last record would expire
        too far apart.
        """
        return time.time_ns() - segment.born > self._limits.max_age / SEGMENTS * 1e9

    def _is_expired(self, segment: Segment) -> bool:
        return time.time_ns() - segment.born > self._limits.max_age * 1e9

    def _give_up(self, segment: Segment, reason: str) -> None:
        """Forget a segment; what is given out of it is only in memory from now on."""
        gone = [given for given in self._given if given.segment is segment]
        self._given = [given for given in self._given if given.segment is not segment]
        lost = segment.count - segment.settled - sum(given.seen for given in gone)
        for given in gone:
            given.is_gone = True
            self._on_gone(given)
        self._remove(segment)
        if lost:
            self._on_lost(reason, lost)

    def _remove(self, segment: Segment) -> None:
        with contextlib.suppress(OSError):
            segment.finish()
        with contextlib.suppress(OSError):
            segment.remove()
        self._segments.remove(segment)
        if segment.is_damaged:
            for old in sorted(segment.folder.glob("*.damaged"))[:-DAMAGED_MAX]:
                old.unlink(missing_ok=True)
        self._note_position(segment.folder)

    def _orphans(self) -> list[Path]:
        """Give the folders of workers that there are no more, as far as they are ours: a task may have been given
        fewer.
        """
        found = []
        for folder in sorted(self._path.glob("worker-*")):
            number = folder.name.removeprefix("worker-")
            # Each by exactly one of the workers that there are now: by the remainder.
            if number.isdecimal() and int(number) >= self._workers and int(number) % self._workers == self._worker:
                found.append(folder)
        return found

    def _take_up(self, folder: Path) -> int:
        for one in (self._path, folder):
            make_folder(one, 0o700)
        self._unsynced |= {folder, self._path}
        self._lock(folder)
        mine = []
        for path in sorted(folder.iterdir()):
            segment = Segment.find(path)
            if segment is not None:
                mine.append(segment)
        mine.sort(key=lambda segment: segment.born)
        self._segments += mine
        self._positions[folder] = os.open(folder / "position", os.O_RDWR | os.O_CREAT | FLAGS, 0o600)
        given = self._heed_position(folder, mine)
        for segment in [one for one in mine if one.settled >= one.count]:
            self._remove(segment)
        return given

    def _lock(self, folder: Path) -> None:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | FLAGS, 0o600)
        self._locks.append(descriptor)
        until = time.monotonic() + LOCK_WITHIN_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
                    raise SpoolError(
                        f"spool {folder} is in use by process {holder}: give each reporter its own path"
                    ) from None
                time.sleep(0.02)
        # Written once the lock is held, for whoever is refused: it is no more than a hint of whom to ask.
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)

    def _note_position(self, folder: Path) -> None:
        """Write down how far the oldest segment is done, and how much is given out."""
        descriptor = self._positions.get(folder)
        if descriptor is None:
            return
        oldest = next((segment for segment in self._segments if segment.folder == folder), None)
        given = sum(one.seen for one in self._given if one.segment.folder == folder)
        told = (0, 0, len(MAGIC)) if oldest is None else (oldest.born, oldest.done, oldest.done_offset)
        line = b"%020d %012d %012d %012d " % (*told, given)
        with contextlib.suppress(OSError):  # an old position costs messages that are sent twice, no more
            os.pwrite(descriptor, line + b"%08x\n" % zlib.crc32(line), 0)

    def _heed_position(self, folder: Path, mine: Sequence[Segment]) -> int:
        """Skip what an earlier process was done with; gives how much it had given out."""
        data = os.pread(self._positions[folder], 200, 0)
        line, checksum = data[:-9], data[-9:]
        if not mine or checksum != b"%08x\n" % zlib.crc32(line):
            return 0
        born, done, offset, given = map(int, line.split())
        oldest = mine[0]
        if oldest.born == born and done <= oldest.count and offset <= oldest.size:
            oldest.skip(done, offset)
        return given


def sync(descriptors: Sequence[int]) -> None:
    """Bring files and folders to the disk, and close their descriptors: takes its time, and belongs into a thread.

    Raises OSError.
    """
    try:
        for descriptor in descriptors:
            os.fsync(descriptor)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _size(records: Sequence[bytes]) -> int:
    return sum(map(len, records)) + FRAME.size * len(records)
