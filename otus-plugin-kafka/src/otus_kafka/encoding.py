"""From an output to a Kafka record in the lane of its partition: key, value, headers, partition.

What is constant for a task, a flow, a call or a label's value is encoded once and kept in bounded caches; nearly the whole cost of a message is here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from murmurhash2 import murmurhash2
from otus_core import FlowKey, OutputPacket, encode_json

from otus_kafka.lanes import Lane, Ticket
from otus_kafka.records import NULL, RECORD_OVERHEAD, VARINTS, field, header, varint
from otus_kafka.settings import KafkaReporterConfig

MURMUR_SEED = 0x9747B28C
"""Kafka's own (``org.apache.kafka.common.utils.Utils.murmur2``)."""
CACHED_FLOWS = 16384
CACHED_CALLS = 16384
CACHED_VALUES = 2048
"""Values kept of one label. Each cache is emptied when it is full: values come from packets and may all differ."""
CACHED_LABELS = 512
CACHED_VALUE_MAX = 256
FIXED_HEADERS = 8
DIGITS = b"\x1a"  # the length of 13 digits: a time in ms from 2001 to 2286


def partition_hash(key: bytes) -> int:
    """Give Kafka's hash of a key; modulo the number of partitions it is the default partitioner's choice."""
    return int(murmurhash2(key, MURMUR_SEED)) & 0x7FFFFFFF


class Lanes:
    """The lanes of one topic, and which call goes where."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = lanes
        self.count = len(lanes)
        self.calls: dict[str, tuple[Lane, bytes]] = {}
        self._turn = 0

    def next(self) -> Lane:
        """Give the lanes in turn."""
        self._turn = (self._turn + 1) % self.count
        return self.lanes[self._turn]

    def of_call(self, call_id: str) -> tuple[Lane, bytes]:
        """Give the lane of a call, and its id as a key."""
        if len(self.calls) >= CACHED_CALLS:
            self.calls.clear()
        data = encode_text(call_id)
        found = self.calls[call_id] = (self.lanes[partition_hash(data) % self.count], field(data))
        return found


def encode_text(text: str) -> bytes:
    """Give text as UTF-8; bytes that were not UTF-8 in the packet become themselves again."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape" if _only_escaped(text) else "replace")


def _only_escaped(text: str) -> bool:
    return all(not 0xD800 <= ord(c) <= 0xDFFF or 0xDC80 <= ord(c) <= 0xDCFF for c in text)


class _Values(dict[str, bytes]):
    """The headers of one label, by its value."""

    def __init__(self, label: str) -> None:
        self._name = field(b"l." + encode_text(label))

    def __missing__(self, value: str) -> bytes:
        made = self._name + field(encode_text(value))
        if len(value) <= CACHED_VALUE_MAX:
            if len(self) >= CACHED_VALUES:
                self.clear()
            self[value] = made
        return made


class _Labels(dict[str, _Values]):
    """The headers of every label."""

    def __missing__(self, label: str) -> _Values:
        if len(self) >= CACHED_LABELS:
            self.clear()
        made = self[label] = _Values(label)
        return made


class Encoder:
    """Puts outputs into the lanes of their topic."""

    def __init__(self, config: KafkaReporterConfig, call_labels: Mapping[str, str]) -> None:
        self._call_labels = call_labels if config.partition_by == "call_id" else {}
        self._by_flow = config.partition_by != "none"
        self._key_is_partition = config.key == "partition"
        self._binary = config.serialization == "binary"
        self._largest = config.max_message_bytes - RECORD_OVERHEAD - 100
        self._labels = _Labels()
        self._flows: dict[FlowKey, tuple[bytes, bytes, int, bytes]] = {}

    def place(self, batch: Sequence[OutputPacket], lanes: Lanes, ticket: Ticket) -> None:
        """Encode each output and add it to a lane. One that cannot be encoded, or is too large, is settled at once."""
        now_ms = int(time.time() * 1000)
        touched: set[Lane] = set()
        flows, labels_of, calls = self._flows, self._labels, lanes.calls
        encode: Callable[[OutputPacket], bytes] = _raw if self._binary else encode_json
        spread = None if self._by_flow else lanes.next()
        payload_type: object = None
        task = agent = None
        fixed = stamp = b""
        last_ms = -1
        call_label: str | None = None
        for output in batch:
            try:
                value = encode(output)
                flow = output.flow
                known = flows.get(flow)
                key, endpoints, number, flow_key = self._new_flow(output, flow) if known is None else known
                if output.payload_type is not payload_type or output.task_id is not task or output.agent_id is not agent:
                    payload_type, task, agent = output.payload_type, output.task_id, output.agent_id
                    fixed = _fixed(output)
                    call_label = self._call_labels.get(output.payload_type)
                ms = output.timestamp // 1_000_000
                if ms != last_ms:
                    last_ms = ms
                    stamp = b"\x12timestamp%b%d" % (DIGITS, ms) if ms > 999_999_999_999 else header("timestamp", b"%d" % ms)
                labels = output.labels
                call = labels.get(call_label) if call_label is not None else None
                if call is not None:
                    lane, call_key = calls.get(call) or lanes.of_call(call)
                    if self._key_is_partition:
                        key = call_key
                elif spread is None:
                    lane = lanes.lanes[number % lanes.count]
                    if self._key_is_partition:
                        key = flow_key
                else:
                    lane = spread
                    if self._key_is_partition:
                        key = NULL
                n = len(value)
                headers = [labels_of[name][text] for name, text in labels.items()]
                size = VARINTS[n] if n < 16384 else varint(n)
                body = b"".join((key, size, value, VARINTS[FIXED_HEADERS + len(headers)], fixed, endpoints, stamp, *headers))
            except Exception:  # a payload's own to_json, or a label that is no text: this message alone is lost
                ticket.settle(1, "encode")
                continue
            if len(body) > self._largest:
                ticket.settle(1, "too_large")
                continue
            writer = lane.writer
            if writer is None or writer.size + len(body) > lane.limit.bytes or writer.count >= 16383:
                writer = lane.writer_for(len(body), now_ms)
            if writer.owner is not ticket:
                writer.give_to(ticket, now_ms)
                touched.add(lane)
            writer.append(body)
        for lane in touched:
            lane.poke()

    def _new_flow(self, output: OutputPacket, flow: FlowKey) -> tuple[bytes, bytes, int, bytes]:
        """Encode what is constant for a flow: the key, four headers, and the number and key that both directions share."""
        src_ip, dst_ip = str(output.src_ip), str(output.dst_ip)
        src, dst = f"{src_ip}:{output.src_port}", f"{dst_ip}:{output.dst_port}"
        endpoints = (
            header("src_ip", src_ip.encode())
            + header("dst_ip", dst_ip.encode())
            + header("src_port", b"%d" % output.src_port)
            + header("dst_port", b"%d" % output.dst_port)
        )
        both = "-".join(sorted((src, dst))).encode()
        if len(self._flows) >= CACHED_FLOWS:
            self._flows.clear()
        made = self._flows[flow] = (field(f"{src}-{dst}".encode()), endpoints, partition_hash(both), field(both))
        return made


def _raw(output: OutputPacket) -> bytes:
    return output.raw_payload


def _fixed(output: OutputPacket) -> bytes:
    return (
        header("task_id", encode_text(output.task_id))
        + header("agent_id", encode_text(output.agent_id))
        + header("payload_type", encode_text(output.payload_type))
    )
