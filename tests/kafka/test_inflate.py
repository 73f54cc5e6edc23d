"""What compressed batches may inflate to: formats that no broker of today writes."""

from __future__ import annotations

import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from otus_kafka.inflate import Guard, checked


@pytest.mark.parametrize("magic", [0, 1])
def test_a_compressed_message_of_an_old_format_is_not_inflated(magic: int) -> None:
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=1, batch_size=1 << 20)
    builder.append(0, timestamp=1, key=None, value=bytes(500_000))
    reasons: list[str] = []
    made = checked(bytes(builder.build()), Guard(1 << 20, reasons.append))
    assert reasons == ["inflated"]
    batch = MemoryRecords(made).next_batch()
    assert batch is not None and batch.validate_crc()
    (record,) = list(batch)
    assert (record.key, len(record.value or b"") < 5000) == (None, True)
