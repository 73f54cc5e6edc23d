"""Fuzz target: any bytes as the texts, payload and packed labels of outputs on their way to Kafka.

What is written is read back whole.

``python -m tests.fuzz.kafka_target`` runs seeds and mutations; with ``--fuzz`` and atheris installed it fuzzes.
"""

from __future__ import annotations

import io

from aiokafka.record.default_records import DefaultRecordBatch

from otus_core import OutputPacket
from otus_kafka.batch import record_body
from otus_kafka.records import make_writer, seal
from tests.fuzz.harness import run
from tests.kafka.outputs import place_all


def one_input(data: bytes) -> None:
    """Cut the data into pieces of the sizes that it names itself, and make records of them."""
    source = io.BytesIO(data)
    pieces = []
    while size := source.read(1):
        pieces.append(source.read(size[0] * (4 if size[0] > 250 else 1)))
    texts = [piece.decode("utf-8", "surrogateescape") for piece in pieces]
    outputs = [
        OutputPacket(labels={"sip.call_id": text, text[:9]: text}, payload_type="sip", raw_payload=piece)
        for text, piece in zip(texts, pieces, strict=True)
    ]
    if outputs:
        batches, failed = place_all(outputs, max_message_bytes=4096)
        count = sum(len(list(DefaultRecordBatch(bytearray(batch)))) for batch in batches)
        assert count + sum(failed.values()) == len(outputs)
    writer = make_writer("snappy", 0)
    bodies = [record_body(piece, None, [(text, piece)]) for piece, text in zip(pieces, texts, strict=True)]
    for body in bodies:
        writer.append(body)
    writer.finish()
    if bodies:
        assert len(seal(writer, "snappy", None).records()) == len(bodies)


def seeds() -> list[bytes]:
    """Give pieces of several sizes."""
    return [b"\x05hello\x00\x03a\xffb", b"\xff" + bytes(range(256)) * 4 + b"\x80" + b"x" * 128, b"\x7f" + b"y" * 127]


if __name__ == "__main__":
    run(one_input, seeds())
