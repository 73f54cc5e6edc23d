from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from otus_core.inline.layouts cimport Flow
from otus_core.inline.tables cimport NumberLinks, NumberOrder
from otus_core.model.flow_key cimport FlowKey


# A registered flow. Links are numbers of other entries.
cdef struct Entry:
    Flow key
    uint64_t hashed
    PyObject *context
    int64_t expires         # packet time, ns; of one that is ``early`` how long it is to live
    int32_t chain           # the next in the bucket, or in the list of free entries
    NumberLinks use
    uint32_t weight         # bytes
    uint8_t early           # registered before the first packet
    uint8_t asked           # somebody looked it up: whoever did hears of its end


cdef class FlowTable:
    cdef Entry *entries
    cdef int32_t *buckets
    cdef uint32_t mask              # buckets - 1; as many buckets as entries, rounded up to a power of two
    cdef int32_t room               # entries that there is memory for
    cdef int32_t made               # entries that have been used at least once
    cdef int32_t free
    cdef NumberOrder by_use
    cdef Py_ssize_t count
    cdef int64_t now                # of the packet being parsed, ns; 0 before the first
    cdef int64_t swept              # when expired flows were looked for last
    cdef int64_t earliest           # no flow expires before
    cdef Py_ssize_t weight          # bytes, about
    cdef Py_ssize_t weight_max
    cdef Py_ssize_t flows_evicted
    cdef Py_ssize_t flows_expired
    cdef list ends                  # keys and contexts that were looked up and have ended; None: nobody wants to hear
    cdef readonly Py_ssize_t capacity

    cdef int _open(self, Py_ssize_t capacity) except -1
    cdef object _get(self, FlowKey key, object default)
    cdef int _advance(self, int64_t now) except -1
    cdef int _put_all(self, const Flow *flows, Py_ssize_t count, object context, double ttl, int64_t at) except -1
    cdef int _remove_all(self, const Flow *flows, Py_ssize_t count) except -1
    cdef int32_t _find(self, const Flow *flow, uint64_t hashed) noexcept
    cdef int32_t _alive(self, FlowKey key) except -2
    cdef int _put(self, const Flow *flow, object context, int64_t expires, bint early, Py_ssize_t weight) except -1
    cdef int _note_end(self, int32_t i) except -1
    cdef int _end_flow(self, int32_t i) except -1
    cdef int32_t _take_entry(self) except -2
    cdef int _grow(self, int32_t room) except -1
    cdef void _begin(self, int64_t now) noexcept
    cdef void _drop(self, int32_t i) noexcept
    cdef int _sweep(self) except -1
    cdef void _link_use(self, int32_t i) noexcept
    cdef void _unlink_use(self, int32_t i) noexcept


cdef int64_t life_of(double ttl) except -1
