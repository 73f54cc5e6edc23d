from libc.stdint cimport uint8_t

from otus_core.inline.writer cimport Writer


cdef int write_description(Writer *out, const uint8_t *data, Py_ssize_t size) except -1
