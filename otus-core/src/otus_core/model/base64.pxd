from otus_core.inline.writer cimport Writer


cdef int write_base64(Writer *out, bytes data) except -1
