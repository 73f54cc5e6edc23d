from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from otus_core.inline.tables cimport Buckets, Links, Order

cdef enum:
    OFFERS_MAX = 16         # transactions of one call under way; a proxy that forks has one a branch
    PAIRS_MAX = 32          # forks and hops of one call whose flows are kept
    # Offers and pairs that are in the call itself; a plain call has one of each, one through a proxy two
    ITEMS_INSIDE = 2
    ID_INSIDE = 64          # bytes of a Call-ID that are in the call itself, beside its hash


# An INVITE under way, or the offer of another request or of a response that awaits its answer.
cdef struct Offer:
    uint64_t transaction
    uint64_t round          # the same at every hop: CSeq and From tag
    uint64_t hop
    uint64_t dialog         # of an offer that a response made; else 0
    PyObject *media         # owned bytes; empty for an INVITE without an offer
    bint done               # an INVITE that has its 2xx: it goes when the next round begins


# What a dialog agreed on at one hop.
cdef struct Pair:
    uint64_t dialog
    uint64_t hop            # 0 where the dialog is known to be confirmed and nothing else
    uint64_t round
    uint64_t invite         # the INVITE transaction that has its answer: later descriptions in it do not count
    uint64_t invite_round
    int32_t claims          # to its flows
    bint confirmed


cdef class Call:
    cdef uint64_t hashed
    cdef void *chained          # the next call in the bucket
    cdef Py_ssize_t id_len
    cdef uint8_t id_start[ID_INSIDE]
    cdef bytes call_id
    cdef str shown              # the Call-ID in contexts of flows, made when it is needed first
    cdef Links touches
    cdef int64_t touched
    cdef Py_ssize_t weight      # bytes, about
    cdef int offer_count
    cdef int offer_room
    cdef int pair_count
    cdef int pair_room
    cdef Offer *offers          # in order of time
    cdef Pair *pairs
    cdef Offer offers_inside[ITEMS_INSIDE]
    cdef Pair pairs_inside[ITEMS_INSIDE]

    cdef int pair_of(self, uint64_t dialog, uint64_t hop) noexcept
    cdef bint is_confirmed(self) noexcept


cdef class Calls:
    cdef Buckets buckets
    cdef Py_ssize_t count
    cdef Py_ssize_t weight      # of all calls
    cdef Order by_touch

    cdef uint64_t expect(self, const uint8_t *call_id, Py_ssize_t size) noexcept
    cdef void fetch(self, uint64_t hashed) noexcept
    cdef Call find(self, uint64_t hashed, const uint8_t *call_id, Py_ssize_t size)
    cdef Call add(self, uint64_t hashed, const uint8_t *call_id, Py_ssize_t size)
    cdef Call eldest(self)
    cdef void touch(self, Call call) noexcept
    cdef void remove(self, Call call) noexcept
    cdef void weigh(self, Call call, Py_ssize_t change) noexcept
    cdef int put_offer(self, Call call, const Offer *offer) except -1
    cdef void drop_offer(self, Call call, int i) noexcept
    cdef Pair *put_pair(self, Call call, const Pair *pair) except NULL
    cdef void drop_pair(self, Call call, int i) noexcept
    cdef int _grow(self) except -1


cdef uint64_t secret_hash(const void *data, Py_ssize_t size) noexcept nogil
