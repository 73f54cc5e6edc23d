"""Copies chosen frames of capture files into one pcapng file, as they were captured.

Each file is read twice: once to find the frames (a piece of a datagram, or a segment that came early, is known to
belong only when later frames have been seen), and once to copy them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import attrs

from otus_calls.extract.choice import Choice, Search
from otus_calls.extract.files import CaptureFile


@attrs.frozen
class Copied:
    """How many frames were copied, and how many captured bytes they are."""

    frames: int
    size: int


def copy_frames(files: Sequence[str], choice: Choice, out: IO[bytes], tunnels: Iterable[str] = ()) -> Copied:
    """Write the frames that belong to the choice, in their order. Raises OSError and ValueError."""
    frames = size = 0
    for path in files:
        numbers = _search(path, choice, tunnels)
        for block, captured in _blocks(path, numbers):
            out.write(block)
            frames += captured > 0
            size += captured
    return Copied(frames, size)


def _search(path: str, choice: Choice, tunnels: Iterable[str]) -> set[int]:
    search = Search(choice, tunnels)
    with CaptureFile(path) as file:
        for number, frame in enumerate(file):
            search.look(number, frame)
    return search.numbers()


def _blocks(path: str, numbers: set[int]) -> Iterator[tuple[bytes, int]]:
    """Give what is to be written, with the captured bytes in it; nothing of a file that has no such frame."""
    if not numbers:
        return
    with CaptureFile(path) as file:
        for number, frame in enumerate(file):
            if number in numbers:
                if preamble := file.preamble():
                    yield preamble, 0
                yield frame.block, len(frame.data)
