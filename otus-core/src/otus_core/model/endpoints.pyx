"""Who announced that somebody listens at an address and port: endpoint → candidates, the newest first.

A session description says where a party listens, not where its peer sends from. So a packet is looked up by its
destination and by its source, and what was announced for either is weighed. Candidates to one endpoint are linked by
age, and those of one owner (a call) too, so that an owner ends in one step. Nothing costs more when there are more
endpoints: one has 16 candidates at most.
"""

cimport cython
from cpython.ref cimport PyObject

from otus_core.inline.tables cimport NONE
from otus_core.model.candidates cimport CANDIDATES_MAX, Candidate, Candidates, Endpoint, Owner, endpoint_hash
from otus_core.model.candidates cimport fill_endpoint

cdef int64_t NS = 1_000_000_000
cdef int64_t SWEEP_EVERY = 32 * NS
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF


cdef inline int64_t _later(int64_t at, int64_t life) noexcept nogil:
    return at + life if at <= NEVER - life else NEVER


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
cdef class Endpoints(Candidates):
    """What the registry knows of endpoints, and when it goes."""

    def __cinit__(self):
        self.earliest = NEVER

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
            made = &self.all[self.alive.newest]
            made.expires = _later(now, life)
            made.early = now == 0
            if now:
                self.earliest = min(self.earliest, made.expires)
        if one.count:
            self.owners[owner] = one
        return 0

    cdef object said(self, const Endpoint *at, object owner, int64_t now):
        """Give the context that an owner announced for an endpoint, or ``None``."""
        cdef Owner one = self.owners.get(owner)
        cdef int32_t i = NONE if one is None else self._newest(at, endpoint_hash(at))
        while i != NONE:
            if self.all[i].owner == <PyObject *>one and (self.all[i].expires > now or self.all[i].early):
                return <object>self.all[i].context
            i = self.all[i].older
        return None

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
        while self.ending.oldest != NONE and self.all[self.ending.oldest].expires <= now:
            self._drop(self.ending.oldest, True)
        if now >= self.earliest and now - self.swept >= SWEEP_EVERY:
            self._sweep(now)
        return 0

    cdef int begin(self, int64_t now) except -1:
        """The first packet is there: the life of what was announced before it begins."""
        cdef int32_t i = self.alive.oldest
        while i != NONE:
            if self.all[i].early:
                self.all[i].early = 0
                self.all[i].expires = _later(now, self.all[i].expires)
                self.earliest = min(self.earliest, self.all[i].expires)
                (<Owner>self.all[i].owner).begun = now
            i = self.all[i].turn.newer
        return 0

    cdef int _sweep(self, int64_t now) except -1:
        """Let go of everything alive that has expired."""
        cdef int32_t at = self.alive.oldest
        cdef int32_t i
        self.swept = now
        self.earliest = NEVER
        while at != NONE:
            i = at
            at = self.all[i].turn.newer
            if self.all[i].expires <= now:
                self.expired += 1
                self._drop(i, True)
            elif self.all[i].expires < self.earliest:
                self.earliest = self.all[i].expires
        return 0
