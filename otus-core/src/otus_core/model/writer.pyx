"""The buffer that JSON is written into, and what JSON is made of: strings, numbers, times, base64."""

from json.encoder import encode_basestring_ascii

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object)
    void *PyUnicode_DATA(object)

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


cdef int grow(Writer *out, Py_ssize_t n) except -1:
    cdef Py_ssize_t used = out.at - out.start
    cdef void *grown = PyMem_Realloc(out.start, 2 * (used + n))
    if grown == NULL:
        raise MemoryError
    out.start = <char *>grown
    out.at = out.start + used
    out.end = out.start + 2 * (used + n)
    return 0


cdef void give_back(Writer *out) noexcept:
    PyMem_Free(out.start)
    out.start = out.at = out.end = NULL


cdef int write_string(Writer *out, object text) except -1:
    """Write a str with its quotes."""
    cdef char *target
    cdef Py_ssize_t n
    if type(text) is not str:
        text = str(text)
    if not PyUnicode_IS_COMPACT_ASCII(text):
        return raw_bytes(out, encode_basestring_ascii(text).encode("ascii"))
    n = PyUnicode_GET_LENGTH(text)
    target = room(out, n + 2)
    if not copy_plain(target + 1, <const uint8_t *>PyUnicode_DATA(text), n):
        return write_escaped(out, <const uint8_t *>PyUnicode_DATA(text), n)
    target[0] = c'"'
    target[n + 1] = c'"'
    out.at = target + n + 2
    return 0


cdef int write_utf8(Writer *out, const uint8_t *text, Py_ssize_t n) except -1:
    """Write UTF-8 as a string with its quotes."""
    cdef char *target = room(out, n + 2)
    if not copy_plain(target + 1, text, n):
        return write_string(out, text[:n].decode("utf-8", "replace"))
    target[0] = c'"'
    target[n + 1] = c'"'
    out.at = target + n + 2
    return 0


cdef int write_escaped(Writer *out, const uint8_t *source, Py_ssize_t n) except -1:
    cdef char *target = room(out, 6 * n + 2)
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
    out.at = target + 1
    return 0


cdef int write_number(Writer *out, int64_t value) except -1:
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
    return raw(out, digits + i, 24 - i)


cdef inline void _padded(char *target, int64_t value, int width) noexcept:
    while width > 0:
        width -= 1
        target[width] = 48 + value % 10
        value //= 10


cdef int write_rfc3339(Writer *out, int64_t ns) except -1:
    """Write ``"2026-02-21T10:30:00.123456789Z"``. Days to civil date for years from 1970 on, by 400-year eras of 146,097 days that begin in March."""
    cdef int64_t seconds
    cdef int64_t days
    cdef int64_t day_of_era, year_of_era, day_of_year, month, day, year
    cdef char *target = room(out, 40)
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
    out.at += 32
    return 0


cdef inline void _two(char *target, unsigned int bits) noexcept:
    memcpy(target, &_pairs[2 * (bits & 4095)], 2)


cdef int write_base64(Writer *out, bytes data) except -1:
    """Write bytes as a base64 string with its quotes (RFC 4648 §4): six bytes a step, as long as eight can be read."""
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef const uint8_t *source = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef char *target = room(out, 4 * (n // 3 + 1) + 2)
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
    out.at = target + 1
    return 0


cdef inline uint64_t _big_endian(const uint8_t *source) noexcept:
    """Read eight bytes, the first as the highest; compilers know this as one load."""
    return (
        <uint64_t>source[0] << 56 | <uint64_t>source[1] << 48 | <uint64_t>source[2] << 40 | <uint64_t>source[3] << 32
        | <uint64_t>source[4] << 24 | <uint64_t>source[5] << 16 | <uint64_t>source[6] << 8 | source[7]
    )
