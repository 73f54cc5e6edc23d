"""Outputs as bytes that outlive their process: what a spool holds.

In: an ``OutputPacket``. Out: bytes from which an output is made that reporters cannot tell from it: the same envelope,
labels, key, raw bytes and JSON of the payload. Format 2: a head of fixed size, the lengths of the parts, the parts.
Integers have their lowest byte first.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any

from otus_core.model.json import encode_payload
from otus_core.model.output import OutputPacket

FORMAT = 2
"""A spool may be read by another version than wrote it, after an upgrade."""
# format, flags, timestamp, pipeline, ports, protocol, vni, VLAN tags, how many of these, labels
HEAD = struct.Struct("<BBqiHHBIHHBH")
HAS_VNI, IS_RECORD, HAS_KEY = 1, 2, 4
"""Flags."""
PARTS = 11
"""Parts before the labels."""


class StoredPayload:
    """A payload that was stored: only its JSON is left of it."""

    __slots__ = ("_json",)

    def __init__(self, json: bytes) -> None:
        self._json = json

    def to_json(self) -> bytes:
        """Give the payload as JSON."""
        return self._json

    def __repr__(self) -> str:
        return f"StoredPayload({self._json!r})"


def store(output: OutputPacket) -> bytes:
    """Give an output as bytes.

    Raises what the payload's ``to_json`` raises, and what labels raise that are not text.
    """
    labels = output.labels
    ends = (b"", output.src_port, b"", output.dst_port, output.protocol)
    src, src_port, dst, dst_port, protocol = ends if output.flow is None else output.flow.parts()
    vlans = output.vlans
    vni = output.vni
    parts = [
        src,
        dst,
        _pack_address(output.outer_src_ip),
        _pack_address(output.outer_dst_ip),
        _encode(output.tunnel or ""),
        _encode(output.task_id),
        _encode(output.agent_id),
        _encode(output.payload_type),
        encode_payload(output),
        output.raw_payload,
        _encode(output.key or ""),
    ]
    for name, text in labels.items():
        parts += (_encode(name), _encode(text))
    # The decoder keeps two tags at most (IEEE 802.1ad: a service and a customer tag).
    tags = (*vlans, 0, 0)[:2]
    flags = HAS_VNI * (vni is not None) | IS_RECORD * output.is_record | HAS_KEY * (output.key is not None)
    head = (FORMAT, flags, output.timestamp, output.pipeline_id, src_port, dst_port, protocol, vni or 0)
    packed = HEAD.pack(*head, *tags, len(vlans), len(labels))
    return b"".join((packed, struct.pack(f"<{len(parts)}I", *map(len, parts)), *parts))


def restore(data: bytes) -> OutputPacket:
    """Give the output that was stored. Raises ValueError for bytes that hold none."""
    try:
        return _restore(data)
    except (struct.error, TypeError, OverflowError) as error:
        raise ValueError(f"no stored output: {error}") from error


def _restore(data: bytes) -> OutputPacket:
    form, flags, timestamp, pipeline, src_port, dst_port, protocol, vni, first, second, tags, count = HEAD.unpack_from(
        data
    )
    if form != FORMAT:
        raise ValueError(f"stored in format {form}; this version reads {FORMAT}")
    sizes = struct.unpack_from(f"<{PARTS + 2 * count}I", data, HEAD.size)
    at = HEAD.size + 4 * len(sizes)
    if at + sum(sizes) != len(data):
        raise ValueError("the parts of a stored output are not as long as it says")
    parts = []
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    src, dst, outer_src, outer_dst, tunnel, task, agent, kind, payload, raw, key = parts[:PARTS]
    texts = [part.decode("utf-8", "surrogatepass") for part in parts[PARTS:]]
    return OutputPacket(
        task_id=_decode(task),
        agent_id=_decode(agent),
        pipeline_id=pipeline,
        timestamp=timestamp,
        src_ip=ip_address(src) if src else None,
        dst_ip=ip_address(dst) if dst else None,
        src_port=src_port,
        dst_port=dst_port,
        protocol=protocol,
        labels=dict(zip(texts[::2], texts[1::2], strict=True)),
        payload_type=_decode(kind),
        payload=None if payload == b"null" else StoredPayload(payload),
        raw_payload=raw,
        outer_src_ip=ip_address(outer_src) if outer_src else None,
        outer_dst_ip=ip_address(outer_dst) if outer_dst else None,
        tunnel=_decode(tunnel) or None,
        vni=vni if flags & HAS_VNI else None,
        vlans=(first, second)[:tags],
        key=_decode(key) if flags & HAS_KEY else None,
        is_record=bool(flags & IS_RECORD),
    )


def _pack_address(address: Any) -> bytes:
    return b"" if address is None else ip_address(address).packed


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # bytes that were no UTF-8 in the packet are halves of surrogate pairs


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
