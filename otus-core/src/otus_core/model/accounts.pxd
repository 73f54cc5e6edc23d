from libc.stdint cimport int64_t


cdef class Accounts:
    cdef object _owner
    cdef int64_t *at
    cdef readonly tuple names
    cdef dict _slots

    cdef int slot(self, str name) except -1


cdef class Counter:
    cdef Accounts accounts
    cdef int at
