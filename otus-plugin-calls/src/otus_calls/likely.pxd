from libc.stdint cimport int64_t, uint8_t, uint64_t

from otus_calls.table cimport Call


cdef struct Begun:
    int64_t start
    uint64_t src, dst           # hashes
    uint64_t caller, called     # of the users, 0 for none


cdef struct Entry:
    uint64_t value
    uint64_t before             # number of the entry before it in the chain
    uint64_t call               # number of the call


cdef enum:
    VALUES_MAX = 24                         # by which one call may be found


# A call with what it may be found by.
cdef struct Traits:
    Begun call
    int count
    uint64_t values[VALUES_MAX]
    uint8_t kinds[VALUES_MAX]


cdef class Likely:
    cdef Begun *calls
    cdef Entry *entries
    cdef uint64_t *heads
    cdef uint64_t count
    cdef uint64_t entered
    cdef tuple headers
    cdef list kept                          # a Call, or whatever else stands for it, by number modulo CALLS
    cdef readonly dict near                 # numbers of calls that may yet be legs of a call, by its number

    cdef object show(self, Call call)
    cdef object _add_call(self, Call call)
    cdef object _remember(self, Traits *traits)
    cdef int _seek(self, Begun *one, uint64_t value, uint8_t kind, uint64_t *found, int hits) noexcept
    cdef void _expect(self, uint64_t value, uint8_t kind) noexcept
    cdef void _enter(self, uint64_t value, uint8_t kind) noexcept
