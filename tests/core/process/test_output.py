"""The pipes of workers, whose lines one process writes: what goes in comes out, in whole lines."""

from __future__ import annotations

import fcntl
import os
import select

from otus_core.process.output import PIPE_BYTES, LineMerger
from tests.patience import wait


def test_a_workers_pipe_takes_what_a_slice_of_capture_makes() -> None:
    """Live, a worker comes back to a full pipe only after a slice: with 64 KiB most of its JSON was dropped."""
    merger = LineMerger(null := os.open(os.devnull, os.O_WRONLY))
    worker = merger.pipe()
    assert fcntl.fcntl(worker, fcntl.F_GETPIPE_SZ) == PIPE_BYTES
    os.close(worker)
    assert merger.close(10)
    os.close(null)


def test_lines_of_two_workers_stay_whole() -> None:
    """One comes in parts, another in the middle of it; what a worker that has ended left goes out as it is."""
    reader, writer = os.pipe()
    merger = LineMerger(writer)
    one, other = merger.pipe(), merger.pipe()
    written = b""

    def shown(expected: bytes) -> bool:
        nonlocal written
        while select.select([reader], [], [], 0)[0]:
            written += os.read(reader, 65536)
        return written == expected

    os.write(one, b"a" * 3)
    os.write(other, b"whole\nbegun")
    wait(lambda: shown(b"whole\n"))
    os.write(one, b"b\nc")
    wait(lambda: shown(b"whole\naaab\n"))
    os.close(other)
    wait(lambda: shown(b"whole\naaab\nbegun"))
    os.close(one)
    assert merger.close(10)
    assert shown(b"whole\naaab\nbegunc")
    os.close(reader)
    os.close(writer)
