"""HEP inside captures: where its packets end in a stream of TCP, and what their compressed payloads hold."""

from __future__ import annotations

import zlib

MAGIC = b"HEP3"
HEAD = 6
"""Bytes: the magic, and the length of all."""
PORT = 9060
"""Of Homer's servers."""
PAYLOAD_MAX = 65_507
"""Bytes of a message, as in a datagram over IPv4: a few compressed bytes must not become any number."""


class HepFrames:
    """Says where packets of HEP end, as parsers do for their messages."""

    def frame(self, data: bytes, at: int) -> int:
        """Give the size of the packet that begins at ``at``, 0 where more bytes are needed, -1 where none begins."""
        head = data[at : at + HEAD]
        if not MAGIC.startswith(head[:4]):
            return -1
        if len(head) < HEAD:
            return 0
        size = int.from_bytes(head[4:])
        return size if size >= HEAD else -1

    def resync(self, data: bytes, at: int) -> int:
        """Give where the next packet may begin, at ``at`` or behind, or -1."""
        return data.find(MAGIC, at)


def inflate(data: bytes) -> bytes | None:
    """Give what gzip or zlib compressed; ``None`` if it is neither, or too large."""
    inflater = zlib.decompressobj(wbits=47)  # zlib.h: either of both
    try:
        payload = inflater.decompress(data, PAYLOAD_MAX + 1)
    except zlib.error:
        return None
    return payload if 0 < len(payload) <= PAYLOAD_MAX else None
