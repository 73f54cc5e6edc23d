from libc.stdint cimport uint8_t

from otus_core.inline.layouts cimport FrameRecord


cdef class FrameBatch:
    cdef Py_buffer _data
    cdef Py_buffer _index
    cdef bint _open
    cdef const uint8_t *data
    cdef Py_ssize_t size
    cdef const FrameRecord *records
    cdef readonly Py_ssize_t count
    cdef readonly tuple metadata
