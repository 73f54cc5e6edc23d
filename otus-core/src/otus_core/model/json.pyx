"""An output as one JSON object, in ASCII: what Kafka carries and ``--format json`` prints.

A payload class that offers ``to_json() -> bytes`` is spliced in; attrs classes, dicts and plain values go through the ordinary encoder.
"""

import json
from json.encoder import encode_basestring_ascii

import attrs

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint8_t, uint16_t
from libc.string cimport memcpy

from otus_core.model.output cimport OutputPacket
from otus_core.model.packet cimport Layers, ip_text

from otus_core.model.packet import TUNNEL_NAMES

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object)
    void *PyUnicode_DATA(object)

cdef enum:
    KEEP_BYTES = 1 << 20    # a larger buffer is given back after use

# Two base64 characters for each 12 bits, and for each byte whether JSON must escape it.
cdef uint8_t _pairs[8192]
cdef uint8_t _plain[256]
cdef bytes _ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
cdef bytes _HEX = b"0123456789abcdef"


cdef void _fill_tables() noexcept:
    cdef const uint8_t *alphabet = <const uint8_t *>PyBytes_AS_STRING(_ALPHABET)
    cdef int i
    for i in range(4096):
        _pairs[2 * i] = alphabet[i >> 6]
        _pairs[2 * i + 1] = alphabet[i & 63]
    for i in range(256):
        _plain[i] = 32 <= i < 127 and i != 34 and i != 92


_fill_tables()


cdef struct Writer:
    char *at
    Py_ssize_t size
    Py_ssize_t used


cdef Writer _writer


cdef inline char *_reserve(Py_ssize_t n) except NULL:
    """Give room for n more bytes."""
    cdef void *grown
    if _writer.used + n > _writer.size:
        grown = PyMem_Realloc(_writer.at, 2 * (_writer.used + n))
        if grown == NULL:
            raise MemoryError
        _writer.at = <char *>grown
        _writer.size = 2 * (_writer.used + n)
    return _writer.at + _writer.used


cdef inline int _raw(bytes text) except -1:
    cdef Py_ssize_t n = PyBytes_GET_SIZE(text)
    memcpy(_reserve(n), PyBytes_AS_STRING(text), n)
    _writer.used += n
    return 0


cdef inline bint _is_plain(const uint8_t *text, Py_ssize_t n) noexcept nogil:
    """Whether JSON takes this ASCII as it is. No early exit, so that the compiler makes it a vector loop."""
    cdef uint8_t bad = 0
    cdef Py_ssize_t i
    for i in range(n):
        bad |= (text[i] < 32) | (text[i] == 34) | (text[i] == 92) | (text[i] > 126)
    return bad == 0


cdef int _string(object text) except -1:
    """Write a str with its quotes."""
    cdef const uint8_t *source
    cdef char *target
    cdef Py_ssize_t n
    cdef Py_ssize_t i
    cdef uint8_t c
    if type(text) is not str:
        text = str(text)
    if not PyUnicode_IS_COMPACT_ASCII(text):
        return _raw(encode_basestring_ascii(text).encode("ascii"))
    n = PyUnicode_GET_LENGTH(text)
    source = <const uint8_t *>PyUnicode_DATA(text)
    target = _reserve(6 * n + 2)
    target[0] = c'"'
    target += 1
    if _is_plain(source, n):
        memcpy(target, source, n)
        target[n] = c'"'
        _writer.used += n + 2
        return 0
    for i in range(n):
        c = source[i]
        if _plain[c]:
            target[0] = c
            target += 1
        elif c == 34 or c == 92:
            target[0] = 92
            target[1] = c
            target += 2
        else:
            memcpy(target, b"\\u00", 4)
            target[4] = (<const char *>_HEX)[c >> 4]
            target[5] = (<const char *>_HEX)[c & 15]
            target += 6
    target[0] = c'"'
    _writer.used = target + 1 - _writer.at
    return 0


cdef int _number(int64_t value) except -1:
    cdef char digits[24]
    cdef int i = 24
    cdef bint negative = value < 0
    cdef char *target = _reserve(24)
    if negative:
        value = -value
    while True:
        i -= 1
        digits[i] = 48 + value % 10
        value //= 10
        if value == 0:
            break
    if negative:
        i -= 1
        digits[i] = 45
    memcpy(target, digits + i, 24 - i)
    _writer.used += 24 - i
    return 0


cdef inline void _padded(char *target, int64_t value, int width) noexcept:
    while width > 0:
        width -= 1
        target[width] = 48 + value % 10
        value //= 10


cdef int _rfc3339(int64_t ns) except -1:
    """Write ``"2026-02-21T10:30:00.123456789Z"``. Days to civil date for years from 1970 on, by 400-year eras of 146,097 days that begin in March."""
    cdef int64_t seconds
    cdef int64_t days
    cdef int64_t day_of_era, year_of_era, day_of_year, month, day, year
    cdef char *target = _reserve(40)
    if ns < 0:
        ns = 0
    seconds = ns // 1_000_000_000
    days = seconds // 86400 + 719468
    seconds = seconds % 86400
    day_of_era = days % 146097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    year = year_of_era + days // 146097 * 400
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    if month <= 2:
        year += 1
    memcpy(target, b'"0000-00-00T00:00:00.000000000Z"', 32)
    _padded(target + 1, year, 4)
    _padded(target + 6, month, 2)
    _padded(target + 9, day, 2)
    _padded(target + 12, seconds // 3600, 2)
    _padded(target + 15, seconds // 60 % 60, 2)
    _padded(target + 18, seconds % 60, 2)
    _padded(target + 21, ns % 1_000_000_000, 9)
    _writer.used += 32
    return 0


cdef int _base64(bytes data) except -1:
    """Write bytes as a base64 string with its quotes (RFC 4648 §4)."""
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef const uint8_t *source = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef char *target = _reserve(4 * (n // 3 + 1) + 2)
    cdef char *start = target
    cdef unsigned int word
    target[0] = c'"'
    target += 1
    while n >= 3:
        word = (source[0] << 16) | (source[1] << 8) | source[2]
        memcpy(target, &_pairs[2 * (word >> 12)], 2)
        memcpy(target + 2, &_pairs[2 * (word & 4095)], 2)
        source += 3
        target += 4
        n -= 3
    if n:
        word = (source[0] << 16) | (source[1] << 8 if n == 2 else 0)
        memcpy(target, &_pairs[2 * (word >> 12)], 2)
        memcpy(target + 2, &_pairs[2 * (word & 4095)], 2)
        target[3] = c"="
        if n == 1:
            target[2] = c"="
        target += 4
    target[0] = c'"'
    _writer.used += target + 1 - start
    return 0


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
    if payload is None:
        return b"null"
    to_json = getattr(payload, "to_json", None)
    if to_json is not None:
        return to_json()
    return json.dumps(payload, default=_plain_value, separators=(",", ":")).encode("ascii")


cdef int _ip(bytes key, const uint8_t *address, int version) except -1:
    _raw(key)
    _raw(ip_text(address, version))
    return _raw(b'"')


cdef int _labels(dict labels) except -1:
    cdef bint first = True
    _raw(b',"labels":{')
    for key, value in labels.items():
        if not first:
            _raw(b",")
        first = False
        _string(key)
        _raw(b":")
        _string(value)
    return _raw(b"}")


cdef int _tunnel_and_tags(Layers *at) except -1:
    """Write the fields that are there only when the packet was tunnelled or tagged."""
    if at.outer_version:
        _ip(b',"outer_src_ip":"', at.outer_src, at.outer_version)
        _ip(b',"outer_dst_ip":"', at.outer_dst, at.outer_version)
    if at.tunnel:
        _raw(b',"tunnel":')
        _string(TUNNEL_NAMES[at.tunnel])
    if at.has_vni:
        _raw(b',"vni":')
        _number(at.vni)
    if at.vlan_count:
        _raw(b',"vlans":[')
        _number(at.vlans[0])
        if at.vlan_count > 1:
            _raw(b",")
            _number(at.vlans[1])
        _raw(b"]")
    return 0


def encode_json(OutputPacket output not None, timestamp="ms"):
    """Give the output as one JSON object without a newline; ``timestamp`` is ``"ms"`` (Unix ms) or ``"rfc3339"`` (nine digits, UTC).

    Raises what a payload's ``to_json`` raises, and TypeError or ValueError for a payload that JSON cannot hold.
    """
    cdef Layers *at = &output.at
    cdef bytes payload = _payload(output.payload)
    _writer.used = 0
    _raw(b'{"task_id":')
    _string(output.task_id)
    _raw(b',"agent_id":')
    _string(output.agent_id)
    _raw(b',"pipeline_id":')
    _number(output.pipeline_id)
    _raw(b',"timestamp":')
    if timestamp == "ms":
        _number(at.timestamp // 1_000_000)
    elif timestamp == "rfc3339":
        _rfc3339(at.timestamp)
    else:
        raise ValueError("timestamp is 'ms' or 'rfc3339'")
    _ip(b',"src_ip":"', at.src, at.ip_version)
    _ip(b',"dst_ip":"', at.dst, at.ip_version)
    _raw(b',"src_port":')
    _number(at.src_port)
    _raw(b',"dst_port":')
    _number(at.dst_port)
    _raw(b',"protocol":')
    _number(at.protocol)
    _tunnel_and_tags(at)
    _labels(output.labels)
    _raw(b',"payload_type":')
    _string(output.payload_type)
    _raw(b',"payload":')
    _raw(payload)
    _raw(b',"raw_payload":')
    _base64(output.raw_payload)
    _raw(b"}")
    result = PyBytes_FromStringAndSize(_writer.at, _writer.used)
    if _writer.size > KEEP_BYTES:
        PyMem_Free(_writer.at)
        _writer.at = NULL
        _writer.size = 0
    return result
