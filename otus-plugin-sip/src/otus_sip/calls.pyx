"""The calls under way, by Call-ID: a hash table that also knows which call was touched longest ago.

A call is one object with its first offers and pairs in it, so that few cache lines are fetched for it. The table owns
its calls, and knows how much memory they take altogether.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.string cimport memcmp, memcpy, memmove

from otus_core.inline.hashing cimport keyed_hash
from otus_core.inline.tables cimport append, chain, close_buckets, leave, open_buckets, unchain

cdef extern from *:
    void prefetch "__builtin_prefetch" (const void *address) nogil

cdef enum:
    BUCKETS_FIRST = 256
    CACHE_LINE = 64
    CALL_WEIGHT = 512       # a call without a Call-ID
    BYTES_WEIGHT = 48       # a bytes object without its bytes

# Call-IDs come from packets, so the hash is keyed: nobody outside can aim for one bucket.
cdef uint64_t _secret[2]
memcpy(_secret, <const char *>PyBytes_AS_STRING(os.urandom(16)), 16)


cdef uint64_t secret_hash(const void *data, Py_ssize_t size) noexcept nogil:
    """Hash what a packet holds with this process's secret."""
    return keyed_hash(_secret, data, size)


cdef void *_make_room(void *items, void *inside, int count, int *room, size_t size) except NULL:
    """Give room for twice as many items, those there are moved to it."""
    cdef void *grown = PyMem_Malloc(2 * room[0] * size)
    if grown == NULL:
        raise MemoryError
    memcpy(grown, items, count * size)
    if items != inside:
        PyMem_Free(items)
    room[0] *= 2
    return grown


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Call:
    """What is known of one Call-ID."""

    def __cinit__(self):
        self.offers = self.offers_inside
        self.pairs = self.pairs_inside
        self.offer_room = self.pair_room = ITEMS_INSIDE

    def __dealloc__(self):
        while self.offer_count:
            self.offer_count -= 1
            Py_XDECREF(self.offers[self.offer_count].media)
        if self.offers != self.offers_inside:
            PyMem_Free(self.offers)
        if self.pairs != self.pairs_inside:
            PyMem_Free(self.pairs)

    cdef int pair_of(self, uint64_t dialog, uint64_t hop) noexcept:
        """Give the index of what a dialog agreed on at a hop, -1 for nothing."""
        cdef int i
        for i in range(self.pair_count):
            if self.pairs[i].dialog == dialog and self.pairs[i].hop == hop:
                return i
        return -1

    cdef bint is_confirmed(self) noexcept:
        """Whether any of its dialogs is."""
        cdef int i
        for i in range(self.pair_count):
            if self.pairs[i].confirmed:
                return True
        return False


@cython.final
cdef class Calls:
    """Call-ID → Call."""

    def __cinit__(self):
        open_buckets(&self.buckets, BUCKETS_FIRST)

    def __dealloc__(self):
        while self.by_touch.oldest != NULL:
            self.remove(<Call>self.by_touch.oldest)
        close_buckets(&self.buckets)

    def __len__(self):
        return self.count

    cdef uint64_t expect(self, const uint8_t *call_id, Py_ssize_t size) noexcept:
        """Give the hash of a Call-ID that will be looked for, and have its bucket come into the cache meanwhile."""
        cdef uint64_t hashed = secret_hash(call_id, size)
        prefetch(&self.buckets.at[hashed & self.buckets.mask])
        return hashed

    cdef void fetch(self, uint64_t hashed) noexcept:
        """Have the first call of a bucket come into the cache too."""
        cdef const char *call = <const char *>self.buckets.at[hashed & self.buckets.mask]
        if call != NULL:
            prefetch(call)
            prefetch(call + CACHE_LINE)

    cdef Call find(self, uint64_t hashed, const uint8_t *call_id, Py_ssize_t size):
        cdef void *at = self.buckets.at[hashed & self.buckets.mask]
        cdef Call call
        while at != NULL:
            call = <Call>at
            if (
                call.hashed == hashed
                and call.id_len == size
                and memcmp(call.id_start, call_id, min(size, ID_INSIDE)) == 0
            ):
                if size <= ID_INSIDE or memcmp(PyBytes_AS_STRING(call.call_id), call_id, size) == 0:
                    return call
            at = call.chained
        return None

    cdef Call add(self, uint64_t hashed, const uint8_t *call_id, Py_ssize_t size):
        """Make a call that is not there; it is the most recent."""
        cdef Call call = Call.__new__(Call)
        if self.count > <Py_ssize_t>self.buckets.mask:
            self._grow()
        call.call_id = PyBytes_FromStringAndSize(<const char *>call_id, size)
        self.weigh(call, CALL_WEIGHT + BYTES_WEIGHT + size)
        call.id_len = size
        memcpy(call.id_start, call_id, min(size, ID_INSIDE))
        call.hashed = hashed
        chain(&self.buckets.at[hashed & self.buckets.mask], <void *>call, &call.chained)
        Py_INCREF(call)
        self.count += 1
        append(&self.by_touch, <void *>call, &call.touches)
        return call

    cdef Call eldest(self):
        """Give the call that was touched longest ago, ``None`` when there is none."""
        return None if self.by_touch.oldest == NULL else <Call>self.by_touch.oldest

    cdef void touch(self, Call call) noexcept:
        """Make a call the most recent."""
        if self.by_touch.newest != <void *>call:
            leave(&self.by_touch, <void *>call, &call.touches)
            append(&self.by_touch, <void *>call, &call.touches)

    cdef void remove(self, Call call) noexcept:
        unchain(&self.buckets.at[call.hashed & self.buckets.mask], <void *>call, &call.chained)
        leave(&self.by_touch, <void *>call, &call.touches)
        self.count -= 1
        self.weight -= call.weight
        Py_DECREF(call)

    cdef void weigh(self, Call call, Py_ssize_t change) noexcept:
        """Add to the bytes that a call takes."""
        call.weight += change
        self.weight += change

    cdef int put_offer(self, Call call, const Offer *offer) except -1:
        """Keep an offer, in the place of one of the same transaction, dialog and hop; the oldest goes when there are
        too many.
        """
        cdef int i
        cdef Offer *at
        for i in range(call.offer_count):
            at = &call.offers[i]
            if at.transaction == offer.transaction and at.dialog == offer.dialog and at.hop == offer.hop:
                self.drop_offer(call, i)
                break
        if call.offer_count == OFFERS_MAX:
            self.drop_offer(call, 0)
        if call.offer_count == call.offer_room:
            call.offers = <Offer *>_make_room(call.offers, call.offers_inside, call.offer_count, &call.offer_room,
                                              sizeof(Offer))
        call.offers[call.offer_count] = offer[0]
        call.offer_count += 1
        Py_INCREF(<object>offer.media)
        self.weigh(call, sizeof(Offer) + BYTES_WEIGHT + PyBytes_GET_SIZE(<object>offer.media))
        return 0

    cdef void drop_offer(self, Call call, int i) noexcept:
        cdef PyObject *media = call.offers[i].media
        self.weigh(call, -<Py_ssize_t>(sizeof(Offer) + BYTES_WEIGHT) - PyBytes_GET_SIZE(<object>media))
        call.offer_count -= 1
        memmove(&call.offers[i], &call.offers[i + 1], (call.offer_count - i) * sizeof(Offer))
        Py_XDECREF(media)

    cdef Pair *put_pair(self, Call call, const Pair *pair) except NULL:
        """Add a pair; the caller sees to ``PAIRS_MAX``, since the claims of one that goes are not known here."""
        if call.pair_count == call.pair_room:
            call.pairs = <Pair *>_make_room(call.pairs, call.pairs_inside, call.pair_count, &call.pair_room,
                                            sizeof(Pair))
        call.pairs[call.pair_count] = pair[0]
        call.pair_count += 1
        self.weigh(call, sizeof(Pair))
        return &call.pairs[call.pair_count - 1]

    cdef void drop_pair(self, Call call, int i) noexcept:
        """Remove a pair whose claims are released."""
        call.pair_count -= 1
        memmove(&call.pairs[i], &call.pairs[i + 1], (call.pair_count - i) * sizeof(Pair))
        self.weigh(call, -<Py_ssize_t>sizeof(Pair))

    cdef int _grow(self) except -1:
        cdef Buckets grown
        cdef void *at = self.by_touch.newest
        cdef Call call
        open_buckets(&grown, 2 * (self.buckets.mask + 1))
        while at != NULL:
            call = <Call>at
            chain(&grown.at[call.hashed & grown.mask], at, &call.chained)
            at = call.touches.older
        close_buckets(&self.buckets)
        self.buckets = grown
        return 0
