from libc.stdint cimport int32_t, int64_t, uint64_t

from otus_core.inline.layouts cimport Flow
from otus_core.model.candidates cimport Candidates, Endpoint


cdef class FlowMatch:
    cdef readonly object owner
    cdef readonly object destination
    cdef readonly object source
    cdef readonly int score
    cdef readonly int64_t begun


cdef class Endpoints(Candidates):
    cdef uint64_t lookups
    cdef int64_t swept
    cdef int64_t earliest       # none that is alive expires before
    cdef Py_ssize_t expired

    cdef int announce(self, const Flow *flows, Py_ssize_t count, object context, Py_ssize_t weight, object owner,
                      int64_t life, int64_t now) except -1
    cdef object said(self, const Endpoint *at, object owner, int64_t now)
    cdef int end(self, object owner, int64_t linger, int64_t now) except -1
    cdef tuple find(self, const Endpoint *source, const Endpoint *destination, int64_t now, bint every)
    cdef int advance(self, int64_t now) except -1
    cdef int begin(self, int64_t now) except -1
    cdef void _place(self, int32_t *ordered, int *count, int32_t i) noexcept
    cdef FlowMatch _match(self, int32_t destination, int32_t source)
    cdef int _sweep(self, int64_t now) except -1
