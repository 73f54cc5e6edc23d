from libc.stdint cimport int64_t, uint32_t, uint64_t

from otus_core.inline.tables cimport Buckets
from otus_rtp.stream cimport Stream


# How the table refers to a flow, and lies in it.
cdef struct Place:
    void *chain
    uint64_t hashed
    void *flow


# Where the things lie that a packet touched: numbers, which keep nothing alive.
cdef struct Turn:
    size_t flow
    size_t key
    size_t stream


cdef class Flow:
    cdef Place place
    cdef Stream recent          # the stream of the last packet
    cdef uint32_t last_ssrc
    cdef uint32_t turn          # of its last packet
    cdef public bint stale      # what was announced may have changed
    cdef readonly object key    # FlowKey
    cdef list streams
    cdef public tuple matches
    cdef public dict codecs
    cdef public str match
    cdef public bint encrypted
    cdef public bint nat        # a party is not where it said
    cdef public tuple watched   # keys by which the table finds it again
    cdef int64_t ssrc_changes

    cdef Stream find(self, uint32_t ssrc)


cdef class Streams:
    cdef Buckets buckets        # of flows, by FlowKey
    cdef Py_ssize_t flow_count
    cdef dict watchers          # what the registry tells ends of → flows
    cdef dict by_ssrc
    cdef dict by_owner
    cdef Stream oldest
    cdef Stream newest
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t most
    cdef int64_t use_every      # ns
    cdef Turn *turns            # what the last packets touched, once there are many streams
    cdef uint32_t turn

    cdef Flow flow_of(self, object key)
    cdef void _place(self, Flow flow) noexcept
    cdef int _grow(self) except -1
    cdef int add(self, Flow flow, Stream stream, int64_t now) except -1
    cdef int remove(self, Stream stream) except -1
    cdef void look_ahead(self, Flow flow, Stream stream) noexcept
    cdef void use(self, Stream stream, int64_t now) noexcept
    cdef void _catch_up(self, Stream stream) noexcept
    cdef void _renew(self, Stream stream) noexcept
    cdef void _append(self, Stream stream) noexcept
    cdef void _unlink(self, Stream stream) noexcept
