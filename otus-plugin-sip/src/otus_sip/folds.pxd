from libc.stdint cimport uint8_t

from otus_core.inline.json cimport write_plain
from otus_core.inline.writer cimport Writer


cdef int write_folded(Writer *out, const uint8_t *text, Py_ssize_t n) except -1
cdef str unfold(str value)


cdef inline int write_text(Writer *out, const uint8_t *text, Py_ssize_t n) except -1:
    """Write bytes of a message as a JSON string with its quotes, folds as one blank."""
    return 0 if write_plain(out, text, n) else write_folded(out, text, n)
