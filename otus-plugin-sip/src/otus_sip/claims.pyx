"""Which calls announced which media flow: a flow that two calls have stays until the last of them leaves it.

Two legs of a back-to-back agent, two hops of a proxy and forks of one call may name the same addresses. Claims to one
flow are linked by age, the newest stands in the hash table, so no step costs more when there are more claims, to one
flow or altogether.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.string cimport memcmp

from otus_core.inline.tables cimport link_to, renew_buckets

from otus_sip.calls cimport secret_hash

cdef enum:
    CLAIMS_FIRST = 64


cdef inline uint32_t _hash(const Flow *flow) noexcept nogil:
    return <uint32_t>secret_hash(flow, sizeof(Flow))


@cython.final
cdef class Claims:
    """Flow → the claims to it."""

    def __cinit__(self):
        self.free = NO_CLAIM
        self._grow()

    def __dealloc__(self):
        cdef int32_t i
        for i in range(self.made):
            Py_XDECREF(self.claims[i].context)
        PyMem_Free(self.claims)
        PyMem_Free(self.buckets)

    cdef int32_t add(self, const Flow *flow, object context, int32_t next) except -2:
        """Claim a flow; gives the claim, whose ``next`` is the one given."""
        cdef uint32_t hashed = _hash(flow)
        cdef int32_t i = self.free
        cdef int32_t *link
        cdef Claim *claim
        if i != NO_CLAIM:
            self.free = self.claims[i].chain
        else:
            if self.made == self.room:
                self._grow()
            i = self.made
            self.made += 1
        self.count += 1
        claim = &self.claims[i]
        claim.flow = flow[0]
        claim.hashed = hashed
        Py_INCREF(context)
        claim.context = <PyObject *>context
        claim.newer = claim.older = NO_CLAIM
        claim.next = next
        link = &self.buckets[hashed & self.mask]
        while link[0] != NO_CLAIM:
            if self.claims[link[0]].hashed == hashed and memcmp(&self.claims[link[0]].flow, flow, sizeof(Flow)) == 0:
                claim.older = link[0]
                self.claims[link[0]].newer = i
                claim.chain = self.claims[link[0]].chain
                link[0] = i
                return i
            link = &self.claims[link[0]].chain
        link[0] = i
        claim.chain = NO_CLAIM
        return i

    cdef int32_t release(self, int32_t i) noexcept:
        """Take a claim back; gives the claim that is the newest to its flow now, ``LAST`` or ``NOT_NEWEST``."""
        cdef Claim *claim = &self.claims[i]
        cdef int32_t heir = claim.older
        cdef int32_t *link
        cdef PyObject *context = claim.context
        if heir != NO_CLAIM:
            self.claims[heir].newer = claim.newer
        if claim.newer != NO_CLAIM:
            self.claims[claim.newer].older = heir
            heir = NOT_NEWEST
        else:
            link = link_to(&self.buckets[claim.hashed & self.mask], i, &self.claims.chain, sizeof(Claim))
            if heir == NO_CLAIM:
                link[0] = claim.chain
                heir = LAST
            else:
                link[0] = heir
                self.claims[heir].chain = claim.chain
        claim.context = NULL
        claim.chain = self.free
        self.free = i
        self.count -= 1
        Py_XDECREF(context)
        return heir

    cdef int _grow(self) except -1:
        """Double the room, and put every claim that stands in a bucket into its new one; all claims are in use."""
        cdef int32_t room = 2 * self.room if self.room else CLAIMS_FIRST
        cdef Claim *claims = <Claim *>PyMem_Realloc(self.claims, room * sizeof(Claim))
        cdef int32_t *link
        cdef int32_t i
        if claims == NULL:
            raise MemoryError
        self.claims = claims
        renew_buckets(&self.buckets, &self.mask, room)
        self.room = room
        for i in range(self.made):
            if claims[i].newer == NO_CLAIM:
                link = &self.buckets[claims[i].hashed & self.mask]
                claims[i].chain = link[0]
                link[0] = i
        return 0
