"""Bounds what compressed batches of records inflate to, before the client library inflates them.

Fetch limits count compressed bytes: 400 kB of gzip may be 400 MiB of zeros. aiokafka makes a ``MemoryRecords`` of
each answer's raw bytes; here every batch in them is tried against a bound first. The library has no public place for
that (0.14: no subclass, option or callback sees a fetch before it is inflated), so the name that its fetcher calls is
replaced; tests/kafka/test_library.py notices when the library calls another. A batch that goes beyond the bound is
put out: it becomes an empty control batch at the same offsets (KIP-98, record batch format 2), which the library
skips. The record batch: https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import attrs
import cramjam
from aiokafka.consumer import fetcher
from aiokafka.record.util import calc_crc32c

# Offsets in a batch of format 2 (kafka.apache.org/documentation/#recordbatch); HEAD is where its records begin.
LENGTH_AT, MAGIC_AT, CRC_AT, ATTRIBUTES_AT, LAST_DELTA_AT, COUNT_AT, HEAD = 8, 16, 17, 21, 23, 57, 61
# Bytes that a batch's length does not count: its offset, and the length itself.
LOG_OVERHEAD = 12
# Of a message set, formats 0 and 1 (documentation, "Old Message Format").
LEGACY_CRC_AT, LEGACY_ATTRIBUTES_AT, LEGACY_HEAD = 12, 17, 26
CODEC_MASK, CONTROL = 0x07, 0x20
# The three lowest bits of the attributes name the codec, and bit 5 a control batch (documentation, "Record Batch").
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
XERIAL = b"\x82SNAPPY\x00"
"""snappy-java's own frame: its magic, two versions, then blocks with their lengths."""
XERIAL_HEAD = 16
GZIP_OR_ZLIB = 47
"""``wbits`` of zlib: 15 for the largest window, and 32 to tell gzip and zlib apart (zlib.h, inflateInit2)."""


class TooLarge(Exception):
    """It inflates beyond the bound, or cannot be inflated at all."""


@attrs.frozen
class Guard:
    """``limit`` bytes that a batch may inflate to; ``put_out`` is told of each batch that is skipped.

    ``begin`` may say that a batch is to be skipped unseen.
    """

    limit: int
    put_out: Callable[[str], None]
    begin: Callable[[str], bool] = lambda _name: True
    end: Callable[[], None] = lambda: None


_guard: ContextVar[Guard | None] = ContextVar("otus_kafka_guard", default=None)
_MemoryRecords = fetcher.MemoryRecords


def guard_fetches(guard: Guard) -> None:
    """Guard the consumers that the current task makes from now on: the library's own tasks inherit its context."""
    _guard.set(guard)
    fetcher.MemoryRecords = _decompress_guarded


def _decompress_guarded(data: bytes) -> object:
    guard = _guard.get()
    return _MemoryRecords(data if guard is None else check_batches(data, guard))


def check_batches(data: bytes, guard: Guard) -> bytes:
    """Give the batches of a fetch with those put out that must not be inflated."""
    made: bytearray | None = None
    for begin, end in _batches(data):
        reason = _objection(data[begin:end], guard)
        if reason:
            made = bytearray(data) if made is None else made
            made[begin:end] = _put_out(data[begin:end])
            guard.put_out(reason)
    return data if made is None else bytes(made)


def _batches(data: bytes) -> Iterator[tuple[int, int]]:
    """Give where each whole batch begins and ends; the last one of a fetch is often cut."""
    at = 0
    while at + LEGACY_HEAD <= len(data):
        (length,) = struct.unpack_from(">i", data, at + LENGTH_AT)
        end = at + LOG_OVERHEAD + length
        if length < LEGACY_HEAD - LOG_OVERHEAD or end > len(data):
            return
        yield at, end
        at = end


def _objection(batch: bytes, guard: Guard) -> str:
    """Say why a batch must not be inflated; empty if it may be."""
    if batch[MAGIC_AT] < 2:  # not written any more since Kafka 0.11
        return "inflated" if batch[LEGACY_ATTRIBUTES_AT] & CODEC_MASK else ""
    codec = batch[ATTRIBUTES_AT + 1] & CODEC_MASK
    if not codec:
        return ""
    if not guard.begin(f"batch {int.from_bytes(batch[:8])} {int.from_bytes(batch[CRC_AT : CRC_AT + 4])}"):
        return "unfinished"
    try:
        bound(codec, batch[HEAD:], guard.limit)
    except TooLarge:
        return "inflated"
    finally:
        guard.end()
    return ""


def _put_out(batch: bytes) -> bytes:
    """Make an empty control batch of the same length, offsets and a right checksum."""
    made = bytearray(batch)
    if made[MAGIC_AT] < 2:  # a message without key, whose value is what was compressed: refused as no command
        begin = LEGACY_HEAD - 8 + 8 * made[MAGIC_AT]  # magic 1 has a timestamp
        made[LEGACY_ATTRIBUTES_AT] &= ~CODEC_MASK
        struct.pack_into(">ii", made, begin, -1, len(made) - begin - 8)
        struct.pack_into(">I", made, LEGACY_CRC_AT, zlib.crc32(memoryview(made)[MAGIC_AT:]))
        return bytes(made)
    made[ATTRIBUTES_AT + 1] = (made[ATTRIBUTES_AT + 1] & ~CODEC_MASK) | CONTROL
    struct.pack_into(">I", made, CRC_AT, calc_crc32c(memoryview(made)[ATTRIBUTES_AT:]))
    return bytes(made)


def bound(codec: int, data: bytes, limit: int) -> None:
    """Raise TooLarge unless the data inflate to at most ``limit`` bytes; takes no more memory than that to find out."""
    try:
        if codec == GZIP:
            _bound_gzip(data, limit)
        elif codec == SNAPPY:
            _bound_snappy(data, limit)
        elif codec in (LZ4, ZSTD):
            room = bytearray(limit)  # writing beyond a fixed buffer is an error
            (cramjam.lz4 if codec == LZ4 else cramjam.zstd).decompress_into(data, room)
        else:
            raise TooLarge(f"codec {codec}")
    except (cramjam.DecompressionError, zlib.error, struct.error, ValueError) as error:
        raise TooLarge(str(error)) from None


def _bound_gzip(data: bytes, limit: int) -> None:
    while data:  # one member after another, as gzip has them
        inflater = zlib.decompressobj(GZIP_OR_ZLIB)
        size = len(inflater.decompress(data, limit + 1))
        if size > limit or not inflater.eof:
            raise TooLarge("gzip")
        # Members share the bound: a thousand of them would otherwise inflate to a thousand times as much.
        limit -= size
        data = inflater.unused_data.lstrip(b"\0")


def _bound_snappy(data: bytes, limit: int) -> None:
    if not data.startswith(XERIAL):
        if cramjam.snappy.decompress_raw_len(data) > limit:
            raise TooLarge("snappy")
        return
    at = XERIAL_HEAD
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        if size <= 0:
            raise TooLarge("snappy")
        limit -= cramjam.snappy.decompress_raw_len(data[at + 4 : at + 4 + size])
        if limit < 0:
            raise TooLarge("snappy")
        at += 4 + size
