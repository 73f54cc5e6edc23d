"""The storage of endpoints: a table of candidates, each of which is what one owner announced of one endpoint.

One array of entries, linked four ways: by endpoint in hash buckets, the newest candidate first; by owner; and in the
order in which they go. No step costs more when there are more of them.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.string cimport memcmp, memcpy, memset

from otus_core.inline.hashing cimport keyed_hash
from otus_core.inline.tables cimport NONE, append_number, leave_number, link_to, renew_buckets
from otus_core.model.flow_key cimport make_flow_key

cdef enum:
    ROOM_FIRST = 256            # candidates that there is memory for at first; it doubles up to the capacity
    CHANCES_MAX = 8             # candidates that somebody found lately and that are spared when one has to go
    BYTES_EACH = 1024           # that a candidate may take with its share of the context, when all are taken

cdef uint8_t[16] NOWHERE
memset(NOWHERE, 0, 16)

cdef uint64_t[2] _secret
memcpy(_secret, <const char *>PyBytes_AS_STRING(os.urandom(16)), 16)


cdef uint64_t endpoint_hash(const Endpoint *at) noexcept nogil:
    return keyed_hash(_secret, at, sizeof(Endpoint))


cdef void fill_endpoint(Endpoint *at, uint8_t version, uint8_t protocol, const uint8_t *address,
                        uint16_t port) noexcept nogil:
    """Fill in an endpoint; an IPv4 address is the first four bytes of ``address``, whatever is behind them."""
    if version == 4:
        memset(at.address, 0, 16)
        memcpy(at.address, address, 4)
    else:
        memcpy(at.address, address, 16)
    at.port, at.version, at.protocol, at.zero = port, version, protocol, 0


@cython.final
cdef class Owner:
    """Who announced endpoints, a call for instance; it is there as long as one of them is."""


cdef class Candidates:
    """Bounded in number and in bytes. What has ended goes first when room is needed, then what was announced longest
    ago and not found since.
    """

    def __cinit__(self, Py_ssize_t capacity):
        self.free = NONE
        self.alive.oldest = self.alive.newest = self.ending.oldest = self.ending.newest = NONE
        self.owners = {}
        self.capacity = capacity
        self.weight_max = capacity * <Py_ssize_t>BYTES_EACH

    def __dealloc__(self):
        cdef int32_t i
        for i in range(self.made):
            Py_XDECREF(self.all[i].context)
            Py_XDECREF(self.all[i].owner)
        PyMem_Free(self.all)
        PyMem_Free(self.buckets)

    cdef int32_t _newest(self, const Endpoint *at, uint64_t hashed) noexcept:
        cdef int32_t i = NONE if self.buckets == NULL else self.buckets[hashed & self.mask]
        while i != NONE:
            if self.all[i].hashed == hashed and memcmp(&self.all[i].at, at, sizeof(Endpoint)) == 0:
                return i
            i = self.all[i].chain
        return NONE

    cdef int _add(self, const Endpoint *at, Owner owner, object context, Py_ssize_t weight) except -1:
        """Make the newest candidate to an endpoint, the last of those that are alive."""
        cdef uint64_t hashed = endpoint_hash(at)
        cdef int asked = self._crowd(self._newest(at, hashed), owner, context)
        cdef int32_t newest
        cdef int32_t i
        cdef Candidate *made
        weight += sizeof(Candidate)
        while self.count and (self.count >= self.capacity or self.weight + weight > self.weight_max):
            self._make_room()
        i = self.free
        if i != NONE:
            self.free = self.all[i].chain
        else:
            if self.made == self.room:
                self._grow()
            i = self.made
            self.made += 1
        made = &self.all[i]
        memset(made, 0, sizeof(Candidate))
        made.at, made.hashed, made.weight, made.asked = at[0], hashed, <uint32_t>weight, <uint8_t>asked
        Py_INCREF(context)
        made.context = <PyObject *>context
        Py_INCREF(owner)
        made.owner = <PyObject *>owner
        newest = self._newest(at, hashed)
        made.newer = made.before = NONE
        made.older = newest
        if newest != NONE:      # it takes the place of the one that was the newest
            self.all[newest].newer = i
            self._bucket_of(newest)[0] = i
            made.chain = self.all[newest].chain
        else:
            made.chain = self.buckets[hashed & self.mask]
            self.buckets[hashed & self.mask] = i
        made.next = owner.head
        if owner.head != NONE:
            self.all[owner.head].before = i
        owner.head = i
        owner.count += 1
        self.count += 1
        self.weight += weight
        self._append(&self.alive, i)
        return 0

    cdef int32_t *_bucket_of(self, int32_t i) noexcept:
        """Give the link to a candidate that is the newest to its endpoint."""
        return link_to(&self.buckets[self.all[i].hashed & self.mask], i, &self.all.chain, sizeof(Candidate))

    cdef int _crowd(self, int32_t newest, Owner owner, object context) except -1:
        """Make way at an endpoint for a candidate of ``owner``: its earlier one goes, or the oldest of too many. Gives
        whether somebody found the earlier one, and it says the same.
        """
        cdef int32_t i = newest
        cdef int places = 1
        cdef bint same
        while i != NONE:
            if self.all[i].owner == <PyObject *>owner:
                same = self.all[i].asked and <object>self.all[i].context == context
                self._drop(i, not same)
                return same
            if places == CANDIDATES_MAX:
                self.evicted += 1
                self._drop(i, True)
                return 0
            places += 1
            i = self.all[i].older
        return 0

    cdef int _make_room(self) except -1:
        cdef int32_t i = self.ending.oldest
        cdef int chances = 0
        if i == NONE:
            i = self.alive.oldest
            while self.all[i].found and chances < CHANCES_MAX:
                self.all[i].found = False
                self._leave(i)
                self._append(&self.alive, i)
                i = self.alive.oldest
                chances += 1
        self.evicted += 1
        return self._drop(i, True)

    cdef int _drop(self, int32_t i, bint told) except -1:
        """Let go of a candidate; whoever found it is told."""
        cdef Candidate *gone = &self.all[i]
        cdef Owner owner = <Owner>gone.owner
        cdef int32_t *link
        if gone.newer != NONE:
            self.all[gone.newer].older = gone.older
            if gone.older != NONE:
                self.all[gone.older].newer = gone.newer
        else:
            link = self._bucket_of(i)
            if gone.older != NONE:
                link[0] = gone.older
                self.all[gone.older].newer = NONE
                self.all[gone.older].chain = gone.chain
            else:
                link[0] = gone.chain
        if gone.before != NONE:
            self.all[gone.before].next = gone.next
        else:
            owner.head = gone.next
        if gone.next != NONE:
            self.all[gone.next].before = gone.before
        self._leave(i)
        self.count -= 1
        self.weight -= gone.weight
        owner.count -= 1
        if not owner.count:
            self.owners.pop(owner.name, None)
        if told and gone.asked and self.ends is not None:
            self.ends.append((
                make_flow_key(gone.at.version, NOWHERE, gone.at.address, 0, gone.at.port, gone.at.protocol),
                <object>gone.context))
        Py_XDECREF(gone.context)
        Py_XDECREF(gone.owner)
        gone.context = gone.owner = NULL
        gone.chain = self.free
        self.free = i
        return 0

    cdef void _append(self, NumberOrder *order, int32_t i) noexcept:
        append_number(order, i, &self.all.turn, sizeof(Candidate))

    cdef void _leave(self, int32_t i) noexcept:
        leave_number(&self.ending if self.all[i].ending else &self.alive, i, &self.all.turn, sizeof(Candidate))

    cdef int _grow(self) except -1:
        """Get memory for more candidates and as many buckets; all that there are are in use."""
        cdef int32_t room = <int32_t>min(self.capacity, 2 * <Py_ssize_t>self.room if self.room else ROOM_FIRST)
        cdef uint64_t bucket
        cdef int32_t i
        cdef Candidate *more = <Candidate *>PyMem_Realloc(self.all, room * sizeof(Candidate))
        if more == NULL:
            raise MemoryError
        self.all = more
        renew_buckets(&self.buckets, &self.mask, room)
        self.room = room
        for i in range(self.made):
            if self.all[i].newer == NONE:
                bucket = self.all[i].hashed & self.mask
                self.all[i].chain = self.buckets[bucket]
                self.buckets[bucket] = i
        return 0
