"""One file on its way: bytes from the source into the chunk, records from the chunk into the selection.

In: a name. Out: ``advance``, again and again; what it finds is in the selection. Raises CaptureError, with the place,
when the file is damaged.
"""

from __future__ import annotations

import enum
import os

from otus_core import CaptureError, printable
from otus_pcap.chunk import Chunk
from otus_pcap.formats import MAGIC_SIZE, Walker, walker_for, why_not
from otus_pcap.select import Selection
from otus_pcap.source import STDIN, Damaged, Source

NAME_SHOWN_MAX = 1024


class Step(enum.Enum):
    """What ``advance`` did."""

    MOVED = "moved"
    WAITING = "waiting"
    ENDED = "ended"


def show_name(name: str) -> str:
    """Give a file's name as it may be shown."""
    return "standard input" if name == STDIN else printable(name, NAME_SHOWN_MAX)


class Reading:
    """One file that is being read."""

    def __init__(self, name: str, chunk: Chunk, selection: Selection, descriptor: int | None = None) -> None:
        """Open the file. Raises CaptureError."""
        self._name = name
        self._chunk = chunk
        self._selection = selection
        self._walker: Walker | None = None
        chunk.reset()
        try:
            self.source = Source(name, descriptor)
        except (OSError, ValueError) as error:
            raise self._refuse(error) from None

    def advance(self) -> Step:
        """Walk what is there, and when nothing was found, read the next bytes. Raises CaptureError."""
        try:
            if self._walker is not None:
                if self._walk(self._walker):
                    return Step.MOVED
                self._check(self._walker)
            count = self.source.fill(self._chunk.room())
        except Damaged as error:
            raise CaptureError(show_name(self._name), error.reason, error.offset, fatal=False) from None
        except OSError as error:
            raise self._refuse(error) from None
        if count is None:
            return Step.WAITING
        self._chunk.filled(count)
        return self._begin(ended=count == 0) if self._walker is None else self._go_on(self._walker, ended=count == 0)

    def _walk(self, walker: Walker) -> bool:
        """Walk what is there, until something is found that is given; says whether that is so."""
        more = True
        while more and not self._selection.count:
            walker.walk()
            more = self._selection.narrow(self._chunk)
        return self._selection.count > 0

    def _begin(self, ended: bool) -> Step:
        """Find out the format, as soon as enough is there."""
        head = self._chunk.head(16)
        if len(head) >= MAGIC_SIZE or ended:
            self._walker = walker_for(head, self._chunk, self._selection)
            if self._walker is None:
                raise CaptureError(show_name(self._name), why_not(head), 0, fatal=False)
        return Step.MOVED

    def _go_on(self, walker: Walker, ended: bool) -> Step:
        if not ended:
            return Step.MOVED
        walker.end()
        self._check(walker)
        return Step.ENDED

    def _check(self, walker: Walker) -> None:
        if walker.fault is not None:
            reason, offset = walker.fault
            if self.source.compressed:
                reason += " (the offset is of the decompressed data)"
            raise CaptureError(show_name(self._name), reason, offset, fatal=False)

    def _refuse(self, error: OSError | ValueError) -> CaptureError:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else printable(str(error))
        return CaptureError(show_name(self._name), f"cannot be read: {reason}", fatal=False)

    def close(self) -> None:
        """Close the file."""
        self.source.close()
