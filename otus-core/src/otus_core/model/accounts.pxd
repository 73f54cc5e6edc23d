from libc.stdint cimport int64_t


cdef class Accounts:
    cdef Py_buffer _view
    cdef bint _open
    cdef int64_t *at
    cdef readonly tuple names
    cdef dict _slots

    cdef int slot(self, str name) except -1
