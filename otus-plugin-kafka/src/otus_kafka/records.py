"""Finished record batches in Kafka's message format 2: compression, header and checksum.

In: a batch's records, one after the other (``encoding``). Out: bytes for a produce request. The layout is Kafka's documentation, section "Record Batch"; the CRC-32C covers
everything behind it.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable

import cramjam
from aiokafka.codec import snappy_encode
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import calc_crc32c

from otus_kafka.encoding import BatchWriter, record_body

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
SNAPPY_BLOCK = 64 * 1024
"""What snappy itself divides its input into; smaller blocks compress worse."""

_FRONT = struct.Struct(">qiib")
_CHECKED = struct.Struct(">hiqqqhii")


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
        return [record_body(record.key, record.value, record.headers) for record in DefaultRecordBatch(self._data)]


def compressor(codec: str, level: int | None) -> Callable[[memoryview], bytes] | None:
    """Give the function that compresses the records of a batch, ``None`` for ``none``."""
    if codec == "gzip":
        return lambda data: gzip.compress(data, compresslevel=level or 1, mtime=0)
    if codec == "snappy":
        return lambda data: bytes(snappy_encode(data, xerial_blocksize=SNAPPY_BLOCK))
    if codec == "lz4":
        return lambda data: _lz4(data, level or 1)
    if codec == "zstd":
        return lambda data: bytes(cramjam.zstd.compress(data, level=level or 3))
    return None


def _lz4(data: memoryview, level: int) -> bytes:
    # KIP-57: frames of independent blocks, as Kafka's own reader expects
    frames = cramjam.lz4.Compressor(level=level, content_checksum=False, block_linked=False)
    frames.compress(bytes(data))  # takes no other buffers
    return bytes(frames.finish())


def seal(writer: BatchWriter, codec: str, compress: Callable[[memoryview], bytes] | None) -> SealedBatch:
    """Make the batch of what the writer holds."""
    with memoryview(writer) as records:
        attributes, content = 0, records
        if compress is not None:
            smaller = compress(records)
            if len(smaller) < len(records):
                attributes, content = CODECS[codec], memoryview(smaller)
        # no producer id, epoch or sequence: the producer is not idempotent
        times_and_count = (writer.count - 1, writer.made_ms, writer.made_ms, -1, -1, -1, writer.count)
        checked = b"".join((_CHECKED.pack(attributes, *times_and_count), content))
    front = _FRONT.pack(0, len(checked) + 9, -1, 2)
    return SealedBatch(b"".join((front, struct.pack(">I", calc_crc32c(checked)), checked)), writer.count)
