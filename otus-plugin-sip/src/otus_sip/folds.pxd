from libc.stdint cimport uint8_t

from otus_core.inline.json cimport copy_plain
from otus_core.inline.writer cimport Writer, room


cdef int write_folded(Writer *out, const uint8_t *text, Py_ssize_t n) except -1
cdef str unfolded(str value)


cdef inline int write_text(Writer *out, const uint8_t *text, Py_ssize_t n) except -1:
    """Write bytes of a message as a JSON string with its quotes, folds as one blank."""
    cdef char *target = room(out, n + 2)
    if not copy_plain(target + 1, text, n):
        return write_folded(out, text, n)
    target[0] = c'"'
    target[n + 1] = c'"'
    out.at = target + n + 2
    return 0
