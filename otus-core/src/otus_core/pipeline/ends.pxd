from libc.stdint cimport int64_t

from otus_core.model.accounts cimport Accounts
from otus_core.model.flows cimport FlowRegistry


cdef class FlowEnds:
    cdef Accounts accounts
    cdef FlowRegistry flows
    cdef list listeners
    cdef object on_error
    cdef int running

    cdef int tell(self, int64_t now) except -1
