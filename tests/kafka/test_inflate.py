"""What compressed batches may inflate to, with every codec to the byte, and in formats that no broker of
today writes.
"""

from __future__ import annotations

import gzip
import struct

import cramjam
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from otus_kafka.inflate import GZIP, HEAD, LZ4, SNAPPY, XERIAL, ZSTD, Guard, TooLarge, bound, check_batches


@pytest.mark.parametrize("magic", [0, 1])
def test_a_compressed_message_of_an_old_format_is_not_inflated(magic: int) -> None:
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=1, batch_size=1 << 20)
    builder.append(0, timestamp=1, key=None, value=bytes(500_000))
    reasons: list[str] = []
    made = check_batches(bytes(builder.build()), Guard(1 << 20, reasons.append))
    assert reasons == ["inflated"]
    batch = MemoryRecords(made).next_batch()
    assert batch is not None and batch.validate_crc()
    (record,) = list(batch)
    assert (record.key, len(record.value or b"") < 5000) == (None, True)


def batch(codec: int, size: int = 5000, first: int = 0) -> bytes:
    """A batch of one record as today's producers write it."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
    builder.append(0, 1_771_668_600_000, None, bytes(size), [])
    made = bytearray(builder.build())
    struct.pack_into(">q", made, 0, first)  # its offset, which no checksum is over
    return bytes(made)


INFLATED = len(batch(0)) - HEAD
CODECS = pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD], ids=["gzip", "snappy", "lz4", "zstd"])


@CODECS
@pytest.mark.parametrize("short", [0, 1], ids=["as large as may be", "a byte more"])
def test_a_batch_that_inflates_to_more_than_the_bound_is_put_out_and_its_neighbours_stay(
    codec: int, short: int
) -> None:
    reasons: list[str] = []
    data = batch(codec, 10, 0) + batch(codec, 5000, 1) + batch(0, 20_000, 2) + batch(codec, 30, 3)
    made = check_batches(data, Guard(INFLATED - short, reasons.append))
    assert (reasons, len(made)) == (["inflated"] * short, len(data))
    assert (made == data) is not bool(short)
    found, values = MemoryRecords(made), []
    while (one := found.next_batch()) is not None:
        assert one.validate_crc()
        values.append((one.base_offset, None if one.is_control_batch else [len(r.value or b"") for r in one]))
    assert values == [(0, [10]), (1, None if short else [5000]), (2, [20_000]), (3, [30])]


@CODECS
def test_what_is_cut_at_the_end_of_a_fetch_stays_as_it_is(codec: int) -> None:
    """The library asks for it again; only what is whole may be looked into."""
    whole, last = batch(codec, 5000), batch(codec, 6000, 1)
    for cut in (1, 8, 25, 60, len(last) - 1):
        reasons: list[str] = []
        data = whole + last[:cut]
        made = check_batches(data, Guard(INFLATED - 1, reasons.append))
        assert (reasons, made[len(whole) :]) == (["inflated"], last[:cut])
        assert check_batches(data, Guard(INFLATED, reasons.append)) == data


def test_the_record_that_ended_the_last_process_is_put_out_unseen() -> None:
    """It is named by its offset and checksum; each batch that is inflated is named before, and reported
    as done after.
    """
    told: list[str] = []
    data = batch(GZIP, 100, 7) + batch(0, 100, 8) + batch(GZIP, 100, 9)
    first, _, third = (data[at : at + 8] for at in (0, 0, len(data) - len(batch(GZIP, 100, 9))))
    names = [f"batch {int.from_bytes(offset)} " for offset in (first, third)]
    guard = Guard(
        1 << 20, told.append, lambda name: told.append(name) or "batch 9 " not in name, lambda: told.append("done")
    )
    check_batches(data, guard)
    checksums = [str(int.from_bytes(batch(GZIP, 100)[17:21]))] * 2
    assert told == [names[0] + checksums[0], "done", names[1] + checksums[1], "unfinished"]


def xerial(*blocks: bytes) -> bytes:
    """Snappy in the frames that Java's first clients wrote: a head of 16 bytes, then blocks with their lengths."""
    head = XERIAL + struct.pack(">ii", 1, 1)
    return head + b"".join(struct.pack(">i", len(block)) + block for block in blocks)


RAW = bytes(cramjam.snappy.compress_raw(bytes(3000)))
FORMS = {
    "gzip, two members": (GZIP, gzip.compress(bytes(1000)) + gzip.compress(bytes(2000))),
    "snappy": (SNAPPY, RAW),
    "snappy in frames": (SNAPPY, xerial(*(bytes(cramjam.snappy.compress_raw(bytes(1000))) for _ in range(3)))),
}


@pytest.mark.parametrize(("codec", "data"), FORMS.values(), ids=FORMS)
def test_all_parts_of_what_is_compressed_count(codec: int, data: bytes) -> None:
    bound(codec, data, 3000)
    with pytest.raises(TooLarge):
        bound(codec, data, 2999)


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        pytest.param(GZIP, gzip.compress(bytes(1000))[:-9], id="gzip that is cut"),
        pytest.param(GZIP, b"no gzip", id="no gzip"),
        pytest.param(SNAPPY, xerial(b""), id="a block of no length"),
        pytest.param(SNAPPY, XERIAL + struct.pack(">iii", 1, 1, -1) + RAW, id="a block of a negative length"),
        pytest.param(SNAPPY, xerial(RAW) + b"\0\0", id="half a length"),
        pytest.param(LZ4, b"no lz4", id="no lz4"),
        pytest.param(ZSTD, b"no zstd", id="no zstd"),
        pytest.param(5, b"x", id="a codec that there is not"),
    ],
)
def test_what_cannot_be_inflated_counts_as_too_large(codec: int, data: bytes) -> None:
    with pytest.raises(TooLarge):
        bound(codec, data, 1 << 20)
