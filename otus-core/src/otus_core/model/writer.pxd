from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t
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
