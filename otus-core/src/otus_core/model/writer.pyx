"""The buffer that JSON is written into, and what JSON is made of: strings, numbers, times."""

from json.encoder import encode_basestring_ascii

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from otus_core.model.plain cimport copy_plain

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object)
    void *PyUnicode_DATA(object)

# For each byte whether JSON takes it as it is.
cdef uint8_t _plain[256]
cdef bytes _HEX = b"0123456789abcdef"


cdef void _fill_table() noexcept:
    cdef int i
    for i in range(256):
        _plain[i] = 32 <= i < 127 and i != 34 and i != 92


_fill_table()


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


# The second of the last time that was written, and its text: a message is seldom a second later than the one before.
cdef int64_t _last_second = -1
cdef char _second_text[32]


cdef int write_rfc3339(Writer *out, int64_t ns) except -1:
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
    _padded(target + 21, ns - second * 1_000_000_000, 9)
    out.at += 32
    return 0


cdef void _print_second(char *target, int64_t second) noexcept:
    """Days to civil date for years from 1970 on, by 400-year eras of 146,097 days that begin in March."""
    cdef int64_t day_of_era, year_of_era, day_of_year, month, day, year
    cdef int64_t days = second // 86400 + 719468
    cdef int64_t second_of_day = second % 86400
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
    _padded(target + 12, second_of_day // 3600, 2)
    _padded(target + 15, second_of_day // 60 % 60, 2)
    _padded(target + 18, second_of_day % 60, 2)
