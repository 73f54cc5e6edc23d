from libc.stdint cimport int64_t, uint32_t

from otus_rtp.stream cimport Stream


cdef class Flow:
    cdef Stream recent          # the stream of the last packet
    cdef uint32_t last_ssrc
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
    cdef readonly dict flows    # FlowKey → Flow
    cdef dict watchers          # what the registry tells ends of → flows
    cdef dict by_ssrc
    cdef dict by_owner
    cdef Stream oldest
    cdef Stream newest
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t most
    cdef int64_t use_every      # ns

    cdef int add(self, Flow flow, Stream stream, int64_t now) except -1
    cdef int remove(self, Stream stream) except -1
    cdef void use(self, Stream stream, int64_t now) noexcept
    cdef void _catch_up(self, Stream stream) noexcept
    cdef void _renew(self, Stream stream) noexcept
    cdef void _append(self, Stream stream) noexcept
    cdef void _unlink(self, Stream stream) noexcept
