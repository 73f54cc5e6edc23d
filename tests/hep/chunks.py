"""HEP version 3 read in plain Python, independently of the plugin: for tests of what it sends."""

from __future__ import annotations

import gzip
import struct
import zlib
from ipaddress import ip_address
from typing import Any

import attrs

NAMES = {
    1: "family", 2: "protocol", 3: "src", 4: "dst", 5: "src", 6: "dst", 7: "src_port", 8: "dst_port", 9: "seconds",
    10: "microseconds", 11: "kind", 12: "capture_id", 14: "key", 15: "payload", 16: "compressed", 17: "correlation",
    18: "vlan", 19: "node",
}  # fmt: skip
SIZES = {1: 1, 2: 1, 3: 4, 4: 4, 5: 16, 6: 16, 7: 2, 8: 2, 9: 4, 10: 4, 11: 1, 12: 4, 18: 2}


@attrs.frozen
class Packet:
    """One packet, whole and of exactly the length that it says."""

    fields: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.fields.get(name)

    @property
    def payload(self) -> bytes:
        squeezed = self.fields.get("compressed")
        if squeezed is None:
            return bytes(self.fields["payload"])
        return gzip.decompress(squeezed) if squeezed[:2] == b"\x1f\x8b" else zlib.decompress(squeezed)

    @property
    def timestamp(self) -> int:
        return int(self.seconds * 1_000_000_000 + self.microseconds * 1000)


def read(data: bytes) -> Packet:
    """Read one packet; everything about it must be right."""
    assert data[:4] == b"HEP3" and struct.unpack("!H", data[4:6])[0] == len(data), data[:6]
    fields: dict[str, Any] = {}
    at = 6
    while at < len(data):
        vendor, kind, size = struct.unpack_from("!HHH", data, at)
        assert vendor == 0 and size >= 6 and at + size <= len(data), (vendor, kind, size)
        body = data[at + 6 : at + size]
        assert len(body) == SIZES.get(kind, len(body)), (kind, body)
        name = NAMES[kind]
        assert name not in fields, name
        text = kind in (14, 17, 19)
        fields[name] = (
            str(ip_address(body)) if 3 <= kind <= 6
            else body.decode() if text
            else body if kind in (15, 16)
            else int.from_bytes(body)
        )  # fmt: skip
        at += size
    assert fields["family"] == (2 if "." in fields["src"] else 10)
    return Packet(fields)


def cut(stream: bytes) -> tuple[list[Packet], bytes]:
    """Give the packets of a stream, and what is left of one that is not whole."""
    found = []
    while len(stream) >= 6 and len(stream) >= (size := struct.unpack("!H", stream[4:6])[0]):
        found.append(read(stream[:size]))
        stream = stream[size:]
    return found, stream
