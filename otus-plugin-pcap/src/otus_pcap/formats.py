"""Tells capture formats by their first bytes."""

from __future__ import annotations

from typing import Protocol

from otus_pcap.chunk import Chunk
from otus_pcap.classic import PcapWalker
from otus_pcap.ng import PcapngWalker
from otus_pcap.select import Selection

MAGIC_SIZE = 4
_MAGICS = {
    bytes.fromhex(magic): walker
    for walker, magics in (
        (PcapWalker, ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "a1b2cd34", "34cdb2a1")),
        (PcapngWalker, ("0a0d0d0a",)),
    )
    for magic in magics
}
_OTHERS = {
    "1f8b": "gzip data inside gzip data",
    "28b52ffd": "zstd data: decompress it first",
    "04224d18": "lz4 data: decompress it first",
    "fd377a58": "xz data: decompress it first",
    "425a68": "bzip2 data: decompress it first",
    "474d4255": "a Microsoft Network Monitor 2 capture: convert it with `editcap -F pcapng`",
    "52545353": "a Microsoft Network Monitor 1 capture: convert it with `editcap -F pcapng`",
    "736e6f6f70": "a snoop capture: convert it with `editcap -F pcapng`",
    "ab01001c": "an IXIA variant of pcap: convert it with `editcap -F pcapng`",
    "ac01001c": "an IXIA variant of pcap: convert it with `editcap -F pcapng`",
}


class Walker(Protocol):
    """What walks one format."""

    @property
    def fault(self) -> tuple[str, int] | None:
        """Why it cannot go on, and the offset; ``None`` while it can."""

    def walk(self) -> None:
        """Take what whole records there are, as far as the selection has room."""

    def end(self) -> None:
        """Say that no more bytes come."""


def walker_for(head: bytes, chunk: Chunk, selection: Selection) -> Walker | None:
    """Make the walker for what begins with ``head``; ``None`` when that is no capture file."""
    walker = _MAGICS.get(head[:MAGIC_SIZE])
    return walker(chunk, selection) if walker is not None else None


def why_not(head: bytes) -> str:
    """Say why what begins with ``head`` is not read."""
    if not head:
        return "it is empty: a capture file has a header at least"
    known = next((f": it is {what}" for magic, what in _OTHERS.items() if head.startswith(bytes.fromhex(magic))), "")
    return f"not a pcap or pcapng file (starts with {head[:8].hex(' ')}){known}"
