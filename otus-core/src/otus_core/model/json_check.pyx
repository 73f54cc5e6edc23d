"""Whether bytes that somebody else's ``to_json`` gave are JSON (RFC 8259) that can stand in a line of JSON: one value,
on one line, in UTF-8.

One pass over the bytes; nothing is made of them.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t
from libc.string cimport memcmp

cdef enum:
    DEPTH = 256                 # each level takes some of the C stack

DEPTH_MAX = DEPTH
"""Arrays and objects inside each other."""

cdef struct Text:
    const uint8_t *at           # where it is wrong, once it is
    const uint8_t *end
    bint is_ascii


cpdef int check_json(bytes text) except -1:
    """Raise ValueError, with the place, unless the text is one JSON value without a line break."""
    cdef Text t
    cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(text)
    t.at = start
    t.end = start + PyBytes_GET_SIZE(text)
    t.is_ascii = True
    if not _value(&t, 0) or _blank(&t) < t.end:
        where = "the end" if t.at >= t.end else f"byte {t.at - start}"
        raise ValueError(f"this is not JSON on one line: it is wrong at {where}")
    if not t.is_ascii:
        PyUnicode_DecodeUTF8(<const char *>start, PyBytes_GET_SIZE(text), NULL)
    return 0


cdef inline const uint8_t *_blank(Text *t) noexcept:
    while t.at < t.end and (t.at[0] == c" " or t.at[0] == c"\t"):
        t.at += 1
    return t.at


cdef bint _value(Text *t, int depth) noexcept:
    cdef uint8_t first
    if _blank(t) >= t.end or depth > DEPTH:
        return False
    first = t.at[0]
    if first == c'"':
        return _string(t)
    if first == c"{" or first == c"[":
        return _group(t, depth, first == c"{")
    if first == c"-" or c"0" <= first <= c"9":
        return _number(t)
    return _word(t, b"true", 4) or _word(t, b"false", 5) or _word(t, b"null", 4)


cdef bint _word(Text *t, const char *word, Py_ssize_t size) noexcept:
    if t.end - t.at < size or memcmp(t.at, word, size):
        return False
    t.at += size
    return True


cdef inline bint _take(Text *t, uint8_t character) noexcept:
    if _blank(t) >= t.end or t.at[0] != character:
        return False
    t.at += 1
    return True


cdef bint _group(Text *t, int depth, bint is_object) noexcept:
    """An object or an array; ``at`` is on its first character."""
    cdef uint8_t last = c"}" if is_object else c"]"
    t.at += 1
    if _take(t, last):
        return True
    while True:
        if is_object:
            if _blank(t) >= t.end or t.at[0] != c'"' or not _string(t) or not _take(t, c":"):
                return False
        if not _value(t, depth + 1):
            return False
        if _take(t, last):
            return True
        if not _take(t, c","):
            return False


cdef bint _string(Text *t) noexcept:
    cdef const uint8_t *at = t.at + 1
    while at < t.end and at[0] != c'"':
        if at[0] < 0x20:
            break
        if at[0] == c"\\":
            at += 1
            if at >= t.end or not _is_escape(at, t.end):
                break
        elif at[0] >= 0x80:
            t.is_ascii = False
        at += 1
    t.at = at
    if at >= t.end or at[0] != c'"':
        return False
    t.at += 1
    return True


cdef bint _is_escape(const uint8_t *at, const uint8_t *end) noexcept:
    """Whether what stands behind a backslash may; of ``u`` and its four digits, the digits are passed as text."""
    cdef int i
    if at[0] == c"u":
        if end - at < 5:
            return False
        for i in range(1, 5):
            if not _is_hex(at[i]):
                return False
        return True
    return (at[0] == c'"' or at[0] == c"\\" or at[0] == c"/" or at[0] == c"b" or at[0] == c"f" or at[0] == c"n"
            or at[0] == c"r" or at[0] == c"t")


cdef inline bint _is_hex(uint8_t one) noexcept:
    return c"0" <= one <= c"9" or c"a" <= (one | 0x20) <= c"f"


cdef inline bint _digits(Text *t) noexcept:
    cdef const uint8_t *start = t.at
    while t.at < t.end and c"0" <= t.at[0] <= c"9":
        t.at += 1
    return t.at > start


cdef bint _number(Text *t) noexcept:
    """RFC 8259 §6: no leading zero, no leading plus, no NaN."""
    if t.at[0] == c"-":
        t.at += 1
    if t.at < t.end and t.at[0] == c"0":
        t.at += 1
    elif not _digits(t):
        return False
    if t.at < t.end and t.at[0] == c".":
        t.at += 1
        if not _digits(t):
            return False
    if t.at < t.end and t.at[0] | 0x20 == c"e":
        t.at += 1
        if t.at < t.end and (t.at[0] == c"+" or t.at[0] == c"-"):
            t.at += 1
        return _digits(t)
    return True
