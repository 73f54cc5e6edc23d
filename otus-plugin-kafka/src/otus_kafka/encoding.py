"""From an output to a Kafka record in the lane of its partition: key, value, headers, partition.

What is constant for a task, a flow, a call or a label's value is encoded once and kept in bounded caches; nearly the whole cost of a message is here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from murmurhash2 import murmurhash2

from otus_core import FlowKey, OutputPacket, encode_json
from otus_kafka.lanes import Lane, Ticket
from otus_kafka.records import HEADER_BYTES, NULL, RECORD_OVERHEAD, RECORDS_MAX, VARINTS, field, header, varint
from otus_kafka.settings import KafkaReporterConfig

MURMUR_SEED = 0x9747B28C
"""Kafka's own (``org.apache.kafka.common.utils.Utils.murmur2``)."""
CACHED_FLOWS = 16384
CACHED_CALLS = 16384
CACHED_VALUES = 2048
"""Values kept of one label. Each cache is emptied when it is full: values come from packets and may all differ."""
CACHED_LABELS = 512
CACHED_VALUE_MAX = 256
CACHED_KINDS = 64
FIXED_HEADERS = 8

Flow = tuple[bytes, bytes, int, bytes]
"""The key of one direction, its fixed headers, and the hash and key that both directions share."""


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
        self._largest = config.max_message_bytes - RECORD_OVERHEAD - HEADER_BYTES
        self._labels = _Labels()
        self._flows: dict[tuple[str, str, str], dict[FlowKey, Flow]] = {}

    def place(self, batch: Sequence[OutputPacket], lanes: Lanes, ticket: Ticket) -> None:
        """Encode each output and add it to a lane. One that cannot be encoded, or is too large, is settled at once."""
        now_ms = int(time.time() * 1000)
        touched: list[Lane] = []
        labels_of, calls, call_key_only = self._labels, lanes.calls, self._key_is_partition
        encode: Callable[[OutputPacket], bytes] = _raw if self._binary else encode_json
        spread = None if self._by_flow else lanes.next()
        flows: dict[FlowKey, Flow] = {}
        payload_type = task = agent = call_label = None
        stamp = b""
        last_ms = -1
        for output in batch:
            try:
                value = encode(output)
                if (
                    output.payload_type is not payload_type
                    or output.task_id is not task
                    or output.agent_id is not agent
                ):
                    payload_type, task, agent = output.payload_type, output.task_id, output.agent_id
                    flows = self._flows_of(output)
                    call_label = self._call_labels.get(payload_type)
                flow = output.flow
                key, fixed, number, flow_key = flows.get(flow) or self._new_flow(flows, flow, output)
                ms = output.timestamp // 1_000_000
                if ms != last_ms:
                    last_ms = ms
                    stamp = header("timestamp", b"%d" % ms)
                labels = output.labels
                call = labels.get(call_label) if call_label is not None else None
                if call is not None:
                    lane, call_key = calls.get(call) or lanes.of_call(call)
                    if call_key_only:
                        key = call_key
                elif spread is None:
                    lane = lanes.lanes[number % lanes.count]
                    if call_key_only:
                        key = flow_key
                else:
                    lane = spread
                    if call_key_only:
                        key = NULL
                n = len(value)
                headers = [labels_of[name][text] for name, text in labels.items()]
                size = VARINTS[n] if n < RECORDS_MAX else varint(n)
                body = b"".join((key, size, value, VARINTS[FIXED_HEADERS + len(headers)], fixed, stamp, *headers))
            except Exception:  # a payload's own to_json, or a label that is no text: this message alone is lost
                ticket.settle(1, "encode")
                continue
            n = len(body)
            if n > self._largest:
                ticket.settle(1, "too_large")
                continue
            writer = lane.writer
            if writer is None or writer.size + n > lane.limit.bytes or len(writer.bodies) >= RECORDS_MAX:
                writer = lane.writer_for(n, now_ms)
            if writer.owner is not ticket:
                writer.give_to(ticket)
                touched.append(lane)
            writer.bodies.append(body)
            writer.size += n + RECORD_OVERHEAD
        for lane in touched:
            lane.poke()

    def _flows_of(self, output: OutputPacket) -> dict[FlowKey, Flow]:
        """Give the cache for outputs of one task and payload type."""
        kind = (output.task_id, output.agent_id, output.payload_type)
        if kind not in self._flows and len(self._flows) >= CACHED_KINDS:
            self._flows.clear()
        return self._flows.setdefault(kind, {})

    def _new_flow(self, flows: dict[FlowKey, Flow], flow: FlowKey, output: OutputPacket) -> Flow:
        """Encode what is constant for a flow: key, seven headers, and the number and key that both directions share."""
        src_ip, dst_ip = str(output.src_ip), str(output.dst_ip)
        src, dst = f"{src_ip}:{output.src_port}", f"{dst_ip}:{output.dst_port}"
        fixed = (
            header("task_id", encode_text(output.task_id)),
            header("agent_id", encode_text(output.agent_id)),
            header("payload_type", encode_text(output.payload_type)),
            header("src_ip", src_ip.encode()),
            header("dst_ip", dst_ip.encode()),
            header("src_port", b"%d" % output.src_port),
            header("dst_port", b"%d" % output.dst_port),
        )
        both = "-".join(sorted((src, dst))).encode()
        if len(flows) >= CACHED_FLOWS:
            flows.clear()
        made = flows[flow] = (field(f"{src}-{dst}".encode()), b"".join(fixed), partition_hash(both), field(both))
        return made


def _raw(output: OutputPacket) -> bytes:
    return output.raw_payload
