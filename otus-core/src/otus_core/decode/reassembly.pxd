from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from otus_core.inline.tables cimport Buckets, Links, Order
from otus_core.model.accounts cimport Accounts


cdef enum:
    SOURCES = 8192              # places in which source addresses are counted; a power of two


# What all fragments of one datagram have in common. No padding, so that it can be compared as bytes.
cdef struct GroupKey:
    uint64_t src[2]
    uint64_t dst[2]
    uint64_t scope              # VLAN and tunnel ids
    uint64_t rest               # IP version, protocol, identification


# One held fragment; its bytes lie right behind it.
cdef struct Fragment:
    Fragment *next              # by offset
    uint32_t offset
    uint32_t length
    uint32_t more


# The fragments of one datagram that is not whole yet.
cdef struct Group:
    GroupKey key
    void *chained               # next in the bucket
    Links age
    Links age_of_source         # among those in the same place of sources
    uint32_t bucket
    uint32_t source
    int64_t born                # packet clock, ns
    Fragment *first
    Fragment *last
    uint32_t frames
    uint32_t bytes              # of payload
    uint32_t total              # of payload, once the last fragment is there; else 0
    uint32_t head               # bytes of IP headers before the payload in the first fragment
    uint8_t protocol            # of the first fragment
    uint8_t ttl


# What one source address holds, and its incomplete datagrams by age.
cdef struct Source:
    Order groups_by_age
    uint32_t groups
    uint32_t fragments
    uint32_t bytes


# One fragment as the decoder hands it over.
cdef struct Piece:
    GroupKey key
    const uint8_t *data
    uint32_t length
    uint32_t offset
    uint32_t more
    uint32_t head               # bytes of IP headers before the payload, of an IPv6 packet without the fixed header
    uint8_t protocol
    uint8_t ttl


cdef class Reassembly:
    cdef Accounts accounts
    cdef int merged, held, without_first
    cdef int outcomes[7]
    cdef int64_t timeout, now
    cdef uint32_t max_fragments, max_groups, max_bytes, max_per_group, source_groups, source_fragments, source_bytes
    cdef uint32_t fragments, groups, bytes
    cdef uint64_t secret[2]
    cdef Buckets buckets
    cdef Source *sources
    cdef Order by_age
    cdef void *spare                # a chain
    # Of the datagram that was completed last.
    cdef readonly bytes datagram
    cdef uint32_t head
    cdef uint8_t protocol, ttl

    cdef int add(self, Piece *piece) except -1
    cdef void advance(self, int64_t now) noexcept
    cdef void finish(self) noexcept

    cdef Group *_find(self, const GroupKey *key, uint32_t bucket) noexcept
    cdef Group *_open(self, Piece *piece, uint32_t bucket, uint32_t source) except NULL
    cdef int _hold(self, Group *group, Fragment *after, Piece *piece) except -1
    cdef int _complete(self, Group *group, Fragment *after, Piece *piece) except -1
    cdef bint _room_of_source(self, Group *group, Source *held, uint32_t cost) noexcept
    cdef bint _make_room(self, Group *group, uint32_t source, uint32_t length) noexcept
    cdef int _refuse(self, int outcome) noexcept
    cdef int _discard(self, Group *group, int outcome, uint32_t more) noexcept
    cdef void _close(self, Group *group) noexcept
