"""A plain reader of capture files, so that these tests need no plugin: frames with link type and lengths."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import attrs


@attrs.frozen
class Frame:
    """One captured frame; ``timestamp`` in ns."""

    data: bytes
    timestamp: int
    orig_len: int
    link_type: int


def read_capture(path: Path) -> Iterator[Frame]:
    """Give the frames of a pcap or pcapng file, plain or gzip, up to the first damage."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    try:
        yield from _pcapng(data) if data[:4] == b"\x0a\x0d\x0d\x0a" else _pcap(data)
    except struct.error:
        return


def _pcap(data: bytes) -> Iterator[Frame]:
    for order in "<>":
        magic = struct.unpack_from(order + "I", data)[0]
        if magic in (0xA1B2C3D4, 0xA1B23C4D):
            break
    else:
        return
    unit = 1 if magic == 0xA1B23C4D else 1000
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    at = 24
    while at + 16 <= len(data):
        seconds, fraction, length, orig_len = struct.unpack_from(order + "IIII", data, at)
        if at + 16 + length > len(data):
            return
        yield Frame(data[at + 16 : at + 16 + length], seconds * 10**9 + fraction * unit, orig_len, link_type)
        at += 16 + length


def _pcapng(data: bytes) -> Iterator[Frame]:
    at = 0
    order = "<"
    interfaces: list[tuple[int, int]] = []
    while at + 12 <= len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        kind, length = struct.unpack_from(order + "II", data, at)
        body = data[at + 8 : at + length - 4]
        if length < 12 or at + length > len(data):
            return
        if kind == 1:
            link_type, snaplen = struct.unpack_from(order + "HxxI", body)
            interfaces.append((link_type, snaplen))
        elif kind == 6:
            interface, high, low, captured, orig_len = struct.unpack_from(order + "IIIII", body)
            yield Frame(
                body[20 : 20 + captured], min((high << 32 | low) * 1000, 2**62), orig_len, interfaces[interface][0]
            )
        elif kind == 2:
            interface, _, high, low, captured, orig_len = struct.unpack_from(order + "HHIIII", body)
            yield Frame(
                body[20 : 20 + captured], min((high << 32 | low) * 1000, 2**62), orig_len, interfaces[interface][0]
            )
        elif kind == 3:
            (orig_len,) = struct.unpack_from(order + "I", body)
            captured = min(orig_len, interfaces[0][1] or orig_len)
            yield Frame(body[4 : 4 + captured], 0, orig_len, interfaces[0][0])
        at += length
