from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from otus_sip.plain cimport copy_plain


# A buffer that grows. Functions here are small and are compiled into their callers.
cdef struct Writer:
    char *start
    char *at
    char *end


cdef int grow(Writer *out, Py_ssize_t n) except -1
cdef void take(Writer *kept, Writer *out) noexcept
cdef void keep(Writer *kept, Writer *out) noexcept
cdef int write_number(Writer *out, Py_ssize_t value) except -1
cdef int write_escaped(Writer *out, const uint8_t *text, Py_ssize_t n) except -1
cdef int write_value(Writer *out, object value) except -1
cdef str unfolded(str value)


cdef inline char *room(Writer *out, Py_ssize_t n) except NULL:
    """Give room for n more bytes."""
    if out.end - out.at < n:
        grow(out, n)
    return out.at


cdef inline int raw(Writer *out, const char *text, Py_ssize_t n) except -1:
    memcpy(room(out, n), text, n)
    out.at += n
    return 0


cdef inline int write_string(Writer *out, const uint8_t *text, Py_ssize_t n) except -1:
    """Write bytes as a JSON string."""
    cdef char *target = room(out, n + 2)
    if not copy_plain(target + 1, text, n):
        return write_escaped(out, text, n)
    target[0] = c'"'
    target[n + 1] = c'"'
    out.at = target + n + 2
    return 0
