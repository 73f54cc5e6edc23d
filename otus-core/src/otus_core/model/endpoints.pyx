"""Who announced that somebody listens at an address and port: endpoint → candidates, the newest first.

A session description says where a party listens, not where its peer sends from. So a packet is looked up by its
destination and by its source, and what was announced for either is weighed. Candidates to one endpoint are linked by
age, and those of one owner (a call) too, so that an owner ends in one step. Nothing costs more when there are more
endpoints: one has 16 candidates at most.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.list cimport PyList_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.string cimport memcmp, memcpy, memset

from otus_core.inline.hashing cimport keyed_hash
from otus_core.model.flow_key cimport make_flow_key

cdef enum:
    NONE = -1
    ROOM_FIRST = 256            # candidates that there is memory for at first; it doubles up to the capacity
    CANDIDATES_MAX = 16         # of one endpoint
    CHANCES_MAX = 8             # candidates that somebody found lately and that are spared when one has to go
    BYTES_EACH = 1024           # that a candidate may take with its share of the context, when all are taken

cdef int64_t NS = 1_000_000_000
cdef int64_t SWEEP_EVERY = 32 * NS
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF
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


cdef inline int64_t _later(int64_t at, int64_t life) noexcept nogil:
    return at + life if at <= NEVER - life else NEVER


@cython.final
cdef class Owner:
    """Who announced endpoints, a call for instance; it is there as long as one of them is."""


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class FlowMatch:
    """One owner whose endpoints a packet touches.

    ``destination`` and ``source`` are the contexts announced for where the packet goes and for where it comes from,
    ``None`` where the owner announced nothing for it; ``context`` is the first of them that there is. ``score`` is 2
    for the destination and 1 for the source, together 3. ``begun`` is the time (ns) of the packet by which the owner
    announced its first endpoint.
    """

    @property
    def context(self):
        return self.source if self.destination is None else self.destination

    def __repr__(self):
        return f"FlowMatch({self.owner!r}, score={self.score})"


@cython.final
cdef class Endpoints:
    """The registry's endpoints; bounded in number and in bytes. What has ended goes first when room is needed, then
    what was announced longest ago and not found since.
    """

    def __cinit__(self, Py_ssize_t capacity):
        self.free = self.alive.first = self.alive.last = self.ending.first = self.ending.last = NONE
        self.earliest = NEVER
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

    cdef int announce(self, const Flow *flows, Py_ssize_t count, object context, Py_ssize_t weight, object owner,
                      int64_t life, int64_t now) except -1:
        """Note the destinations of ``flows`` for an owner, for ``life`` ns from ``now`` on (0: the first packet is
        still to come). What the owner announced for the same endpoints before is replaced.
        """
        cdef Owner one = self.owners.get(owner)
        cdef Endpoint at
        cdef Py_ssize_t n
        cdef Candidate *made
        if one is None:
            one = Owner.__new__(Owner)
            one.name, one.begun, one.head = owner, now, NONE
        for n in range(count):
            fill_endpoint(&at, flows[n].version, flows[n].protocol, flows[n].dst, flows[n].dst_port)
            self._add(&at, one, context, weight // count)
            made = &self.all[self.alive.last]
            made.expires = _later(now, life)
            made.early = now == 0
            if now:
                self.earliest = min(self.earliest, made.expires)
        if one.count:
            self.owners[owner] = one
        return 0

    cdef int end(self, object owner, int64_t linger, int64_t now) except -1:
        """An owner has ended: its endpoints go ``linger`` ns later."""
        cdef Owner one = self.owners.get(owner)
        cdef int32_t i
        cdef int32_t next
        if one is None:
            return 0
        i = one.head
        while i != NONE:
            next = self.all[i].next
            if linger <= 0 or now == 0:
                self._drop(i, True)
            elif not self.all[i].ending:
                self._leave(i)
                self.all[i].expires = min(self.all[i].expires, _later(now, linger))
                self.all[i].ending = True
                self._append(&self.ending, i)
            i = next
        return 0

    cdef tuple find(self, const Endpoint *source, const Endpoint *destination, int64_t now, bint every):
        """Give the matches of a packet: with ``every`` all of them, the best first, else those that tie at 3, or the
        one whose owner began last.
        """
        cdef int32_t[CANDIDATES_MAX] both, to, by
        cdef int boths = 0
        cdef int tos = 0
        cdef int bys = 0
        cdef int n
        cdef int32_t i
        cdef int32_t s
        cdef int32_t d
        cdef Owner one
        cdef list found
        if self.count == 0:
            return ()
        d = self._newest(destination, endpoint_hash(destination))
        s = self._newest(source, endpoint_hash(source))
        if d == NONE and s == NONE:
            return ()
        self.lookups += 1
        i = s
        while i != NONE:
            if self.all[i].expires > now or self.all[i].early:
                one = <Owner>self.all[i].owner
                one.mark, one.source = self.lookups, i
            i = self.all[i].older
        i = d
        while i != NONE:
            if self.all[i].expires > now or self.all[i].early:
                one = <Owner>self.all[i].owner
                if one.mark == self.lookups:
                    one.mark = 0
                    both[boths] = i
                    boths += 1
                else:
                    self._place(to, &tos, i)
            i = self.all[i].older
        if boths and not every:
            return tuple([self._match(both[n], (<Owner>self.all[both[n]].owner).source) for n in range(boths)])
        if tos and not every:
            return (self._match(to[0], NONE),)
        i = s
        while i != NONE:
            if (<Owner>self.all[i].owner).mark == self.lookups:
                self._place(by, &bys, i)
            i = self.all[i].older
        if not every:
            return (self._match(NONE, by[0]),) if bys else ()
        found = [self._match(both[n], (<Owner>self.all[both[n]].owner).source) for n in range(boths)]
        found += [self._match(to[n], NONE) for n in range(tos)]
        found += [self._match(NONE, by[n]) for n in range(bys)]
        return tuple(found)

    cdef void _place(self, int32_t *ordered, int *count, int32_t i) noexcept:
        """Put a candidate among others, the one whose owner began last first; of those that began together the newest
        comes first, as they are given.
        """
        cdef int n = count[0]
        cdef int64_t begun = (<Owner>self.all[i].owner).begun
        while n and (<Owner>self.all[ordered[n - 1]].owner).begun < begun:
            ordered[n] = ordered[n - 1]
            n -= 1
        ordered[n] = i
        count[0] += 1

    cdef FlowMatch _match(self, int32_t destination, int32_t source):
        cdef FlowMatch match = FlowMatch.__new__(FlowMatch)
        cdef int32_t one = source if destination == NONE else destination
        match.owner = (<Owner>self.all[one].owner).name
        match.begun = (<Owner>self.all[one].owner).begun
        if destination != NONE:
            match.destination = <object>self.all[destination].context
            match.score = 2
            self.all[destination].asked = self.all[destination].found = True
        if source != NONE:
            match.source = <object>self.all[source].context
            match.score += 1
            self.all[source].asked = self.all[source].found = True
        return match

    cdef int advance(self, int64_t now) except -1:
        """Let go of what has ended or expired by ``now``."""
        while self.ending.first != NONE and self.all[self.ending.first].expires <= now:
            self._drop(self.ending.first, True)
        if now >= self.earliest and now - self.swept >= SWEEP_EVERY:
            self._sweep(now)
        return 0

    cdef int begin(self, int64_t now) except -1:
        """The first packet is there: the life of what was announced before it begins."""
        cdef int32_t i = self.alive.first
        while i != NONE:
            if self.all[i].early:
                self.all[i].early = 0
                self.all[i].expires = _later(now, self.all[i].expires)
                self.earliest = min(self.earliest, self.all[i].expires)
                (<Owner>self.all[i].owner).begun = now
            i = self.all[i].later
        return 0

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
        cdef int32_t *link = &self.buckets[self.all[i].hashed & self.mask]
        while link[0] != i:
            link = &self.all[link[0]].chain
        return link

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
        cdef int32_t i = self.ending.first
        cdef int chances = 0
        if i == NONE:
            i = self.alive.first
            while self.all[i].found and chances < CHANCES_MAX:
                self.all[i].found = False
                self._leave(i)
                self._append(&self.alive, i)
                i = self.alive.first
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

    cdef void _append(self, Queue *queue, int32_t i) noexcept:
        self.all[i].later = NONE
        self.all[i].sooner = queue.last
        if queue.last != NONE:
            self.all[queue.last].later = i
        queue.last = i
        if queue.first == NONE:
            queue.first = i

    cdef void _leave(self, int32_t i) noexcept:
        cdef Queue *queue = &self.ending if self.all[i].ending else &self.alive
        cdef int32_t later = self.all[i].later
        cdef int32_t sooner = self.all[i].sooner
        if later != NONE:
            self.all[later].sooner = sooner
        else:
            queue.last = sooner
        if sooner != NONE:
            self.all[sooner].later = later
        else:
            queue.first = later

    cdef int _grow(self) except -1:
        """Get memory for more candidates and as many buckets; all that there are are in use."""
        cdef int32_t room = <int32_t>min(self.capacity, 2 * <Py_ssize_t>self.room if self.room else ROOM_FIRST)
        cdef uint32_t buckets = 1
        cdef uint64_t bucket
        cdef int32_t i
        cdef int32_t *table
        cdef Candidate *more = <Candidate *>PyMem_Realloc(self.all, room * sizeof(Candidate))
        if more == NULL:
            raise MemoryError
        self.all = more
        while buckets < <uint32_t>room:
            buckets *= 2
        table = <int32_t *>PyMem_Malloc(buckets * sizeof(int32_t))
        if table == NULL:
            raise MemoryError
        memset(table, 0xFF, buckets * sizeof(int32_t))
        PyMem_Free(self.buckets)
        self.buckets = table
        self.mask = buckets - 1
        self.room = room
        for i in range(self.made):
            if self.all[i].newer == NONE:
                bucket = self.all[i].hashed & self.mask
                self.all[i].chain = table[bucket]
                table[bucket] = i
        return 0

    cdef int _sweep(self, int64_t now) except -1:
        """Let go of everything alive that has expired."""
        cdef int32_t at = self.alive.first
        cdef int32_t i
        self.swept = now
        self.earliest = NEVER
        while at != NONE:
            i = at
            at = self.all[i].later
            if self.all[i].expires <= now:
                self.expired += 1
                self._drop(i, True)
            elif self.all[i].expires < self.earliest:
                self.earliest = self.all[i].expires
        return 0
