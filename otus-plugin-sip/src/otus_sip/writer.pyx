"""The buffer that JSON is written into, and strings as JSON has them; the small functions are in the ``.pxd``."""

import json as standard

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from otus_sip.plain cimport copy_plain

# What becomes of a byte in a JSON string.
cdef enum:
    PLAIN = 0
    ESCAPED = 1                 # on its own, as \" or \\ or \u00XX
    DECODED = 2                 # the whole string is decoded: not ASCII, or a fold

cdef enum:
    KEEP_BYTES = 1 << 20        # a larger buffer is given back after use
    STEP = 8                    # bytes that are copied at once where they may be

cdef uint8_t _classes[256]
cdef bytes HEX = b"0123456789abcdef"
_encode = standard.JSONEncoder(separators=(",", ":")).encode


cdef void _fill() noexcept:
    cdef int c
    for c in range(256):
        if c > 126 or c == 10:
            _classes[c] = DECODED
        elif c < 32 or c == 34 or c == 92:
            _classes[c] = ESCAPED
        else:
            _classes[c] = PLAIN


_fill()


cdef int grow(Writer *out, Py_ssize_t n) except -1:
    """Make room for n more bytes, and as many again as there are."""
    cdef Py_ssize_t used = out.at - out.start
    cdef void *grown = PyMem_Realloc(out.start, 2 * (used + n))
    if grown == NULL:
        raise MemoryError
    out.start = <char *>grown
    out.at = out.start + used
    out.end = out.start + 2 * (used + n)
    return 0


cdef void take(Writer *kept, Writer *out) noexcept:
    """Take the buffer that is kept, to write from its start: whoever may run Python code while he writes has one of his own, for another thread may write meanwhile."""
    out[0] = kept[0]
    out.at = out.start
    kept.start = kept.at = kept.end = NULL


cdef void keep(Writer *kept, Writer *out) noexcept:
    """Keep a buffer for the next one, unless it is large or another is kept already."""
    if out.end - out.start > KEEP_BYTES or kept.start != NULL:
        PyMem_Free(out.start)
    else:
        kept[0] = out[0]


cdef int write_number(Writer *out, Py_ssize_t value) except -1:
    """Write a number that is not negative."""
    cdef char digits[20]
    cdef int i = 20
    while True:
        i -= 1
        digits[i] = 48 + value % 10
        value //= 10
        if value == 0:
            break
    return raw(out, digits + i, 20 - i)


cdef int write_escaped(Writer *out, const uint8_t *text, Py_ssize_t n) except -1:
    cdef char *target = room(out, 6 * n + 2)
    cdef const uint8_t *end = text + n
    cdef const uint8_t *at = text
    cdef uint8_t c
    target[0] = c'"'
    target += 1
    while at < end:
        if end - at >= STEP and copy_plain(target, at, STEP):
            target += STEP
            at += STEP
            continue
        c = at[0]
        at += 1
        if _classes[c] == PLAIN:
            target[0] = c
            target += 1
        elif _classes[c] == DECODED:
            return _decoded(out, text, n)
        elif c >= 32:
            target[0] = 92
            target[1] = c
            target += 2
        else:
            memcpy(target, b"\\u00", 4)
            target[4] = (<const char *>HEX)[c >> 4]
            target[5] = (<const char *>HEX)[c & 15]
            target += 6
    target[0] = c'"'
    out.at = target + 1
    return 0


cdef int _decoded(Writer *out, const uint8_t *text, Py_ssize_t n) except -1:
    """Write bytes that are not all ASCII, or have folds, which become one blank."""
    value = PyBytes_FromStringAndSize(<const char *>text, n).decode("utf-8", "replace")
    return write_value(out, unfolded(value) if "\n" in value else value)


cdef str unfolded(str value):
    """Join lines with one blank, as one value (RFC 3261 §7.3.1)."""
    return " ".join([part for part in [line.strip(" \t\r") for line in value.split("\n")] if part])


cdef int write_value(Writer *out, object value) except -1:
    """Write any plain value by the ordinary encoder."""
    cdef bytes encoded = _encode(value).replace("\x7f", "\\u007f").encode("ascii")
    return raw(out, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))
