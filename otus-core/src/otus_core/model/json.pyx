"""An output as one JSON object, in ASCII: what Kafka carries and ``--format json`` prints.

A payload class that offers ``to_json() -> bytes`` is spliced in; attrs classes, dicts and plain values go through the
writer of ``json_values``.
"""

from types import MethodDescriptorType

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from otus_core.inline.json cimport write_number, write_str, write_utf8
from otus_core.inline.labels cimport Label, next_label
from otus_core.inline.text cimport ADDRESS_MAX, print_address, print_date, print_padded
from otus_core.inline.writer cimport Writer, keep, raw, raw_bytes, room, take, written
from otus_core.model.base64 cimport write_base64
from otus_core.model.json_check cimport check_json
from otus_core.model.json_values cimport plain_json
from otus_core.model.labels cimport packed_labels
from otus_core.model.output cimport OutputPacket
from otus_core.model.packet cimport Layers

from otus_core.model.packet import TUNNEL_NAMES

cdef Writer _writer

# The class of the last payload that had a to_json of compiled code: parsers give one class again and again. What such
# a class gives is not looked through each time, which would take as long as writing it; the contract suite does.
cdef object _known_payload = OutputPacket
cdef object _METHOD = MethodDescriptorType

cdef bytes _payload(object payload):
    """Give a payload as JSON; this may be foreign code, which may itself end up in ``encode_json``."""
    if type(payload) is _known_payload:
        return payload.to_json()
    if payload is None:
        return b"null"
    to_json = getattr(payload, "to_json", None)
    if to_json is not None:
        return _given(payload, to_json())
    return plain_json(payload)


cdef bytes _given(object payload, object given):
    """Give what a payload's ``to_json`` gave, once it has been looked at. Raises TypeError and ValueError."""
    global _known_payload
    cdef object cls = type(payload)
    if type(given) is not bytes:
        raise TypeError(f"{cls.__module__}.{cls.__qualname__}.to_json() gave {type(given).__name__}, not bytes")
    if type(getattr(cls, "to_json", None)) is _METHOD:
        _known_payload = cls
        return <bytes>given
    try:
        check_json(<bytes>given)
    except ValueError as error:
        raise ValueError(f"{cls.__module__}.{cls.__qualname__}.to_json(): {error}") from None
    return <bytes>given


cdef int _ip(Writer *out, const uint8_t *address, int version) except -1:
    """Write an address and the quote behind it; the one before it stands with the key."""
    cdef char *target = print_address(room(out, ADDRESS_MAX + 1), address, version)
    target[0] = c'"'
    out.at = target + 1
    return 0


cdef int _text(Writer *out, object text) except -1:
    """Write a str, or whatever stands in its place, as a string."""
    return write_str(out, <str>text if type(text) is str else str(text))


cdef int _packed(Writer *out, bytes packed) except -1:
    """Write packed labels. Raises ValueError when lengths do not fit."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(packed)
    cdef const uint8_t *end = at + PyBytes_GET_SIZE(packed)
    cdef Label label
    cdef bint first = True
    while at < end:
        at = next_label(at, end, &label)
        if not first:
            raw(out, b",", 1)
        first = False
        write_utf8(out, label.name, label.name_len)
        raw(out, b":", 1)
        write_utf8(out, label.text, label.text_len)
    return 0


cdef int _labels(Writer *out, dict labels) except -1:
    cdef PyObject *key
    cdef PyObject *value
    cdef Py_ssize_t position = 0
    cdef bint first = True
    while PyDict_Next(labels, &position, &key, &value):
        if not first:
            raw(out, b",", 1)
        first = False
        if type(<object>key) is not str or type(<object>value) is not str:
            raise TypeError(f"the label {<object>key!r} is {type(<object>value).__name__}, not text")
        write_str(out, <str>key)
        raw(out, b":", 1)
        write_str(out, <str>value)
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
        _text(out, TUNNEL_NAMES[at.tunnel])
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


# The second of the last time that was written, and its text: a message is seldom a second later than the one before.
cdef int64_t _last_second = -1
cdef char _second_text[32]


cdef int _rfc3339(Writer *out, int64_t ns) except -1:
    """Write ``"2026-02-21T10:30:00.123456789Z"``."""
    global _last_second
    cdef int64_t second
    cdef char *target = room(out, 32)
    if ns < 0:
        ns = 0
    second = ns // 1_000_000_000
    if second != _last_second:
        _print_second(_second_text, second)
        _last_second = second
    memcpy(target, _second_text, 32)
    print_padded(target + 21, ns - second * 1_000_000_000, 9)
    out.at += 32
    return 0


cdef void _print_second(char *target, int64_t second) noexcept:
    cdef int64_t second_of_day = second % 86400
    memcpy(target, b'"0000-00-00T00:00:00.000000000Z"', 32)
    print_date(target + 1, second // 86400)
    print_padded(target + 12, second_of_day // 3600, 2)
    print_padded(target + 15, second_of_day // 60 % 60, 2)
    print_padded(target + 18, second_of_day % 60, 2)


cdef bint _wants_rfc3339(object timestamp) except -1:
    if timestamp == "rfc3339":
        return True
    if timestamp != "ms":
        raise ValueError("timestamp is 'ms' or 'rfc3339'")
    return False


cdef class _Said:
    """What one object after the other says in the same way, and the values that it says."""

    cdef object first
    cdef object second
    cdef object third
    cdef bytes text

    cdef bint is_of(self, object first, object second, object third):
        return (self.text is not None and self.first is first and self.second is second and self.third is third)


cdef _Said _head = _Said()
cdef _Said _kind = _Said()


cdef _Said _remember(Writer *out, Py_ssize_t begun, object first, object second, object third):
    """Keep what was written since ``begun``, an offset: the buffer may have moved."""
    cdef _Said said = _Said()
    said.first, said.second, said.third = first, second, third
    said.text = PyBytes_FromStringAndSize(out.start + begun, written(out) - begun)
    return said


cdef int _write_head(Writer *out, OutputPacket output) except -1:
    """Write the fields before the time."""
    global _head
    cdef _Said said = _head
    cdef Py_ssize_t begun = written(out)
    if said.is_of(output.task_id, output.agent_id, output.pipeline_id):
        return raw_bytes(out, said.text)
    raw(out, b'{"task_id":', 11)
    _text(out, output.task_id)
    raw(out, b',"agent_id":', 12)
    _text(out, output.agent_id)
    raw(out, b',"pipeline_id":', 15)
    write_number(out, output.pipeline_id)
    raw(out, b',"timestamp":', 13)
    _head = _remember(out, begun, output.task_id, output.agent_id, output.pipeline_id)
    return 0


cdef int _write_kind(Writer *out, object payload_type, object schema) except -1:
    """Write what stands behind the labels: the payload's type and, where it is known, the schema that describes it."""
    global _kind
    cdef _Said said = _kind
    cdef Py_ssize_t begun = written(out)
    if said.is_of(payload_type, schema, None):
        return raw_bytes(out, said.text)
    raw(out, b'},"payload_type":', 17)
    _text(out, payload_type)
    if schema is not None:
        raw(out, b',"schema":', 10)
        _text(out, schema)
    _kind = _remember(out, begun, payload_type, schema, None)
    return 0


cdef int write_object(Writer *out, OutputPacket output, bytes packed, bint rfc3339, dict schemas) except -1:
    """Write one object, with ``packed_labels`` of it. All that may be foreign code is called before anything is
    written.
    """
    cdef Layers *at = &output.at
    cdef bytes payload = _payload(output.payload)
    cdef dict labels = output.labels if packed is None else None
    _write_head(out, output)
    if rfc3339:
        _rfc3339(out, at.timestamp)
    else:
        write_number(out, at.timestamp // 1_000_000)
    if at.ip_version:
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
    _write_kind(out, output.payload_type, None if schemas is None else schemas.get(output.payload_type))
    if output.key is not None:
        raw(out, b',"key":', 7)
        _text(out, output.key)
    raw(out, b',"payload":', 11)
    raw_bytes(out, payload)
    raw(out, b',"raw_payload":', 15)
    write_base64(out, output.raw_payload)
    return raw(out, b"}", 1)


def encode_payload(OutputPacket output not None):
    """Give the payload alone as JSON; raises what ``encode_json`` raises."""
    return _payload(output.payload)


def encode_json(OutputPacket output not None, timestamp="ms"):
    """Give the output as one JSON object without a newline; ``timestamp`` is ``"ms"`` (Unix ms) or ``"rfc3339"`` (nine
    digits, UTC).

    Raises what a payload's ``to_json`` raises, and TypeError or ValueError for a payload that JSON cannot hold.
    """
    cdef Writer out
    cdef bint rfc3339 = _wants_rfc3339(timestamp)
    take(&_writer, &out)
    try:
        write_object(&out, output, packed_labels(output), rfc3339, None)
        return PyBytes_FromStringAndSize(out.start, out.at - out.start)
    finally:
        keep(&_writer, &out)


def encode_json_lines(outputs, timestamp="ms", dict schemas=None):
    """Give outputs as JSON, one object a line, each line ended; raises what ``encode_json`` raises for the first that
    cannot be encoded. ``schemas``, such as ``context.schemas``, names by payload type what each says as its ``schema``.
    """
    cdef Writer out
    cdef OutputPacket output
    cdef bint rfc3339 = _wants_rfc3339(timestamp)
    take(&_writer, &out)
    try:
        for given in outputs:
            output = <OutputPacket?>given
            write_object(&out, output, packed_labels(output), rfc3339, schemas)
            raw(&out, b"\n", 1)
        return PyBytes_FromStringAndSize(out.start, out.at - out.start)
    finally:
        keep(&_writer, &out)
