"""What arrives in the topic, read by another client: keys, headers, values, partitions."""

from __future__ import annotations

import asyncio
import base64
import random
from typing import Any

import pytest
from aiokafka import errors

from otus_core import encode_json
from otus_kafka.outcome import Outcome, judge
from tests.patience import PATIENCE_S, keeps

from .broker import PASSWORD, USER, Broker
from .client import consume, consume_raw, make_topic, produce
from .outputs import HEADERS, SCHEMA, T0_MS, reporter, send_all, sip


def test_a_message_has_the_documented_key_headers_and_value(broker: Broker, topic: str) -> None:
    assert send_all(broker.bootstrap, [sip(0)], topic=topic) == (1, {})
    (record,) = consume(broker, topic)
    assert record.key == "call-1@example"
    assert record.headers == {
        "task_id": "sip-1",
        "agent_id": "edge-1",
        "payload_type": "sip",
        "schema": SCHEMA,
        "src_ip": "192.0.2.10",
        "dst_ip": "198.51.100.20",
        "src_port": "5060",
        "dst_port": "5062",
        "timestamp": str(T0_MS),
        "timestamp_ns": f"{T0_MS}000789",
        "l.sip.method": "INVITE",
        "l.sip.call_id": "call-1@example",
    }
    assert list(record.headers)[:10] == HEADERS
    assert record.json == {
        "task_id": "sip-1",
        "agent_id": "edge-1",
        "pipeline_id": 2,
        "timestamp": T0_MS,
        "src_ip": "192.0.2.10",
        "dst_ip": "198.51.100.20",
        "src_port": 5060,
        "dst_port": 5062,
        "protocol": 17,
        "labels": {"sip.method": "INVITE", "sip.call_id": "call-1@example"},
        "payload_type": "sip",
        "payload": {"n": 0},
        "raw_payload": base64.b64encode(b"INVITE sip:bob@example SIP/2.0\r\n\r\n").decode(),
    }


def test_ipv6_endpoints_stand_in_the_key_as_they_print(broker: Broker, topic: str) -> None:
    send_all(broker.bootstrap, [sip(0, src_ip="2001:db8::1", dst_ip="2001:db8::2")], topic=topic, key="endpoints")
    (record,) = consume(broker, topic)
    assert record.key == "2001:db8::1:5060-2001:db8::2:5062"
    assert record.headers["src_ip"] == "2001:db8::1"


def test_binary_values_are_the_raw_payload_alone(broker: Broker, topic: str) -> None:
    payloads = [b"", b"\x00\xff" * 50, b"x" * 20_000]
    send_all(broker.bootstrap, [sip(0, raw_payload=raw) for raw in payloads], topic=topic, serialization="binary")
    assert consume_raw(broker, topic) == payloads


def test_a_record_is_keyed_by_its_own_key_and_has_the_headers_that_it_can_have(broker: Broker, topic: str) -> None:
    plain = {"labels": {"a.b": "c"}, "payload_type": "sum", "is_record": True, "raw_payload": b""}
    nowhere = plain | {"src_ip": None, "dst_ip": None, "protocol": 0}
    outputs = [sip(0, **nowhere, key="call-7"), sip(1, **nowhere), sip(2, **plain, key="call-7")]
    for serialization in ("json", "binary"):
        send_all(broker.bootstrap, outputs, topic=topic, key="partition", serialization=serialization)
    records = consume(broker, topic)
    assert sorted((record.key or "", record.json["timestamp"]) for record in records) == [
        *[("", T0_MS + 1)] * 2,
        *[("call-7", T0_MS)] * 2,
        *[("call-7", T0_MS + 2)] * 2,
    ]
    assert len({record.partition for record in records if record.key}) == 1
    for record in records:
        placed = record.json["timestamp"] == T0_MS + 2
        names = ["src_ip", "dst_ip", "src_port", "dst_port"] if placed else []
        assert list(record.headers) == [
            "task_id",
            "agent_id",
            "payload_type",
            *names,
            "timestamp",
            "timestamp_ns",
            "l.a.b",
        ]
        assert ("src_ip" in record.json) is placed


@pytest.mark.parametrize(
    ("compression", "level"),
    [
        ("none", None),
        ("gzip", None),
        ("gzip", 9),
        ("snappy", None),
        ("lz4", None),
        ("lz4", 12),
        ("zstd", None),
        ("zstd", 1),
    ],
)
def test_every_compression_is_understood(broker: Broker, compression: str, level: int | None) -> None:
    topic = make_topic(broker)
    noise = random.Random(1)
    outputs = [sip(n, f"call-{n % 9}", raw_payload=noise.randbytes(400)) for n in range(700)]
    options: dict[str, Any] = {"compression": compression, "compression_level": level}
    assert send_all(broker.bootstrap, outputs, topic=topic, **options) == (700, {})
    records = consume(broker, topic)
    assert sorted(r.value for r in records) == sorted(encode_json(o).decode() for o in outputs)


def test_what_does_not_get_smaller_is_sent_as_it_is(broker: Broker, topic: str) -> None:
    noise = random.Random(2).randbytes(300)
    send_all(
        broker.bootstrap,
        [sip(0, raw_payload=noise, labels={})],
        topic=topic,
        serialization="binary",
        compression="gzip",
    )
    assert consume_raw(broker, topic) == [noise]


def test_order_stays_within_a_partition(broker: Broker, topic: str) -> None:
    async def run() -> None:
        async with reporter(broker.bootstrap, topic=topic, batch_size=10) as made:
            batches = [[sip(n, f"call-{n % 5}") for n in range(start, start + 50)] for start in range(0, 2000, 50)]
            await asyncio.gather(*(made.report(batch) for batch in batches))

    asyncio.run(run())
    for partition in range(4):
        numbers = [r.json["payload"]["n"] for r in consume(broker, topic) if r.partition == partition]
        assert numbers == sorted(numbers)


def test_a_batch_that_is_too_large_for_the_broker_arrives_in_parts_and_in_order(broker: Broker) -> None:
    """The reporter believes that a megabyte may be sent, and the topic takes 4 KiB: each batch is halved
    until it fits.
    """
    topic = make_topic(broker, partitions=1, **{"max.message.bytes": "4096"})
    noise = random.Random(3)
    outputs = [sip(n, raw_payload=noise.randbytes(300)) for n in range(64)]
    assert send_all(broker.bootstrap, outputs, topic=topic, compression="none") == (64, {})
    assert [record.json["payload"]["n"] for record in consume(broker, topic)] == list(range(64))


def test_a_message_that_alone_is_too_large_for_the_broker_costs_itself_only(broker: Broker) -> None:
    topic = make_topic(broker, partitions=1, **{"max.message.bytes": "4096"})
    outputs = [sip(n, raw_payload=random.Random(n).randbytes(9000 if n == 5 else 300)) for n in range(8)]
    assert send_all(broker.bootstrap, outputs, topic=topic, compression="none") == (7, {"too_large": 1})
    assert [record.json["payload"]["n"] for record in consume(broker, topic)] == [0, 1, 2, 3, 4, 6, 7]


@pytest.mark.parametrize("most", [1, 3])
def test_a_batch_is_sent_max_attempts_times_and_then_given_up(broker: Broker, topic: str, most: int) -> None:
    """A try that reached no broker does not count; one that a broker refuses for now does."""
    refusals = [
        errors.NotEnoughReplicasError(),
        *([errors.NodeNotReadyError()] * 2),
        *([errors.NotEnoughReplicasError()] * 5),
    ]
    answers = iter(refusals)
    asked: list[type[Exception]] = []

    async def run() -> dict[str, list[int]]:
        async with reporter(broker.bootstrap, topic=topic, max_attempts=most) as made:
            assert made._link is not None

            async def refuse(*about: Any) -> Outcome:
                asked.append(type(error := next(answers)))
                return judge(error)

            made._link.send = refuse  # type: ignore[method-assign]
            return {reason: list(places) for reason, places in (await made.report([sip(0), sip(1)])).failed.items()}

    assert asyncio.run(run()) == {"refused": [0, 1]}
    assert asked.count(errors.NotEnoughReplicasError) == most


class TestPartitions:
    def test_a_call_stays_together_whatever_its_flows(self, broker: Broker, topic: str) -> None:
        calls = [f"call-{n}@example" for n in range(40)]
        outputs = [sip(n, call, reply=bool(n), src_port=5000 + n) for call in calls for n in range(3)]
        send_all(broker.bootstrap, outputs, topic=topic)
        where: dict[str, set[int]] = {}
        for record in consume(broker, topic):
            where.setdefault(record.headers["l.sip.call_id"], set()).add(record.partition)
        assert all(len(partitions) == 1 for partitions in where.values())
        assert set().union(*where.values()) == {0, 1, 2, 3}

    def test_a_call_is_where_kafkas_own_partitioner_puts_its_id(self, broker: Broker, topic: str) -> None:
        calls = [f"call-{n}-\u00fc@example" for n in range(20)]
        send_all(broker.bootstrap, [sip(0, call) for call in calls], topic=topic, key="partition")
        ours = {record.key: record.partition for record in consume(broker, topic)}
        other = make_topic(broker)
        assert ours == {call: produce(broker, other, b"", call.encode()) for call in calls}

    @pytest.mark.parametrize("options", [{"partition_by": "flow"}, {}], ids=["flow", "call id without a call"])
    def test_both_directions_of_a_flow_stay_together(self, broker: Broker, topic: str, options: dict[str, str]) -> None:
        outputs = []
        for port in range(5000, 5040):
            outputs.append(sip(0, None, src_port=port))
            outputs.append(sip(1, None, reply=True, dst_port=port))
        send_all(broker.bootstrap, outputs, topic=topic, **options)
        where: dict[frozenset[str], set[int]] = {}
        for record in consume(broker, topic):
            assert record.key is not None
            where.setdefault(frozenset(record.key.split("-")), set()).add(record.partition)
        assert len(where) == 40
        assert all(len(partitions) == 1 for partitions in where.values())
        assert set().union(*where.values()) == {0, 1, 2, 3}

    def test_none_spreads_batches_over_the_partitions(self, broker: Broker, topic: str) -> None:
        async def run() -> None:
            async with reporter(broker.bootstrap, topic=topic, partition_by="none") as made:
                for n in range(8):
                    await made.report([sip(n)])

        asyncio.run(run())
        assert sorted(record.partition for record in consume(broker, topic)) == [0, 0, 1, 1, 2, 2, 3, 3]

    def test_added_partitions_are_used(self, own_broker: Broker, topic: str) -> None:
        from confluent_kafka.admin import NewPartitions

        from .client import admin

        async def run() -> None:
            async with reporter(own_broker.bootstrap, topic=topic, partition_by="none") as made:
                await made.report([sip(0)])
                operator = admin(own_broker)  # its futures end with it
                for future in operator.create_partitions([NewPartitions(topic, 8)]).values():
                    future.result(20)
                assert made._link is not None and made._link.producer is not None
                client = made._link.producer.client
                # The broker tells of them a little later
                while len(client.cluster.partitions_for_topic(topic) or ()) < 8:
                    await client.force_metadata_update()
                for n in range(16):
                    assert (await made.report([sip(n)])).reported == 1

        asyncio.run(run())
        assert {record.partition for record in consume(own_broker, topic)} == set(range(8))


def test_a_prefix_names_one_topic_for_each_payload_type(broker: Broker) -> None:
    prefix = make_topic(broker)
    for kind in ("sip", "raw"):
        make_topic(broker, name=f"{prefix}-{kind}")
    outputs = [sip(n, payload_type="sip" if n % 3 else "raw") for n in range(9)]
    assert send_all(broker.bootstrap, outputs, topic_prefix=prefix) == (9, {})
    assert len(consume(broker, f"{prefix}-sip")) == 6
    assert len(consume(broker, f"{prefix}-raw")) == 3


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_acks(broker: Broker, topic: str, acks: Any) -> None:
    assert send_all(broker.bootstrap, [sip(n) for n in range(50)], topic=topic, acks=acks) == (50, {})
    assert len(consume(broker, topic)) == 50


def test_few_messages_leave_after_the_flush_interval(broker: Broker, topic: str) -> None:
    async def run() -> float:
        async with reporter(broker.bootstrap, topic=topic, flush_interval=0.3) as made:
            await made.report([sip(0)])
            begun = asyncio.get_running_loop().time()
            await made.report([sip(1)])
            waited = asyncio.get_running_loop().time() - begun
            assert waited > 0.29
            return waited

    keeps(2.0, lambda: asyncio.run(run()))


def test_flush_does_not_wait_for_the_interval(broker: Broker, topic: str) -> None:
    async def run() -> int:
        async with reporter(broker.bootstrap, topic=topic, flush_interval=600, delivery_timeout=1200) as made:
            first = asyncio.create_task(made.report([sip(0)]))
            while not made.status()["open_reports"] or not made._lanes:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0)
            while not first.done():
                await made.flush()
                await asyncio.sleep(0.01)
            return (await first).reported

    assert asyncio.run(asyncio.wait_for(run(), PATIENCE_S)) == 1


def test_an_empty_batch_is_nothing(broker: Broker, topic: str) -> None:
    assert send_all(broker.bootstrap, [], topic=topic) == (0, {})


LOGINS = {
    "plain": ("SASLP", {"mechanism": "PLAIN"}, False),
    "scram-256": ("SASLP", {"mechanism": "SCRAM-SHA-256"}, False),
    "scram-512": ("SASLP", {"mechanism": "SCRAM-SHA-512"}, False),
    "tls": ("TLS", None, True),
    "scram over tls": ("SASLTLS", {"mechanism": "SCRAM-SHA-256"}, True),
}


@pytest.mark.parametrize(("listener", "sasl", "tls"), LOGINS.values(), ids=LOGINS)
def test_logins(
    own_broker: Broker, topic: str, listener: str, sasl: dict[str, str] | None, tls: bool, tmp_path: Any
) -> None:
    from otus_kafka.settings import SaslConfig, TlsConfig

    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    options: dict[str, Any] = {}
    if sasl:
        options["sasl"] = SaslConfig(enabled=True, username=USER, password_file=str(secret), **sasl)
    if tls:
        options["tls"] = TlsConfig(enabled=True, ca_file=str(own_broker.certificates.ca))
    assert send_all(own_broker.servers[listener], [sip(0)], topic=topic, **options) == (1, {})
    assert len(consume(own_broker, topic)) == 1


def test_a_client_certificate(own_broker: Broker, topic: str) -> None:
    from otus_kafka.settings import TlsConfig

    files = own_broker.certificates
    tls = TlsConfig(
        enabled=True, ca_file=str(files.ca), cert_file=str(files.client_cert), key_file=str(files.client_key)
    )
    assert send_all(own_broker.servers["MTLS"], [sip(0)], topic=topic, tls=tls) == (1, {})
