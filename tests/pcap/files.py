"""Capture files made by hand, byte by byte, and a reader that drains a capturer."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

import otus_core
from otus_pcap.capturer import PcapCapturer
from otus_pcap.config import PcapConfig

MICRO, NANO, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
SECTION, INTERFACE, PACKET, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6


def pcap_header(
    order: str = "<", magic: int = MICRO, link_type: int = 1, version: tuple[int, int] = (2, 4), snaplen: int = 65535
) -> bytes:
    return struct.pack(f"{order}IHHiIII", magic, *version, 0, 0, snaplen, link_type)


def pcap_record(
    data: bytes, seconds: int = 1, fraction: int = 0, order: str = "<", orig_len: int | None = None, extra: bytes = b""
) -> bytes:
    wire = len(data) if orig_len is None else orig_len
    return struct.pack(f"{order}IIII", seconds, fraction, len(data), wire) + extra + data


def pcap(frames: Iterable[bytes], order: str = "<", **header: Any) -> bytes:
    records = (pcap_record(data, seconds, order=order) for seconds, data in enumerate(frames, 1))
    return pcap_header(order, **header) + b"".join(records)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind: int, body: bytes, order: str = "<", length: int | None = None, trailer: int | None = None) -> bytes:
    body += bytes(-len(body) % 4)
    size = 12 + len(body) if length is None else length
    end = struct.pack(f"{order}I", size if trailer is None else trailer)
    return struct.pack(f"{order}II", kind, size) + body + end


def section(order: str = "<", version: tuple[int, int] = (1, 0)) -> bytes:
    return block(SECTION, struct.pack(f"{order}IHHq", 0x1A2B3C4D, *version, -1), order)


def interface(link_type: int = 1, snaplen: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    return block(INTERFACE, struct.pack(f"{order}HHI", link_type, 0, snaplen) + options, order)


def enhanced(
    data: bytes,
    ticks: int = 0,
    number: int = 0,
    order: str = "<",
    options: bytes = b"",
    orig_len: int | None = None,
    capture_len: int | None = None,
) -> bytes:
    captured = len(data) if capture_len is None else capture_len
    wire = len(data) if orig_len is None else orig_len
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, captured, wire)
    return block(ENHANCED, head + data + bytes(-len(data) % 4) + options, order)


def obsolete(data: bytes, ticks: int = 0, number: int = 0, order: str = "<") -> bytes:
    head = struct.pack(f"{order}HHIIII", number, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(PACKET, head + data, order)


def simple(data: bytes, orig_len: int | None = None, order: str = "<") -> bytes:
    return block(SIMPLE, struct.pack(f"{order}I", len(data) if orig_len is None else orig_len) + data, order)


def pcapng(frames: Iterable[bytes], order: str = "<") -> bytes:
    packets = (enhanced(data, ticks, order=order) for ticks, data in enumerate(frames, 1))
    return section(order) + interface(order=order) + b"".join(packets)


def ethernet(src: bytes, dst: bytes, payload: bytes = b"", tags: Sequence[int] = ()) -> bytes:
    """An Ethernet frame with an IP header between two packed addresses."""
    tagged = b"".join(struct.pack("!HH", 0x8100, tag) for tag in tags)
    if len(src) == 4:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, 17, 0) + src + dst
        return bytes(12) + tagged + b"\x08\x00" + header + payload
    header = struct.pack("!IHBB", 6 << 28, len(payload), 17, 64) + src + dst
    return bytes(12) + tagged + b"\x86\xdd" + header + payload


@attrs.define
class Drained:
    """What a capturer gave."""

    frames: list[otus_core.RawPacket] = attrs.field(factory=list)
    errors: list[otus_core.CaptureError] = attrs.field(factory=list)
    empty: int = 0

    @property
    def data(self) -> list[bytes]:
        return [frame.data for frame in self.frames]

    @property
    def times(self) -> list[int]:
        return [frame.timestamp for frame in self.frames]


def drain(capturer: PcapCapturer) -> Drained:
    """Read an open capturer to its end."""
    found = Drained()
    while True:
        try:
            batch = capturer.read()
        except otus_core.CaptureError as error:
            found.errors.append(error)
            continue
        if batch is None:
            break
        found.frames += batch
        found.empty += not len(batch)
    assert not any(error.fatal for error in found.errors)
    assert capturer.stats().received == len(found.frames)
    capturer.close()
    return found


def read_files(*names: str | Path, shard: int = 0, shards: int = 1, **options: Any) -> Drained:
    capturer = PcapCapturer(PcapConfig(files=[str(name) for name in names], **options))
    capturer.open(shard, shards)
    return drain(capturer)


def read_bytes(folder: Path, data: bytes, **options: Any) -> Drained:
    path = folder / "capture"
    path.write_bytes(data)
    return read_files(path, **options)
