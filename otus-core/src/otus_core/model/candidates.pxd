from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from otus_core.inline.tables cimport NumberLinks, NumberOrder

cdef enum:
    CANDIDATES_MAX = 16         # of one endpoint


# Where somebody listens, or sends from. No padding, so that equal endpoints are equal bytes.
cdef struct Endpoint:
    uint8_t address[16]
    uint16_t port
    uint8_t version
    uint8_t protocol
    uint32_t zero


# That one owner announced one endpoint. Links are numbers of other candidates.
cdef struct Candidate:
    Endpoint at
    uint64_t hashed
    PyObject *context
    PyObject *owner         # an Owner
    int64_t expires         # packet time, ns; of one that is ``early`` how long it is to live
    int32_t chain           # the next endpoint in the bucket, or the next free one; only the newest candidate to an
                            # endpoint stands in a bucket
    int32_t older           # candidates to the same endpoint
    int32_t newer
    int32_t next            # candidates of the same owner
    int32_t before
    NumberLinks turn        # in the order in which they go
    uint32_t weight
    uint8_t ending          # its owner has ended
    uint8_t early           # announced before the first packet
    uint8_t asked           # found since it was announced: whoever found it hears of its end
    uint8_t found           # found since it was last to go


cdef class Owner:
    cdef object name
    cdef int64_t begun
    cdef int32_t head
    cdef Py_ssize_t count
    cdef uint64_t mark      # the number of the lookup that met it last
    cdef int32_t source     # what that lookup found at the packet's source


cdef class Candidates:
    cdef Candidate *all
    cdef int32_t *buckets
    cdef uint32_t mask
    cdef int32_t room
    cdef int32_t made
    cdef int32_t free
    cdef NumberOrder alive                 # by when they were announced
    cdef NumberOrder ending               # by when their owners ended
    cdef dict owners
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef Py_ssize_t weight      # bytes, about
    cdef Py_ssize_t weight_max
    cdef Py_ssize_t evicted
    cdef list ends              # keys and contexts that somebody found and that are gone; None: nobody wants to hear

    cdef int32_t _newest(self, const Endpoint *at, uint64_t hashed) noexcept
    cdef int32_t *_bucket_of(self, int32_t i) noexcept
    cdef int _add(self, const Endpoint *at, Owner owner, object context, Py_ssize_t weight) except -1
    cdef int _make_room(self) except -1
    cdef int _crowd(self, int32_t newest, Owner owner, object context) except -1
    cdef int _drop(self, int32_t i, bint told) except -1
    cdef void _append(self, NumberOrder *order, int32_t i) noexcept
    cdef void _leave(self, int32_t i) noexcept
    cdef int _grow(self) except -1


cdef uint64_t endpoint_hash(const Endpoint *at) noexcept nogil
cdef void fill_endpoint(Endpoint *at, uint8_t version, uint8_t protocol, const uint8_t *address,
                        uint16_t port) noexcept nogil
