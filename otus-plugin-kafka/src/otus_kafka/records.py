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
# snappy-java's frame: magic, version, and the oldest version that can read it.
SNAPPY_MAGIC = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)

_FRONT = struct.Struct(">qiib")
_CHECKED = struct.Struct(">hiqqqhii")
_CHECKED_AT = HEADER_BYTES - _CHECKED.size


class SealedBatch:
    """A finished batch, with what the client library asks of one
    (``aiokafka.producer.message_accumulator.BatchBuilder``).
    """

    __slots__ = ("_count", "_data")

    def __init__(self, data: bytearray | memoryview, count: int) -> None:
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

    def _build(self) -> bytearray | memoryview:
        return self._data

    def records(self) -> list[bytes]:
        """Give the bodies of the records again, for two smaller batches in place of one that was refused."""
        return [record_body(record.key, record.value, record.headers) for record in DefaultRecordBatch(self._data)]


def compressor(codec: str, level: int | None) -> Callable[[memoryview], bytes] | None:
    """Give the function that compresses the records of a batch, ``None`` where none has to: for ``none``, and where
    records are compressed while they come.
    """
    if codec == "gzip":
        return lambda data: gzip.compress(data, compresslevel=level or 1, mtime=0)
    if codec == "lz4":
        return lambda data: _lz4(data, level or 1)
    if codec == "zstd":
        return lambda data: bytes(cramjam.zstd.compress(data, level=level or 3))
    return None


def make_writer(codec: str, now_ms: int) -> BatchWriter:
    """Give an empty batch. Snappy's blocks stand each for itself, behind the head that snappy-java gives them, which
    Kafka's clients read.
    """
    if codec == "snappy":
        return BatchWriter(now_ms, cramjam.snappy.compress_raw_into, SNAPPY_MAGIC)
    return BatchWriter(now_ms)


def _lz4(data: memoryview, level: int) -> bytes:
    # KIP-57: frames of independent blocks, as Kafka's own reader expects
    frames = cramjam.lz4.Compressor(level=level, content_checksum=False, block_linked=False)
    frames.compress(bytes(data))  # takes no other buffers
    return bytes(frames.finish())


def seal(writer: BatchWriter, codec: str, compress: Callable[[memoryview], bytes] | None) -> SealedBatch:
    """Make the batch of what the writer holds; raises what the compressor raises."""
    attributes = CODECS[codec]
    made: bytearray | memoryview
    if codec == "snappy":
        made = writer.blocks()
    else:
        with writer.records() as records:
            content: bytes | memoryview = records
            if compress is not None:
                content = compress(records)
            # Small batches may grow; brokers and clients take an uncompressed one just as well.
            if len(content) >= len(records):
                attributes, content = 0, records
            made = bytearray(HEADER_BYTES + len(content))
            made[HEADER_BYTES:] = content
    # no producer id, epoch or sequence: the producer is not idempotent
    times_and_count = (writer.count - 1, writer.made_ms, writer.made_ms, -1, -1, -1, writer.count)
    _CHECKED.pack_into(made, _CHECKED_AT, attributes, *times_and_count)
    # The length does not count itself, nor the offset before it; the leader's epoch is -1 for a producer; 2 is the
    # format.
    _FRONT.pack_into(made, 0, 0, len(made) - 12, -1, 2)
    with memoryview(made) as view:
        struct.pack_into(">I", made, _CHECKED_AT - 4, calc_crc32c(view[_CHECKED_AT:]))
    return SealedBatch(made, writer.count)
