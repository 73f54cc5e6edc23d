"""The capturer ``pcap``: reads capture files one after another and gives the frames of its shard.

A damaged file gives what lies before the damage, then one error, which shard 0 alone reports; then comes the next file.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from typing import Any

import otus_core
from otus_core import CaptureError, CaptureStats, FrameBatch
from otus_pcap.chunk import Chunk
from otus_pcap.config import PcapConfig
from otus_pcap.pace import Pace
from otus_pcap.reading import Reading, Step, show_name
from otus_pcap.select import Selection
from otus_pcap.source import STDIN, open_file, size_of

CHUNK_SIZE = 256 * 1024
"""Bytes read at a time for each worker: few enough to be in the processor's caches still when the decoder comes to
them, enough that what is done once for each chunk costs little.
"""
CHUNK_SHARDS = 4
"""Beyond so many workers a chunk has fewer frames for each, and does not grow."""
CHUNKS_A_READ = 4
"""Chunks that one ``read`` may go through without a frame to give, before others get their turn."""
OPEN_AHEAD = 512
"""Most files that are opened before a worker gives up its rights: half of the descriptors that a shell gives, and never
more than half of those there are.
"""
RECORD_SIZE = 32
"""Bytes of one index record, of which the first eight are the time."""


class PcapCapturer(otus_core.BaseCapturer):
    """Gives the frames of capture files.

    ``stats().received`` counts what was given: frames of this shard that the filter accepted.
    """

    def __init__(self, config: PcapConfig) -> None:
        self._config = config
        self._coming = _names(config)[::-1]
        self._held: dict[str, int] = {}
        self._pace = Pace(config.speed) if config.speed else None
        self._chunk = Chunk(CHUNK_SIZE)
        self._selection = Selection()
        self._reading: Reading | None = None
        self._waiting = False
        self._reports = True
        self._given = 0
        self._received = 0
        self._consumed = 0
        self._consumed_before = 0
        self._total: int | None = None

    @classmethod
    def acquire(cls, config: PcapConfig, shard: int, shards: int, state: dict[str, Any]) -> list[int]:
        """Open the files, as many as may be open; -1 stands for one that cannot be opened, and has its error when its
        turn comes.
        """
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        ahead = OPEN_AHEAD if most == resource.RLIM_INFINITY else min(OPEN_AHEAD, most // 2)
        return [_open(name) for name in _names(config)[:ahead]]

    def open(self, shard: int = 0, shards: int = 1, fds: Sequence[int] = ()) -> None:
        """Take this worker's share of the files. Raises CaptureError when they cannot be shared, and BpfInvalid."""
        if not self._coming:
            raise CaptureError("pcap", "no file is given: name one in `files`")
        self._hold(fds)
        sizes = {name: size_of(name, self._held.get(name)) for name in self._coming}
        pipe = next((name for name, size in sizes.items() if size is None), None)
        if pipe is None:
            self._total = sum(size for name in self._coming if (size := sizes[name]))
        elif shards > 1:
            raise CaptureError(show_name(pipe), "only one worker can read it: use `workers: 1`")
        filtered = bool(self._config.bpf_filter.strip())
        if filtered:
            otus_core.compile_bpf(self._config.bpf_filter)
        self._reports = shard == 0
        if shards > 1:
            self._chunk = Chunk(CHUNK_SIZE * min(shards, CHUNK_SHARDS))
        self._selection = Selection(shard, shards, self._compile if filtered else None)

    def _hold(self, descriptors: Sequence[int]) -> None:
        """Take what ``acquire`` opened; of a file that is named twice the second is opened when its turn comes."""
        for name, descriptor in zip(reversed(self._coming), descriptors, strict=False):
            if descriptor >= 0 and self._held.setdefault(name, descriptor) != descriptor:
                os.close(descriptor)

    def _compile(self, link_type: int) -> bytes:
        return otus_core.compile_bpf(self._config.bpf_filter, link_type, widen=self._config.bpf_fragments)

    def read(self) -> FrameBatch | None:
        """Give the next frames that are due. Raises CaptureError, after which reading goes on with the next file."""
        if self._given < self._selection.count:
            return self._give()
        self._selection.clear()
        self._given = 0
        self._consumed_before = self._count_consumed()
        for _ in range(CHUNKS_A_READ):
            if self._reading is None and not self._coming:
                return None
            self._advance()
            if self._selection.count:
                return self._give()
            if self._waiting:
                break
        return FrameBatch(b"", b"")

    def _advance(self) -> None:
        """Go on in the file, or to the next one."""
        try:
            if self._reading is None:
                name = self._coming.pop()
                self._reading = Reading(name, self._chunk, self._selection, self._held.pop(name, None))
            step = self._reading.advance()
        except CaptureError:
            self._leave()
            if self._reports:
                raise
            return
        self._waiting = step is Step.WAITING and self._reading.source.waits
        if step is Step.ENDED:
            self._leave()

    def _leave(self) -> None:
        self._waiting = False
        if self._reading is not None:
            self._consumed += self._reading.source.consumed
            self._reading.close()
            self._reading = None

    def _give(self) -> FrameBatch:
        """Give what is in the selection and due."""
        begin, end = self._given, self._selection.count
        if self._pace is not None:
            end = begin + self._pace.due(self._times(), begin, end)
        self._given = end
        self._received += end - begin
        return FrameBatch(self._chunk.buffer, memoryview(self._selection.index)[begin * RECORD_SIZE :], end - begin)

    def _times(self) -> memoryview[int]:
        return memoryview(self._selection.index).cast("q")[:: RECORD_SIZE // 8]

    def fileno(self) -> int | None:
        """Descriptor of the pipe that is being waited for."""
        return self._reading.source.fileno() if self._waiting and self._reading is not None else None

    def wait_hint(self) -> float | None:
        """Seconds until the next frame is due; 0 where there is more to read, ``None`` while a pipe is waited for."""
        if self._given < self._selection.count and self._pace is not None:
            return self._pace.wait(self._times()[self._given])
        return None if self._waiting else 0.0

    def progress(self) -> float | None:
        """How much of the files has been given; ``None`` where one of them is a pipe."""
        if self._total is None:
            return None
        consumed, count = self._count_consumed(), self._selection.count
        if count:  # at the recorded pace what has been read waits for a long time
            consumed -= (consumed - self._consumed_before) * (count - self._given) // count
        return min(1.0, consumed / self._total) if self._total else 1.0

    def _count_consumed(self) -> int:
        return self._consumed + (self._reading.source.consumed if self._reading is not None else 0)

    def stats(self) -> CaptureStats:
        """Count the frames given."""
        return CaptureStats(received=self._received)

    def close(self) -> None:
        """Close the file that is being read."""
        self._coming.clear()
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()
        self._leave()


def _names(config: PcapConfig) -> list[str]:
    return [config.files] if isinstance(config.files, str) else list(config.files)


def _open(name: str) -> int:
    try:
        return -1 if name == STDIN else open_file(name)
    except (OSError, ValueError):
        return -1
