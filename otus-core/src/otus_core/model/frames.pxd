from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


# One record of a batch's index: 32 bytes, native order.
cdef struct FrameRecord:
    int64_t timestamp
    uint64_t offset
    uint32_t capture_len
    uint32_t orig_len
    int32_t interface_index
    uint16_t link_type
    uint16_t reserved


cdef class FrameBatch:
    cdef Py_buffer _data
    cdef Py_buffer _index
    cdef bint _open
    cdef const uint8_t *data
    cdef Py_ssize_t size
    cdef const FrameRecord *records
    cdef readonly Py_ssize_t count
