from libc.stdint cimport uint8_t

cdef Py_ssize_t frame_size(const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef Py_ssize_t next_message(const uint8_t *data, Py_ssize_t at, Py_ssize_t size) noexcept nogil
