"""Finished record batches in Kafka's message format 2: compression, header and checksum.

In: a batch's records, one after the other (``batch``). Out: bytes for a produce request. The layout is Kafka's
documentation, section "Record Batch"; the CRC-32C covers everything behind it.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable

import cramjam
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import calc_crc32c

from otus_kafka.batch import HEADER_BYTES, BatchWriter, record_body

# The three lowest bits of a batch's attributes (kafka.apache.org/documentation/#recordbatch).
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
SNAPPY_BLOCK = 64 * 1024
"""What snappy itself divides its input into; smaller blocks compress worse."""

# snappy-java's frame: magic, version, and the oldest version that can read it.
SNAPPY_MAGIC = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)

_FRONT = struct.Struct(">qiib")
_CHECKED = struct.Struct(">hiqqqhii")
_CHECKED_AT = HEADER_BYTES - _CHECKED.size
_SIZE = struct.Struct(">i")


class SealedBatch:
    """A finished batch, with what the client library asks of one
    (``aiokafka.producer.message_accumulator.BatchBuilder``).
    """

    __slots__ = ("_count", "_data")

    def __init__(self, data: bytearray, count: int) -> None:
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

    def _build(self) -> bytearray:
        return self._data

    def records(self) -> list[bytes]:
        """Give the bodies of the records again, for two smaller batches in place of one that was refused."""
        return [record_body(record.key, record.value, record.headers) for record in DefaultRecordBatch(self._data)]


def compressor(codec: str, level: int | None) -> Callable[[memoryview], bytes | memoryview] | None:
    """Give the function that compresses the records of a batch, ``None`` for ``none``."""
    if codec == "gzip":
        return lambda data: gzip.compress(data, compresslevel=level or 1, mtime=0)
    if codec == "snappy":
        return Snappy()
    if codec == "lz4":
        return lambda data: _lz4(data, level or 1)
    if codec == "zstd":
        return lambda data: bytes(cramjam.zstd.compress(data, level=level or 3))
    return None


class Snappy:
    """Compresses into blocks as snappy-java has them, which Kafka's clients read; the room for it is used again.

    The result is good until the next call.
    """

    def __init__(self) -> None:
        self._room = bytearray()

    def __call__(self, data: memoryview) -> memoryview:
        """Compress."""
        most = sum(
            _SIZE.size + cramjam.snappy.compress_raw_max_len(data[at : at + SNAPPY_BLOCK])
            for at in range(0, len(data), SNAPPY_BLOCK)
        )
        if len(self._room) < len(SNAPPY_MAGIC) + most:
            self._room = bytearray(len(SNAPPY_MAGIC) + most)
        out, at = memoryview(self._room), len(SNAPPY_MAGIC)
        out[:at] = SNAPPY_MAGIC
        for start in range(0, len(data), SNAPPY_BLOCK):
            size = cramjam.snappy.compress_raw_into(data[start : start + SNAPPY_BLOCK], out[at + _SIZE.size :])
            _SIZE.pack_into(out, at, size)
            at += _SIZE.size + size
        return out[:at]


def _lz4(data: memoryview, level: int) -> bytes:
    # KIP-57: frames of independent blocks, as Kafka's own reader expects
    frames = cramjam.lz4.Compressor(level=level, content_checksum=False, block_linked=False)
    frames.compress(bytes(data))  # takes no other buffers
    return bytes(frames.finish())


def seal(writer: BatchWriter, codec: str, compress: Callable[[memoryview], bytes | memoryview] | None) -> SealedBatch:
    """Make the batch of what the writer holds."""
    with writer.records() as records:
        attributes, content = 0, records
        if compress is not None:
            smaller = compress(records)
            # Small batches may grow; brokers and clients take an uncompressed one just as well.
            if len(smaller) < len(records):
                attributes, content = CODECS[codec], memoryview(smaller)
        made = bytearray(HEADER_BYTES + len(content))
        # no producer id, epoch or sequence: the producer is not idempotent
        times_and_count = (writer.count - 1, writer.made_ms, writer.made_ms, -1, -1, -1, writer.count)
        _CHECKED.pack_into(made, _CHECKED_AT, attributes, *times_and_count)
        made[HEADER_BYTES:] = content
    # The length does not count itself, nor the offset before it; the leader's epoch is -1 for a producer; 2 is the
    # format.
    _FRONT.pack_into(made, 0, 0, len(made) - 12, -1, 2)
    with memoryview(made) as view:
        struct.pack_into(">I", made, _CHECKED_AT - 4, calc_crc32c(view[_CHECKED_AT:]))
    return SealedBatch(made, writer.count)
