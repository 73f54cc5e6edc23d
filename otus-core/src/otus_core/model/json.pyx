"""An output as one JSON object, in ASCII: what Kafka carries and ``--format json`` prints.

A payload class that offers ``to_json() -> bytes`` is spliced in; attrs classes, dicts and plain values go through the ordinary encoder.
"""

import json

import attrs

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from otus_core.model.base64 cimport write_base64
from otus_core.model.labels cimport packed_labels
from otus_core.model.output cimport OutputPacket
from otus_core.model.packet cimport Layers, ip_text
from otus_core.model.writer cimport (
    Writer, keep, raw, raw_bytes, room, take, write_number, write_rfc3339, write_string, write_utf8,
)

from otus_core.model.packet import TUNNEL_NAMES

cdef Writer _writer

# The class of the last payload that had a to_json: parsers give one class again and again.
cdef object _known_payload = OutputPacket


def _plain_value(value):
    """Turn what the ordinary encoder does not know into what it does."""
    if attrs.has(type(value)):
        return attrs.asdict(value, recurse=False)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)


cdef bytes _payload(object payload):
    """Give a payload as JSON; this may be foreign code, which may itself end up in ``encode_json``."""
    global _known_payload
    if type(payload) is _known_payload:
        return payload.to_json()
    if payload is None:
        return b"null"
    to_json = getattr(payload, "to_json", None)
    if to_json is not None:
        if hasattr(type(payload), "to_json"):
            _known_payload = type(payload)
        return to_json()
    try:
        return json.dumps(payload, default=_plain_value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except ValueError:  # RFC 8259 §6 has no NaN and no infinity: null takes their place
        plain = json.loads(json.dumps(payload, default=_plain_value), parse_constant=lambda _name: None)
        return json.dumps(plain, separators=(",", ":")).encode("ascii")


cdef int _ip(Writer *out, const uint8_t *address, int version) except -1:
    """Write an address and the quote behind it; the one before it stands with the key."""
    cdef char *target
    cdef int i
    if version != 4:
        raw_bytes(out, ip_text(address, version))
        return raw(out, b'"', 1)
    target = room(out, 16)
    for i in range(4):
        if address[i] >= 100:
            target[0] = 48 + address[i] // 100
            target += 1
        if address[i] >= 10:
            target[0] = 48 + address[i] // 10 % 10
            target += 1
        target[0] = 48 + address[i] % 10
        target[1] = c"."
        target += 2
    (target - 1)[0] = c'"'
    out.at = target
    return 0


cdef int _packed(Writer *out, bytes packed) except -1:
    """Write packed labels. Raises ValueError when lengths do not fit."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(packed)
    cdef const uint8_t *end = at + PyBytes_GET_SIZE(packed)
    cdef uint32_t name_len
    cdef uint32_t text_len
    cdef bint first = True
    while at < end:
        if end - at < 8:
            raise ValueError("packed labels are cut short")
        name_len, text_len = _little_endian(at), _little_endian(at + 4)
        at += 8
        if <uint64_t>name_len + text_len > <uint64_t>(end - at):
            raise ValueError("packed labels are cut short")
        if not first:
            raw(out, b",", 1)
        first = False
        write_utf8(out, at, name_len)
        raw(out, b":", 1)
        write_utf8(out, at + name_len, text_len)
        at += <Py_ssize_t>name_len + text_len
    return 0


cdef inline uint32_t _little_endian(const uint8_t *at) noexcept:
    return at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24


cdef int _labels(Writer *out, dict labels) except -1:
    cdef PyObject *key
    cdef PyObject *value
    cdef Py_ssize_t position = 0
    cdef bint first = True
    while PyDict_Next(labels, &position, &key, &value):
        if not first:
            raw(out, b",", 1)
        first = False
        write_string(out, <object>key)
        raw(out, b":", 1)
        write_string(out, <object>value)
    return 0


cdef int _tunnel_and_tags(Writer *out, Layers *at) except -1:
    """Write the fields that are there only when the packet was tunnelled or tagged."""
    if at.outer_version:
        raw(out, b',"outer_src_ip":"', 17)
        _ip(out, at.outer_src, at.outer_version)
        raw(out, b',"outer_dst_ip":"', 17)
        _ip(out, at.outer_dst, at.outer_version)
    if at.tunnel:
        raw(out, b',"tunnel":', 10)
        write_string(out, TUNNEL_NAMES[at.tunnel])
    if at.has_vni:
        raw(out, b',"vni":', 7)
        write_number(out, at.vni)
    if at.vlan_count:
        raw(out, b',"vlans":[', 10)
        write_number(out, at.vlans[0])
        if at.vlan_count > 1:
            raw(out, b",", 1)
            write_number(out, at.vlans[1])
        raw(out, b"]", 1)
    return 0


cdef bint _wants_rfc3339(object timestamp) except -1:
    if timestamp == "rfc3339":
        return True
    if timestamp != "ms":
        raise ValueError("timestamp is 'ms' or 'rfc3339'")
    return False


cdef int _object(Writer *out, OutputPacket output, bint rfc3339) except -1:
    """Write one object. All that may be foreign code is called before anything is written."""
    cdef Layers *at = &output.at
    cdef bytes payload = _payload(output.payload)
    cdef bytes packed = packed_labels(output)
    cdef dict labels = output.labels if packed is None else None
    raw(out, b'{"task_id":', 11)
    write_string(out, output.task_id)
    raw(out, b',"agent_id":', 12)
    write_string(out, output.agent_id)
    raw(out, b',"pipeline_id":', 15)
    write_number(out, output.pipeline_id)
    raw(out, b',"timestamp":', 13)
    if rfc3339:
        write_rfc3339(out, at.timestamp)
    else:
        write_number(out, at.timestamp // 1_000_000)
    raw(out, b',"src_ip":"', 11)
    _ip(out, at.src, at.ip_version)
    raw(out, b',"dst_ip":"', 11)
    _ip(out, at.dst, at.ip_version)
    raw(out, b',"src_port":', 12)
    write_number(out, at.src_port)
    raw(out, b',"dst_port":', 12)
    write_number(out, at.dst_port)
    raw(out, b',"protocol":', 12)
    write_number(out, at.protocol)
    _tunnel_and_tags(out, at)
    raw(out, b',"labels":{', 11)
    if packed is None:
        _labels(out, labels)
    else:
        _packed(out, packed)
    raw(out, b'},"payload_type":', 17)
    write_string(out, output.payload_type)
    raw(out, b',"payload":', 11)
    raw_bytes(out, payload)
    raw(out, b',"raw_payload":', 15)
    write_base64(out, output.raw_payload)
    return raw(out, b"}", 1)


def encode_payload(OutputPacket output not None):
    """Give the payload alone as JSON; raises what ``encode_json`` raises."""
    return _payload(output.payload)


def encode_json(OutputPacket output not None, timestamp="ms"):
    """Give the output as one JSON object without a newline; ``timestamp`` is ``"ms"`` (Unix ms) or ``"rfc3339"`` (nine digits, UTC).

    Raises what a payload's ``to_json`` raises, and TypeError or ValueError for a payload that JSON cannot hold.
    """
    cdef Writer out
    cdef bint rfc3339 = _wants_rfc3339(timestamp)
    take(&_writer, &out)
    try:
        _object(&out, output, rfc3339)
        return PyBytes_FromStringAndSize(out.start, out.at - out.start)
    finally:
        keep(&_writer, &out)


def encode_json_lines(outputs, timestamp="ms"):
    """Give outputs as JSON, one object a line, each line ended; raises what ``encode_json`` raises for the first that cannot be encoded."""
    cdef Writer out
    cdef bint rfc3339 = _wants_rfc3339(timestamp)
    take(&_writer, &out)
    try:
        for output in outputs:
            _object(&out, <OutputPacket?>output, rfc3339)
            raw(&out, b"\n", 1)
        return PyBytes_FromStringAndSize(out.start, out.at - out.start)
    finally:
        keep(&_writer, &out)
