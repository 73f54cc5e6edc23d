"""Reads capture files frame by frame, each with the bytes of a pcapng file that hold it.

In: a pcap or pcapng file, also compressed with gzip. Out: ``Frame``, and ``preamble``: what a pcapng file needs before
the next frame. Blocks of a pcapng file are given as they are, so that interfaces, comments, resolutions and byte order
stay; a frame of a pcap file is put into a block of its own, with time and lengths as they were.

Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng. The times of frames are those that the capturer ``pcap``
gives. A damaged file ends where the damage begins, as it does there.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from otus_core import require_regular

# RFC 1952 §2.3.1: ID1 and ID2.
GZIP_MAGIC = b"\x1f\x8b"
SECOND_NS = 1_000_000_000
FRAME_MAX = 262_144
"""libpcap's MAXIMUM_SNAPLEN: a record that claims more is damaged."""
BLOCK_MAX = 16_777_216
"""A block with a frame and generous options."""
INTERFACES_MAX = 65_536
"""Of one section: a damaged file may describe interfaces without end, and each is kept."""

# Block types and options of pcapng (draft-ietf-opsawg-pcapng §4, and if_tsresol and if_tsoffset of §4.2).
SECTION, INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET, NAMES, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 4, 6
TSRESOL, TSOFFSET = 9, 14
_MAGICS = {  # byte order, units of a second, size of a record's header
    magic.to_bytes(4, order): ("<" if order == "little" else ">", units, size)
    for order in ("little", "big")
    for magic, units, size in ((0xA1B2C3D4, 10**6, 16), (0xA1B23C4D, 10**9, 16), (0xA1B2CD34, 10**6, 24))
}


class Frame(NamedTuple):
    """One captured frame; ``block`` is what a pcapng file holds of it, ``timestamp`` is in ns since 1970."""

    timestamp: int
    link_type: int
    data: bytes
    orig_len: int
    block: bytes


class _Interface(NamedTuple):
    link_type: int
    snaplen: int
    units: int
    offset: int

    def moment(self, ticks: int) -> int:
        seconds, rest = divmod(ticks, self.units)
        return (seconds + self.offset) * SECOND_NS + rest * SECOND_NS // self.units


class CaptureFile:
    """One file. Iterate over it for its frames, once."""

    def __init__(self, path: str) -> None:
        """Open it. Raises OSError and ValueError, with a text that names the file."""
        require_regular(path)
        self._file = _open(path)
        self._preamble: list[bytes] = []

    def preamble(self) -> bytes:
        """Give the blocks that belong before the frame given last, those of earlier calls left out."""
        blocks, self._preamble = b"".join(self._preamble), []
        return blocks

    def __enter__(self) -> CaptureFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Frame]:
        head = self._file.read(4)
        try:
            if head in _MAGICS:
                yield from self._records(*_MAGICS[head])
            elif head == SECTION.to_bytes(4):
                yield from self._blocks()
        except (EOFError, OSError, struct.error):  # the first pass has told of the damage
            return

    def _records(self, order: str, units: int, header: int) -> Iterator[Frame]:
        """Give the frames of a pcap file, each in an Enhanced Packet Block."""
        snaplen, network = struct.unpack(order + "12xII", self._exactly(20))
        link_type = network & 0xFFFF
        self._preamble = [section_block(), interface_block(link_type, snaplen, units)]
        take = struct.Struct(order + "4I").unpack_from
        while record := self._file.read(header):
            seconds, fraction, size, orig_len = take(record)
            if size > FRAME_MAX:
                return
            data = self._exactly(size)
            block = packet_block(seconds * units + fraction, data, orig_len)
            yield Frame(seconds * SECOND_NS + fraction * (SECOND_NS // units), link_type, data, orig_len, block)

    def _blocks(self) -> Iterator[Frame]:
        """Give the frames of a pcapng file, whose section header's type has been read."""
        order, head = "<", SECTION.to_bytes(4)
        interfaces: list[_Interface] = []
        while head:
            kind = SECTION if head == SECTION.to_bytes(4) else struct.unpack(order + "I", head)[0]
            rest = self._exactly(8 if kind == SECTION else 4)
            if kind == SECTION:
                order, interfaces = ("<" if rest[4:] == bytes.fromhex("4d3c2b1a") else ">"), []
            size = struct.unpack_from(order + "I", rest)[0]
            if not 12 <= size <= BLOCK_MAX or size % 4:
                return
            block = head + rest + self._exactly(size - len(head) - len(rest))
            if kind == SECTION:
                # The section's length is not known any more: -1 (§4.1)
                self._preamble = [block[:16] + b"\xff" * 8 + block[24:]]
            elif kind in (INTERFACE, NAMES):
                self._preamble.append(block)
                if kind == INTERFACE:
                    interfaces.append(_interface(block, order))
                if len(self._preamble) > INTERFACES_MAX:
                    return
            elif frame := _frame(kind, block, order, interfaces):
                yield frame
            head = self._file.read(4)

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise EOFError
        return data


def _open(path: str) -> IO[bytes]:
    with Path(path).open("rb") as file:
        compressed = file.read(2) == GZIP_MAGIC
    return gzip.open(path) if compressed else Path(path).open("rb")  # type: ignore[return-value]


def _interface(block: bytes, order: str) -> _Interface:
    link_type, snaplen = struct.unpack_from(order + "H2xI", block, 8)
    units, offset, at, end = 10**6, 0, 16, len(block) - 4
    while at + 4 <= end:
        code, length = struct.unpack_from(order + "HH", block, at)
        if code == TSRESOL and length == 1:
            resolution = block[at + 4]
            units = 2 ** (resolution & 127) if resolution & 128 else 10**resolution
        elif code == TSOFFSET and length == 8:
            offset = struct.unpack_from(order + "q", block, at + 4)[0]
        elif code == 0:
            break
        at += 4 + length + -length % 4
    return _Interface(link_type, snaplen, units, offset)


def _frame(kind: int, block: bytes, order: str, interfaces: list[_Interface]) -> Frame | None:
    """Give the frame of a block, ``None`` for a block that holds none."""
    if kind == ENHANCED_PACKET:
        number, high, low, size, orig_len = struct.unpack_from(order + "5I", block, 8)
        at = 28
    elif kind == OBSOLETE_PACKET:
        number, high, low, size, orig_len = struct.unpack_from(order + "H2x4I", block, 8)
        at = 28
    elif kind == SIMPLE_PACKET and interfaces:
        (orig_len,) = struct.unpack_from(order + "I", block, 8)
        number, high, low, at = 0, 0, 0, 12
        size = min(orig_len, interfaces[0].snaplen or orig_len, len(block) - 16)
    else:
        return None
    if number >= len(interfaces) or size > len(block) - at - 4:
        raise EOFError
    one = interfaces[number]
    moment = 0 if kind == SIMPLE_PACKET else one.moment(high << 32 | low)
    return Frame(moment, one.link_type, block[at : at + size], orig_len, block)


def section_block() -> bytes:
    """Give the header of a section of unknown length, little-endian (§4.1)."""
    return struct.pack("<IIIHHqI", SECTION, 28, 0x1A2B3C4D, 1, 0, -1, 28)


def interface_block(link_type: int, snaplen: int, units: int) -> bytes:
    """Give the description of an interface (§4.2) with its resolution, ``units`` in a second."""
    resolution = len(str(units)) - 1
    return struct.pack("<IIHHIHHB3xHHI", INTERFACE, 32, link_type, 0, snaplen, TSRESOL, 1, resolution, 0, 0, 32)


def packet_block(ticks: int, data: bytes, orig_len: int) -> bytes:
    """Give an Enhanced Packet Block (§4.3) of interface 0."""
    padding = -len(data) % 4
    size = 32 + len(data) + padding
    head = struct.pack("<7I", ENHANCED_PACKET, size, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), orig_len)
    return b"".join((head, data, bytes(padding), struct.pack("<I", size)))
