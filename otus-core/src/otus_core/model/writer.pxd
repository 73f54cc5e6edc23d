from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy


# A buffer that grows. Functions here are small and are compiled into their callers.
cdef struct Writer:
    char *start
    char *at
    char *end


cdef int grow(Writer *out, Py_ssize_t n) except -1
cdef void give_back(Writer *out) noexcept
cdef int write_string(Writer *out, object text) except -1
cdef int write_utf8(Writer *out, const uint8_t *text, Py_ssize_t n) except -1
cdef int write_number(Writer *out, int64_t value) except -1
cdef int write_rfc3339(Writer *out, int64_t ns) except -1
cdef int write_base64(Writer *out, bytes data) except -1


cdef inline char *room(Writer *out, Py_ssize_t n) except NULL:
    """Give room for n more bytes."""
    if out.end - out.at < n:
        grow(out, n)
    return out.at


cdef inline int raw(Writer *out, const char *text, Py_ssize_t n) except -1:
    memcpy(room(out, n), text, n)
    out.at += n
    return 0


cdef inline int raw_bytes(Writer *out, bytes text) except -1:
    return raw(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef inline uint64_t odd_bytes(uint64_t word) noexcept nogil:
    """Set a high bit when one of eight bytes is not ASCII, a control character, a quote or a backslash (a borrow or carry only follows from such a byte)."""
    cdef uint64_t ones = 0x0101010101010101ULL
    return (
        word | (word + ones) | (word - 0x2020202020202020ULL) | ((word ^ 0x2222222222222222ULL) - ones) | ((word ^ 0x5C5C5C5C5C5C5C5CULL) - ones)
    ) & 0x8080808080808080ULL


cdef inline bint copy_plain(char *target, const uint8_t *text, Py_ssize_t n) noexcept nogil:
    """Copy bytes, and tell whether all are what JSON takes as it is. The last eight are taken from the end, over those before."""
    cdef uint64_t word
    cdef uint64_t odd = 0
    cdef Py_ssize_t i = 0
    if n >= 8:
        while i < n - 8:
            memcpy(&word, text + i, 8)
            memcpy(target + i, &word, 8)
            odd |= odd_bytes(word)
            i += 8
        memcpy(&word, text + n - 8, 8)
        memcpy(target + n - 8, &word, 8)
        return (odd | odd_bytes(word)) == 0
    word = 0x2020202020202020ULL
    for i in range(n):
        target[i] = text[i]
        word = word << 8 | text[i]
    return odd_bytes(word) == 0
