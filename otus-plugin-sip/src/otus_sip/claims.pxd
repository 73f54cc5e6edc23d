from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, uint32_t

from otus_core.inline.layouts cimport Flow


cdef enum:
    NO_CLAIM = -1       # the end of a list of claims
    LAST = -1           # of release: nobody else has this flow
    NOT_NEWEST = -2     # of release: somebody else announced the flow later


# That one pair of descriptions announced one flow. Links are indices of other claims.
cdef struct Claim:
    Flow flow
    uint32_t hashed
    PyObject *context
    int32_t chain       # the next in the bucket, or of the free ones; only the newest claim to a flow is in a bucket
    int32_t newer       # claims to the same flow
    int32_t older
    int32_t next        # of the same pair


cdef class Claims:
    cdef Claim *claims
    cdef int32_t *buckets
    cdef uint32_t mask
    cdef int32_t room
    cdef int32_t made
    cdef int32_t free
    cdef Py_ssize_t count

    cdef int32_t add(self, const Flow *flow, object context, int32_t next) except -2
    cdef int32_t release(self, int32_t i) noexcept
    cdef int _grow(self) except -1
