from libc.stdint cimport int64_t

from otus_core.inline.layouts cimport Flow
from otus_core.model.endpoints cimport Endpoints
from otus_core.model.flow_table cimport FlowTable


cdef class FlowRegistry(FlowTable):
    cdef Endpoints endpoints
    cdef list news                  # what was announced lately; None: nobody wants to hear
    cdef public object _on_change   # for the core: siblings are told by it
    cdef int64_t changes
    cdef public bint watched

    cpdef _move_clock(self, int64_t now)
    cdef tuple _look(self, object packet, bint every)
    cdef int _announce(self, const Flow *flows, Py_ssize_t count, object context, object owner, double ttl,
                       int64_t at) except -1
    cdef int _end(self, object owner, double linger, int64_t at) except -1
