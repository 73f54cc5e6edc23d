"""Records as the encoder writes them, read by others: the client library's parser, and librdkafka behind a real broker.

No record depends on what is in it.
"""

from __future__ import annotations

import gc
import itertools
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.partitioner import murmur2
from aiokafka.record.default_records import DefaultRecordBatch
from confluent_kafka import Consumer
from hypothesis import given, settings
from hypothesis import strategies as st

from otus_core import OutputPacket, encode_json
from otus_kafka.batch import BatchWriter, encode_text, record_body
from otus_kafka.encoding import partition_hash
from otus_kafka.records import compressor, make_writer, seal
from otus_sip import parse
from tests.core.model.test_labels import CUT, SOUND, Packed, output_of

from .broker import Broker
from .outputs import HEADERS, place, place_all, send_all, sip

HOSTILE = {
    "empty": "",
    "escapes": '\x00\x1b[31m\r\n"\\\x7f',
    "not UTF-8 in the packet": "a\udcff\udc80b",
    "half a surrogate pair": "a\ud800b",
    "astral": "\U0001f4de" * 40,
    "127": "x" * 127,
    "128": "x" * 128,
    "huge": "y" * 70_000,
}
TEXTS = st.text(st.characters(codec="utf-8") | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF), max_size=200)


def records(batch: bytes) -> list[Any]:
    """Read a batch with the client library, which checks lengths; the checksum is asked for."""
    if not batch:
        return []
    reader = DefaultRecordBatch(bytearray(batch))
    assert reader.validate_crc()
    return list(reader)


def one(output: OutputPacket, **options: Any) -> Any:
    batches, failed = place([output], partitions=1, **options)
    assert failed == {}
    (record,) = records(batches[0])
    return record


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_labels_text_arrives_as_it_was(text: str) -> None:
    record = one(sip(0, labels={"x.y": text}))
    assert record.headers[10:] == [("l.x.y", encode_text(text))]
    assert [name for name, _ in record.headers[:10]] == HEADERS
    assert record.key == b"192.0.2.10:5060-198.51.100.20:5062"


def test_bytes_that_were_no_utf_8_are_the_same_bytes_again() -> None:
    assert encode_text(b"a\xff\x80b".decode("utf-8", "surrogateescape")) == b"a\xff\x80b"
    assert encode_text("a\ud800b") == b"a?b"


def test_a_labels_name_is_always_one_that_readers_can_decode() -> None:
    record = one(sip(0, labels={"é\udcff": "v", "n" * 300: "w"}))
    assert [name for name, _ in record.headers[10:]] == ["l.é?", "l." + "n" * 300]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(TEXTS, TEXTS), max_size=20), st.binary(max_size=300), st.ip_addresses(), st.integers(0, 65535)
)
def test_any_output_comes_back(pairs: list[tuple[str, str]], raw: bytes, address: Any, port: int) -> None:
    labels = {f"k.{n}": text for n, (_, text) in enumerate(pairs)}
    reply = "192.0.2.1" if address.version == 4 else "2001:db8::1"
    output = sip(0, labels=labels, raw_payload=raw, src_ip=address, dst_ip=reply, src_port=port)
    record = one(output, compression="none", key="endpoints")
    assert record.value == encode_json(output)
    assert record.key == f"{address}:{port}-{reply}:5062".encode()
    headers = dict(record.headers)
    assert (headers["src_ip"], headers["src_port"]) == (str(address).encode(), str(port).encode())
    assert {name[2:]: text for name, text in record.headers[10:]} == {k: encode_text(v) for k, v in labels.items()}


def test_labels_of_a_source_are_those_of_the_dict() -> None:
    raw = (
        b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1\r\nVia: SIP/2.0/TCP b\r\nf: <sip:\xff@b>;tag=1\r\n"
        b"t: sip:b@c;tag=2\r\ni: x\r\n y\r\nCSeq: 1 INVITE\r\n\r\n"
    )
    message = parse(raw)
    packed = message.packed_labels()
    found = {}
    while packed:
        name, text = (int.from_bytes(packed[at : at + 4], "little") for at in (0, 4))
        found[packed[8 : 8 + name].decode()] = packed[8 + name : 8 + name + text].decode()
        packed = packed[8 + name + text :]
    assert found == message.labels()
    assert list(found) == list(message.labels())


@pytest.mark.parametrize("labels", [{"a": 1}, {1: "a"}, {"sip.call_id": None}], ids=str)
def test_what_is_no_text_costs_that_message_alone(labels: dict[Any, Any]) -> None:
    outputs = [sip(0), sip(1, labels=labels), sip(2)]
    batches, failed = place(outputs, partitions=1)
    assert failed == {"encode": 1}
    assert [json.loads(r.value)["payload"]["n"] for r in records(batches[0])] == [0, 2]


@pytest.mark.parametrize("packed", CUT.values(), ids=CUT)
def test_packed_labels_that_are_cut_short_cost_that_message_alone(packed: bytes) -> None:
    outputs = [output_of(Packed(labels)) for labels in (SOUND, packed, SOUND)]
    batches, failed = place(outputs, partitions=1, serialization="binary")
    assert failed == {"encode": 1}
    assert [record.headers[-1:] for record in records(batches[0])] == [[("l.x.a", b"1")]] * 2


def test_the_flow_key_is_the_same_for_both_directions_whichever_end_is_the_lesser_text() -> None:
    """Ends of which one is the beginning of the other are told apart by their length."""
    ends = [("10.0.0.1", 50), ("10.0.0.1", 5060), ("10.0.0.1", 506), ("192.0.2.1", 80), ("10.0.0.10", 5)]
    for src, dst in itertools.permutations(ends, 2):
        fields = dict(src_ip=src[0], src_port=src[1], dst_ip=dst[0], dst_port=dst[1])
        record = one(sip(0, None, **fields), key="partition", partition_by="flow")
        texts = sorted(f"{address}:{port}" for address, port in (src, dst))
        assert record.key.decode() == "-".join(texts)


def test_the_texts_of_many_ipv6_addresses_do_not_pile_up() -> None:
    """Addresses come from packets: of 40,000 no more texts stay than the cache may hold, each of which is two blocks of
    memory.
    """

    def report(begin: int, end: int) -> None:
        pairs = ((f"2001:db8::{n:x}", f"2001:db8:1::{n:x}") for n in range(begin, end))
        outputs = [sip(0, None, src_ip=src, dst_ip=dst) for src, dst in pairs]
        assert place(outputs, partitions=1, serialization="binary")[1] == {}

    report(0, 100)
    gc.collect()
    before = sys.getallocatedblocks()
    for begin in range(0, 20_000, 500):
        report(begin, begin + 500)
    gc.collect()
    assert sys.getallocatedblocks() - before < 2 * 16384 + 10_000


def test_what_is_too_large_costs_that_message_alone() -> None:
    outputs = [sip(0), sip(1, raw_payload=b"x" * 5000), sip(2)]
    batches, failed = place(outputs, partitions=1, max_message_bytes=4096, serialization="binary")
    assert failed == {"too_large": 1}
    assert len(records(batches[0])) == 2


@given(st.binary(max_size=40))
def test_the_hash_of_a_key_is_kafkas(key: bytes) -> None:
    assert partition_hash(key) == murmur2(key) & 0x7FFFFFFF


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_many_records_of_every_size_keep_their_order_and_their_owners(compression: str) -> None:
    writer = make_writer(compression, 1_771_668_600_123)
    bodies = [record_body(None if n % 7 == 0 else b"%d" % n, b"v" * (n * 37 % 3000), [("h", b"")]) for n in range(700)]
    for n, body in enumerate(bodies):
        if n % 100 == 0:
            writer.give_to(n // 100)
        writer.append(body)
    with pytest.raises(BufferError):
        writer.records()
    writer.finish()
    with pytest.raises(ValueError, match="finished"):
        writer.append(b"")
    assert writer.shares == [(owner, 100) for owner in range(7)]
    batch = seal(writer, compression, compressor(compression, None))
    assert batch.records() == bodies
    found = records(bytes(batch._build()))
    assert [record.offset for record in found] == list(range(700))
    assert {record.timestamp for record in found} == {1_771_668_600_123}
    writer.let_go()
    assert (writer.size, writer.count, len(writer.shares)) == (0, 700, 7)


def test_records_that_somebody_reads_are_not_let_go() -> None:
    writer = BatchWriter(0)
    writer.append(b"x")
    writer.finish()
    with writer.records(), pytest.raises(BufferError):
        writer.let_go()
    writer.let_go()


@pytest.mark.kafka
def test_a_broker_and_librdkafka_take_what_is_hostile(broker: Broker, topic: str) -> None:
    outputs = [sip(n, labels={"x.y": text, "sip.call_id": text or "c"}) for n, text in enumerate(HOSTILE.values())]
    assert send_all(broker.bootstrap, outputs, topic=topic, key="partition") == (len(outputs), {})
    found = {json.loads(message.value())["payload"]["n"]: message for message in read(broker, topic, len(outputs))}
    for n, text in enumerate(HOSTILE.values()):
        assert found[n].key() == encode_text(text or "c")
        assert dict(found[n].headers())["l.x.y"] == encode_text(text)


def read(broker: Broker, topic: str, count: int) -> Sequence[Any]:
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": f"records-{topic}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found: list[Any] = []
    until = time.monotonic() + 60
    while len(found) < count and time.monotonic() < until:
        message = consumer.poll(1)
        if message is not None:
            assert message.error() is None
            found.append(message)
    consumer.close()
    return found


def test_a_batch_that_is_read_keeps_its_memory_until_nobody_reads_it() -> None:
    writer = BatchWriter(1_771_668_600_123)
    writer.append(record_body(None, b"v" * 5000, []))
    writer.finish()
    with writer.records() as view:
        with pytest.raises(BufferError, match="being read"):
            writer.let_go()
        assert len(view) == writer.size > 5000
    writer.let_go()
    assert writer.size == 0


def test_the_places_of_records_are_those_that_there_are() -> None:
    writer = BatchWriter(1_771_668_600_123)
    for number in (7, 8, 9):
        writer.append(record_body(None, b"v", []), number)
    assert (writer.places(0, 3), writer.places(1, 2), writer.places(3, 0)) == ([7, 8, 9], [8, 9], [])
    for start, count in ((0, 4), (2, 2), (3, 1), (-1, 1), (0, -1)):
        with pytest.raises(IndexError):
            writer.places(start, count)


def test_what_a_compressor_raises_shows_when_the_batch_is_sealed() -> None:
    """The records are those of many messages: the one that filled a block is not to be blamed alone."""

    def fails(block: memoryview, into: memoryview) -> int:
        raise MemoryError(f"no room for {len(block)}")

    writer = BatchWriter(0, fails)
    for _ in range(40):
        writer.append(record_body(None, b"v" * 5000, []))
    writer.finish()
    with pytest.raises(MemoryError, match="no room for 65536"):
        seal(writer, "snappy", None)


def test_a_compressor_that_wrote_more_than_it_could_is_not_believed() -> None:
    writer = BatchWriter(0, lambda block, into: len(into) + 1)
    writer.append(record_body(None, b"v", []))
    writer.finish()
    with pytest.raises(ValueError, match="more than there was room for"):
        writer.blocks()


@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_what_has_no_room_in_one_batch_is_the_first_of_the_next(compression: str) -> None:
    """Each batch has as much as the limit allows, and no message is in none or in two."""
    outputs = [sip(n, raw_payload=b"x" * (n * 17 % 900)) for n in range(300)]
    batches, failed = place_all(outputs, compression=compression, max_message_bytes=8192)
    assert failed == {}
    assert len(batches) > 20
    found = [record for batch in batches for record in records(batch)]
    assert [json.loads(record.value)["payload"]["n"] for record in found] == list(range(300))
    assert [record.offset for record in records(batches[1])] == list(range(len(records(batches[1]))))
