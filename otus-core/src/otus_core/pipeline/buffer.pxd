from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

from otus_core.model.accounts cimport Accounts
from otus_core.model.output cimport OutputPacket


cdef class SendBuffer:
    cdef Accounts accounts
    cdef PyObject **ring
    cdef readonly Py_ssize_t capacity
    cdef readonly Py_ssize_t count
    cdef readonly int64_t bytes_held
    cdef readonly int64_t max_bytes
    cdef readonly bint waits
    cdef bint patient           # at the end of a source that could not wait: whoever fills it can
    cdef bint spooled
    cdef Py_ssize_t head
    cdef int offered
    cdef int queued
    cdef int overflow
    cdef int moved
    cdef SendBuffer beyond

    cdef int put(self, OutputPacket output) except -1
    cdef Py_ssize_t _places(self) noexcept
    cdef void _drop_oldest(self) noexcept
    cdef int _overflow_oldest(self) except -1
