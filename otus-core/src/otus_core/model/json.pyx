"""An output as one JSON object, in ASCII: what Kafka carries and ``--format json`` prints.

A payload class that offers ``to_json() -> bytes`` is spliced in; attrs classes, dicts and plain values go through the ordinary encoder.
"""

import json
from json.encoder import encode_basestring_ascii

import attrs

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport PyObject
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from otus_core.model.labels cimport packed_labels
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
    char *start
    char *at
    char *end


cdef Writer _writer


cdef int _grow(Py_ssize_t n) except -1:
    cdef Py_ssize_t used = _writer.at - _writer.start
    cdef void *grown = PyMem_Realloc(_writer.start, 2 * (used + n))
    if grown == NULL:
        raise MemoryError
    _writer.start = <char *>grown
    _writer.at = _writer.start + used
    _writer.end = _writer.start + 2 * (used + n)
    return 0


cdef inline char *_room(Py_ssize_t n) except NULL:
    """Give room for n more bytes."""
    if _writer.end - _writer.at < n:
        _grow(n)
    return _writer.at


cdef inline int _raw(const char *text, Py_ssize_t n) except -1:
    memcpy(_room(n), text, n)
    _writer.at += n
    return 0


cdef inline int _bytes(bytes text) except -1:
    return _raw(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef inline uint64_t _odd_bytes(uint64_t word) noexcept nogil:
    """Set a high bit when one of eight bytes is not ASCII, a control character, a quote or a backslash (a borrow or carry only follows from such a byte)."""
    cdef uint64_t ones = 0x0101010101010101ULL
    return (
        word | (word + ones) | (word - 0x2020202020202020ULL) | ((word ^ 0x2222222222222222ULL) - ones) | ((word ^ 0x5C5C5C5C5C5C5C5CULL) - ones)
    ) & 0x8080808080808080ULL


cdef inline bint _copy_plain(char *target, const uint8_t *text, Py_ssize_t n) noexcept nogil:
    """Copy bytes, and tell whether all are what JSON takes as it is. The last eight are taken from the end, over those before."""
    cdef uint64_t word
    cdef uint64_t odd = 0
    cdef Py_ssize_t i = 0
    if n >= 8:
        while i < n - 8:
            memcpy(&word, text + i, 8)
            memcpy(target + i, &word, 8)
            odd |= _odd_bytes(word)
            i += 8
        memcpy(&word, text + n - 8, 8)
        memcpy(target + n - 8, &word, 8)
        return (odd | _odd_bytes(word)) == 0
    word = 0x2020202020202020ULL
    for i in range(n):
        target[i] = text[i]
        word = word << 8 | text[i]
    return _odd_bytes(word) == 0


cdef int _string(object text) except -1:
    """Write a str with its quotes."""
    cdef char *target
    cdef Py_ssize_t n
    if type(text) is not str:
        text = str(text)
    if not PyUnicode_IS_COMPACT_ASCII(text):
        return _bytes(encode_basestring_ascii(text).encode("ascii"))
    n = PyUnicode_GET_LENGTH(text)
    target = _room(n + 2)
    if not _copy_plain(target + 1, <const uint8_t *>PyUnicode_DATA(text), n):
        return _escaped(<const uint8_t *>PyUnicode_DATA(text), n)
    target[0] = c'"'
    target[n + 1] = c'"'
    _writer.at = target + n + 2
    return 0


cdef int _utf8(const uint8_t *text, Py_ssize_t n) except -1:
    """Write UTF-8 as a string with its quotes."""
    cdef char *target = _room(n + 2)
    if not _copy_plain(target + 1, text, n):
        return _string(text[:n].decode("utf-8", "replace"))
    target[0] = c'"'
    target[n + 1] = c'"'
    _writer.at = target + n + 2
    return 0


cdef int _escaped(const uint8_t *source, Py_ssize_t n) except -1:
    cdef char *target = _room(6 * n + 2)
    cdef Py_ssize_t i
    cdef uint8_t c
    target[0] = c'"'
    target += 1
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
    _writer.at = target + 1
    return 0


cdef int _number(int64_t value) except -1:
    cdef char digits[24]
    cdef int i = 24
    cdef uint64_t rest = <uint64_t>value
    if value < 0:
        rest = 0 - rest
    while True:
        i -= 1
        digits[i] = 48 + rest % 10
        rest //= 10
        if rest == 0:
            break
    if value < 0:
        i -= 1
        digits[i] = 45
    return _raw(digits + i, 24 - i)


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
    cdef char *target = _room(40)
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
    _writer.at += 32
    return 0


cdef inline void _two(char *target, unsigned int bits) noexcept:
    memcpy(target, &_pairs[2 * (bits & 4095)], 2)


cdef int _base64(bytes data) except -1:
    """Write bytes as a base64 string with its quotes (RFC 4648 §4): six bytes a step, as long as eight can be read."""
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef const uint8_t *source = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef char *target = _room(4 * (n // 3 + 1) + 2)
    cdef uint64_t word
    target[0] = c'"'
    target += 1
    while n >= 8:
        word = _big_endian(source)
        _two(target, <unsigned int>(word >> 52))
        _two(target + 2, <unsigned int>(word >> 40))
        _two(target + 4, <unsigned int>(word >> 28))
        _two(target + 6, <unsigned int>(word >> 16))
        source += 6
        target += 8
        n -= 6
    while n >= 3:
        word = (source[0] << 16) | (source[1] << 8) | source[2]
        _two(target, <unsigned int>(word >> 12))
        _two(target + 2, <unsigned int>word)
        source += 3
        target += 4
        n -= 3
    if n:
        word = (source[0] << 16) | (source[1] << 8 if n == 2 else 0)
        _two(target, <unsigned int>(word >> 12))
        _two(target + 2, <unsigned int>word)
        target[3] = c"="
        if n == 1:
            target[2] = c"="
        target += 4
    target[0] = c'"'
    _writer.at = target + 1
    return 0


cdef inline uint64_t _big_endian(const uint8_t *source) noexcept:
    """Read eight bytes, the first as the highest; compilers know this as one load."""
    return (
        <uint64_t>source[0] << 56 | <uint64_t>source[1] << 48 | <uint64_t>source[2] << 40 | <uint64_t>source[3] << 32
        | <uint64_t>source[4] << 24 | <uint64_t>source[5] << 16 | <uint64_t>source[6] << 8 | source[7]
    )


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


cdef int _ip(const uint8_t *address, int version) except -1:
    """Write an address and the quote behind it; the one before it stands with the key."""
    cdef char *target
    cdef int i
    if version != 4:
        _bytes(ip_text(address, version))
        return _raw(b'"', 1)
    target = _room(16)
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
    _writer.at = target
    return 0


cdef int _packed(bytes packed) except -1:
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
            _raw(b",", 1)
        first = False
        _utf8(at, name_len)
        _raw(b":", 1)
        _utf8(at + name_len, text_len)
        at += <Py_ssize_t>name_len + text_len
    return 0


cdef inline uint32_t _little_endian(const uint8_t *at) noexcept:
    return at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24


cdef int _labels(dict labels) except -1:
    cdef PyObject *key
    cdef PyObject *value
    cdef Py_ssize_t position = 0
    cdef bint first = True
    while PyDict_Next(labels, &position, &key, &value):
        if not first:
            _raw(b",", 1)
        first = False
        _string(<object>key)
        _raw(b":", 1)
        _string(<object>value)
    return 0


cdef int _tunnel_and_tags(Layers *at) except -1:
    """Write the fields that are there only when the packet was tunnelled or tagged."""
    if at.outer_version:
        _raw(b',"outer_src_ip":"', 17)
        _ip(at.outer_src, at.outer_version)
        _raw(b',"outer_dst_ip":"', 17)
        _ip(at.outer_dst, at.outer_version)
    if at.tunnel:
        _raw(b',"tunnel":', 10)
        _string(TUNNEL_NAMES[at.tunnel])
    if at.has_vni:
        _raw(b',"vni":', 7)
        _number(at.vni)
    if at.vlan_count:
        _raw(b',"vlans":[', 10)
        _number(at.vlans[0])
        if at.vlan_count > 1:
            _raw(b",", 1)
            _number(at.vlans[1])
        _raw(b"]", 1)
    return 0


def encode_json(OutputPacket output not None, timestamp="ms"):
    """Give the output as one JSON object without a newline; ``timestamp`` is ``"ms"`` (Unix ms) or ``"rfc3339"`` (nine digits, UTC).

    Raises what a payload's ``to_json`` raises, and TypeError or ValueError for a payload that JSON cannot hold.
    """
    cdef Layers *at = &output.at
    cdef bytes payload = _payload(output.payload)
    cdef bytes packed = packed_labels(output)
    cdef dict labels = output.labels if packed is None else None
    _writer.at = _writer.start
    _raw(b'{"task_id":', 11)
    _string(output.task_id)
    _raw(b',"agent_id":', 12)
    _string(output.agent_id)
    _raw(b',"pipeline_id":', 15)
    _number(output.pipeline_id)
    _raw(b',"timestamp":', 13)
    if timestamp == "ms":
        _number(at.timestamp // 1_000_000)
    elif timestamp == "rfc3339":
        _rfc3339(at.timestamp)
    else:
        raise ValueError("timestamp is 'ms' or 'rfc3339'")
    _raw(b',"src_ip":"', 11)
    _ip(at.src, at.ip_version)
    _raw(b',"dst_ip":"', 11)
    _ip(at.dst, at.ip_version)
    _raw(b',"src_port":', 12)
    _number(at.src_port)
    _raw(b',"dst_port":', 12)
    _number(at.dst_port)
    _raw(b',"protocol":', 12)
    _number(at.protocol)
    _tunnel_and_tags(at)
    _raw(b',"labels":{', 11)
    if packed is None:
        _labels(labels)
    else:
        _packed(packed)
    _raw(b"}", 1)
    _raw(b',"payload_type":', 16)
    _string(output.payload_type)
    _raw(b',"payload":', 11)
    _bytes(payload)
    _raw(b',"raw_payload":', 15)
    _base64(output.raw_payload)
    _raw(b"}", 1)
    result = PyBytes_FromStringAndSize(_writer.start, _writer.at - _writer.start)
    if _writer.end - _writer.start > KEEP_BYTES:
        PyMem_Free(_writer.start)
        _writer.start = _writer.at = _writer.end = NULL
    return result
