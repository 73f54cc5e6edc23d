"""Record batches in Kafka's message format 2, built here rather than by the client library: half the time a message.

In: the body of each record, made with ``varint``, ``field`` and ``header``. Out: bytes for a produce request. The layout is Kafka's documentation,
section "Message Format"; lengths are zigzag varints, the CRC-32C covers everything behind it.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable

import cramjam
from aiokafka.codec import snappy_encode
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import calc_crc32c

HEADER_BYTES = 61
RECORD_OVERHEAD = 10
"""At most: length, attributes, time and offset of one record in its batch."""
RECORDS_MAX = 16384
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
NULL = b"\x01"  # a length of -1

_FRONT = struct.Struct(">qiib")
_CHECKED = struct.Struct(">hiqqqhii")


def _varint(value: int) -> bytes:
    rest = value << 1
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


VARINTS = tuple(_varint(n) for n in range(RECORDS_MAX))
_HEADS = tuple(b"\x00\x00" + offset for offset in VARINTS)
"""What follows a record's length: no attributes, the time of the batch, its place in the batch."""


def varint(value: int) -> bytes:
    """Give a number that is not negative as Kafka writes lengths."""
    return VARINTS[value] if value < RECORDS_MAX else _varint(value)


def field(data: bytes) -> bytes:
    """Give bytes with their length before them: a key, a value, a header's name or value."""
    return varint(len(data)) + data


def header(name: str, value: bytes) -> bytes:
    """Give one record header."""
    return field(name.encode()) + field(value)


class BatchWriter:
    """Takes the bodies of records until somebody thinks that they are enough. ``shares`` says how many in a row belong to which owner.

    Whoever appends to ``bodies`` adds to ``size`` what it appended and ``RECORD_OVERHEAD``.
    """

    __slots__ = ("_shared", "bodies", "made_ms", "owner", "shares", "size")

    def __init__(self, now_ms: int) -> None:
        self.bodies: list[bytes] = []
        self.size = 0
        self.made_ms = now_ms
        self.owner: object = None
        self.shares: list[tuple[object, int]] = []
        self._shared = 0

    def give_to(self, owner: object) -> None:
        """Say whose the records are that follow."""
        count = len(self.bodies)
        if count > self._shared:
            self.shares.append((self.owner, count - self._shared))
            self._shared = count
        self.owner = owner

    def finish(self) -> None:
        """Take no more."""
        self.give_to(None)

    def records(self) -> bytes:
        """Give all records, one after the other. They bear the time of the batch, which is at most a flush interval off."""
        parts: list[bytes] = []
        for head, body in zip(_HEADS, self.bodies, strict=False):
            length = len(head) + len(body)
            parts += (VARINTS[length] if length < RECORDS_MAX else _varint(length), head, body)
        return b"".join(parts)


class SealedBatch:
    """A finished batch, with what the client library asks of one (``aiokafka.producer.message_accumulator.BatchBuilder``)."""

    __slots__ = ("_count", "_data")

    def __init__(self, data: bytes, count: int) -> None:
        self._data = data
        self._count = count

    def record_count(self) -> int:
        """Give the number of records."""
        return self._count

    def size(self) -> int:
        """Give the size in bytes."""
        return len(self._data)

    def closed(self) -> bool:
        """Tell that nothing can be added."""
        return True

    def close(self) -> None:
        """It is closed."""

    def _build(self) -> bytes:
        return self._data

    def records(self) -> list[bytes]:
        """Give the bodies of the records again, for two smaller batches in place of one that was refused."""
        return [_body(record) for record in DefaultRecordBatch(self._data)]


def _body(record: object) -> bytes:
    key, value, headers = record.key, record.value, record.headers  # type: ignore[attr-defined]
    parts = [NULL if key is None else field(key), NULL if value is None else field(value), varint(len(headers))]
    return b"".join(parts + [header(name, content) for name, content in headers])


def compressor(codec: str, level: int | None) -> Callable[[bytes], bytes] | None:
    """Give the function that compresses the records of a batch, ``None`` for ``none``."""
    if codec == "gzip":
        return lambda data: gzip.compress(data, compresslevel=level or 1, mtime=0)
    if codec == "snappy":
        encode: Callable[[bytes], bytes] = snappy_encode
        return encode
    if codec == "lz4":
        return lambda data: _lz4(data, level or 1)
    if codec == "zstd":
        return lambda data: bytes(cramjam.zstd.compress(data, level=level or 3))
    return None


def _lz4(data: bytes, level: int) -> bytes:
    # KIP-57: frames of independent blocks, as Kafka's own reader expects
    frames = cramjam.lz4.Compressor(level=level, content_checksum=False, block_linked=False)
    frames.compress(data)
    return bytes(frames.finish())


def seal(writer: BatchWriter, codec: str, compress: Callable[[bytes], bytes] | None) -> SealedBatch:
    """Make the batch of what the writer holds."""
    records = writer.records()
    attributes = 0
    if compress is not None:
        smaller = compress(records)
        if len(smaller) < len(records):
            records, attributes = smaller, CODECS[codec]
    count = len(writer.bodies)
    # no producer id, epoch or sequence: the producer is not idempotent
    checked = _CHECKED.pack(attributes, count - 1, writer.made_ms, writer.made_ms, -1, -1, -1, count) + records
    front = _FRONT.pack(0, len(checked) + 9, -1, 2)
    return SealedBatch(b"".join((front, struct.pack(">I", calc_crc32c(checked)), checked)), count)
