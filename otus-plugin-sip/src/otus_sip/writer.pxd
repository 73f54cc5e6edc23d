from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


# A buffer that grows. Functions here are small and are compiled into their callers.
cdef struct Writer:
    char *start
    char *at
    char *end


cdef int grow(Writer *out, Py_ssize_t n) except -1
cdef void give_back(Writer *out) noexcept
cdef int write_number(Writer *out, Py_ssize_t value) except -1
cdef int write_escaped(Writer *out, const uint8_t *text, Py_ssize_t n) except -1
cdef int write_value(Writer *out, object value) except -1


cdef inline char *room(Writer *out, Py_ssize_t n) except NULL:
    """Give room for n more bytes."""
    if out.end - out.at < n:
        grow(out, n)
    return out.at


cdef inline int raw(Writer *out, const char *text, Py_ssize_t n) except -1:
    memcpy(room(out, n), text, n)
    out.at += n
    return 0


cdef inline uint64_t odd_bytes(uint64_t word) noexcept nogil:
    """Set a high bit when one of eight bytes is not ASCII, a control character, a quote or a backslash (a borrow or carry only follows from such a byte)."""
    cdef uint64_t ones = 0x0101010101010101ULL
    return (
        word | (word + ones) | (word - 0x2020202020202020ULL) | ((word ^ 0x2222222222222222ULL) - ones) | ((word ^ 0x5C5C5C5C5C5C5C5CULL) - ones)
    ) & 0x8080808080808080ULL


cdef inline bint copy_plain(uint8_t *target, const uint8_t *text, Py_ssize_t n) noexcept nogil:
    """Copy bytes, and tell whether all are what JSON takes as it is. The last eight (or four) are taken from the end, over those before."""
    cdef uint64_t word
    cdef uint64_t odd = 0
    cdef uint32_t low
    cdef uint32_t high
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
    if n >= 4:
        memcpy(&low, text, 4)
        memcpy(&high, text + n - 4, 4)
        memcpy(target, &low, 4)
        memcpy(target + n - 4, &high, 4)
        return odd_bytes(low | <uint64_t>high << 32) == 0
    word = 0x2020202020202020ULL
    for i in range(n):
        target[i] = text[i]
        word = word << 8 | text[i]
    return odd_bytes(word) == 0


cdef inline int write_string(Writer *out, const uint8_t *text, Py_ssize_t n) except -1:
    """Write bytes as a JSON string."""
    cdef char *target = room(out, n + 2)
    if not copy_plain(<uint8_t *>target + 1, text, n):
        return write_escaped(out, text, n)
    target[0] = c'"'
    target[n + 1] = c'"'
    out.at = target + n + 2
    return 0
