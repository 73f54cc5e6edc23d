from libc.stdint cimport uint8_t


cdef enum:
    # What came of the frames of one message, where it is not the message.
    CONTROL_FRAME = 1
    NOT_INFLATED = 2
    INFLATES_TOO_FAR = 3


cdef class Socket:
    cdef object inflater        # of zlib, or None
    cdef int failure

    cdef bytes read(self, const uint8_t *data, Py_ssize_t size, Py_ssize_t most)
    cdef void _forget(self) noexcept
    cdef bytes _inflate_data(self, bytes data, Py_ssize_t most)


cdef Py_ssize_t frames_size(const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef bytes first_payload(const uint8_t *data, Py_ssize_t size)
cdef Py_ssize_t handshake_end(bytes data) except -2
cdef tuple handshake_protocols(bytes data, Py_ssize_t end)
