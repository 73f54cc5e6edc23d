"""A buffer that grows while bytes are written into it.

A ``Writer`` that is all zeros is an empty one. Functions raise MemoryError and nothing else; ``out.at`` is where the
next byte goes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from libc.string cimport memcpy


cdef extern from *:
    """
    #ifndef OTUS_WRITER
    #define OTUS_WRITER
    typedef struct { char *start, *at, *end; } otus_writer;

    /* Twice as much as is needed, so that a buffer is moved seldom. Never inlined: few writes come here. */
    static __attribute__((noinline, cold, unused)) int otus_grow(otus_writer *out, Py_ssize_t n) {
        Py_ssize_t used = out->at - out->start, size = 2 * (used + n) + 64;
        char *grown = (char *)PyMem_Realloc(out->start, (size_t)size);
        if (grown == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        out->start = grown;
        out->at = grown + used;
        out->end = grown + size;
        return 0;
    }
    #endif
    """
    ctypedef struct Writer "otus_writer":
        char *start
        char *at
        char *end

    int grow "otus_grow" (Writer *out, Py_ssize_t n) except -1


cdef enum:
    # Bytes; a larger buffer is given back after use, so that one large message does not hold memory for ever
    WRITER_KEEPS = 1 << 20


cdef inline char *room(Writer *out, Py_ssize_t n) except NULL:
    """Give room for ``n`` more bytes."""
    if out.end - out.at <= n:   # one byte more than asked for, so that an empty writer has memory even for none
        grow(out, n)
    return out.at


cdef inline int raw(Writer *out, const char *text, Py_ssize_t n) except -1:
    """Write bytes as they are."""
    memcpy(room(out, n), text, n)
    out.at += n
    return 0


cdef inline int raw_bytes(Writer *out, bytes text) except -1:
    """Write a bytes object as it is."""
    return raw(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef inline Py_ssize_t written(const Writer *out) noexcept nogil:
    """Give how many bytes were written."""
    return out.at - out.start


cdef inline void release(Writer *out) noexcept:
    """Give the memory back; the writer is an empty one again."""
    PyMem_Free(out.start)
    out.start = out.at = out.end = NULL


cdef inline void take(Writer *kept, Writer *out) noexcept:
    """Take the buffer that is kept, to write from its start.

    Whoever may run Python code while he writes has one of his own, for another thread may write meanwhile.
    """
    out[0] = kept[0]
    out.at = out.start
    kept.start = kept.at = kept.end = NULL


cdef inline void keep(Writer *kept, Writer *out) noexcept:
    """Keep a buffer for the next one, unless it is large or another is kept already."""
    if out.end - out.start > WRITER_KEEPS or kept.start != NULL:
        PyMem_Free(out.start)
    else:
        kept[0] = out[0]
