"""A reassembler as one would write it without a thought for speed: the oracle of the compiled one.

A datagram is a list of its pieces; every question is answered by looking at all of their bytes.
"""

from __future__ import annotations

import collections
from collections.abc import Hashable

import attrs

DATAGRAM_MAX = 65535


@attrs.frozen
class Piece:
    """One fragment's payload and place; ``head`` is what its IP headers add to the datagram's length."""

    offset: int
    data: bytes
    more: bool
    head: int

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


@attrs.define
class Reassembler:
    """Takes pieces; counts in ``counters`` under the names of the accounting identity."""

    timeout: int
    max_per_datagram: int
    counters: collections.Counter[str] = attrs.field(factory=collections.Counter)
    now: int = 0
    held: dict[Hashable, list[Piece]] = attrs.field(factory=dict)
    born: dict[Hashable, int] = attrs.field(factory=dict)

    def add(self, key: Hashable, piece: Piece) -> bytes | None:
        """Give the datagram that this piece completes."""
        if not piece.data or (piece.more and len(piece.data) % 8):
            return self._drop("bad_fragment", 1)
        if piece.end + piece.head > DATAGRAM_MAX:
            return self._drop("too_large", 1)
        pieces = self.held.setdefault(key, [])
        self.born.setdefault(key, self.now)
        if any((p.offset, p.data, p.more) == (piece.offset, piece.data, piece.more) for p in pieces):
            return self._drop("duplicate", 1)
        together = [*pieces, piece]
        taken = [at for p in together for at in range(p.offset, p.end)]
        if len(taken) != len(set(taken)):
            return self._discard(key, "overlap", 1)
        ends = {p.end for p in together if not p.more}
        if len(ends) > 1 or any(p.end > end for p in together for end in ends):
            return self._discard(key, "bad_fragment", 1)
        if ends and len(taken) == max(ends):
            return self._whole(key, sorted(together, key=lambda p: p.offset))
        if len(together) > self.max_per_datagram:
            return self._discard(key, "limit", 1)
        self.held[key] = together
        self.counters["fragments_held"] += 1
        return None

    def advance(self, now: int) -> None:
        """Move the clock."""
        self.now = max(self.now, now)
        for key in [key for key, born in self.born.items() if self.now - born >= self.timeout]:
            self._discard(key, "timeout", 0)

    def finish(self) -> None:
        """Give up on what is held."""
        for key in list(self.held):
            self._discard(key, "incomplete", 0)

    def _whole(self, key: Hashable, pieces: list[Piece]) -> bytes | None:
        if pieces[0].head + pieces[-1].end > DATAGRAM_MAX:
            return self._discard(key, "too_large", 1)
        self._forget(key)
        self.counters["fragments_merged"] += len(pieces) - 1
        return b"".join(piece.data for piece in pieces)

    def _discard(self, key: Hashable, outcome: str, more: int) -> bytes | None:
        return self._drop(outcome, self._forget(key) + more)

    def _forget(self, key: Hashable) -> int:
        frames = len(self.held.pop(key))
        del self.born[key]
        self.counters["fragments_held"] -= frames
        return frames

    def _drop(self, outcome: str, frames: int) -> bytes | None:
        self.counters[f"dropped{{reassembly:{outcome}}}"] += frames
        return None
