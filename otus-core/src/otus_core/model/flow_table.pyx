"""The storage of flows: 5-tuple → context, as a hash table over one array of entries.

The entries are also linked by age of use: no step costs more when there are more of them, and a flow takes 80 bytes
beside its context.
"""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.string cimport memcmp

from otus_core.inline.tables cimport NONE, append_number, leave_number, link_to, renew_buckets
from otus_core.model.flow_context cimport measure
from otus_core.model.flow_key cimport flow_hash, make_flow_key

cdef enum:
    ENTRIES_FIRST = 256     # room for flows at first; it doubles up to the capacity
    BYTES_EACH = 1024       # that a flow may take with its context, when as many as allowed are registered

cdef int64_t NS = 1_000_000_000
cdef int64_t SWEEP_EVERY = 32 * NS
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF
cdef double TTL_MAX_S = 1e9


cdef int64_t life_of(double ttl) except -1:
    """Give seconds as ns. Raises ValueError."""
    if not ttl > 0:
        raise ValueError("ttl must be above 0 seconds")
    return <int64_t>(min(ttl, TTL_MAX_S) * NS)


cdef inline int64_t _later(int64_t at, int64_t life) noexcept nogil:
    """Add, without going past the end: a capture file may claim any time."""
    return at + life if at <= NEVER - life else NEVER


cdef class FlowTable:
    """Bounded in number and in bytes: the least recently used flow goes when there is no room."""

    def __cinit__(self):
        self.free = self.by_use.newest = self.by_use.oldest = NONE
        self.earliest = NEVER

    def __dealloc__(self):
        cdef int32_t i
        for i in range(self.made):
            Py_XDECREF(self.entries[i].context)
        PyMem_Free(self.entries)
        PyMem_Free(self.buckets)

    cdef int _open(self, Py_ssize_t capacity) except -1:
        """Get memory for the first flows."""
        self.capacity = capacity
        self.weight_max = capacity * <Py_ssize_t>BYTES_EACH
        return self._grow(<int32_t>min(capacity, ENTRIES_FIRST))

    cdef object _get(self, FlowKey key, object default):
        cdef int32_t i = self._alive(key)
        if i == NONE:
            return default
        self._unlink_use(i)
        self._link_use(i)
        self.entries[i].asked = True
        return <object>self.entries[i].context

    cdef int _advance(self, int64_t now) except -1:
        """Set the clock and let go of what has expired."""
        if self.now == 0:
            self._begin(now)
        self.now = now
        if now >= self.earliest and now - self.swept >= SWEEP_EVERY:
            self._sweep()
        return 0

    cdef int _put_all(self, const Flow *flows, Py_ssize_t count, object context, double ttl, int64_t at) except -1:
        """Register flows for ``ttl`` seconds from ``at`` (ns) on; 0 when there has been no packet yet."""
        cdef Py_ssize_t n
        cdef Py_ssize_t weight = measure(context)
        cdef int64_t life = life_of(ttl)
        if at:
            self.earliest = min(self.earliest, _later(at, life))
        for n in range(count):
            self._put(&flows[n], context, _later(at, life), at == 0, weight // count)
        return 0

    cdef void _begin(self, int64_t now) noexcept:
        """The first packet is there: the life of what was registered before it begins."""
        cdef int32_t i = self.by_use.oldest
        while i != NONE:
            if self.entries[i].early:
                self.entries[i].early = 0
                self.entries[i].expires = _later(now, self.entries[i].expires)
                self.earliest = min(self.earliest, self.entries[i].expires)
            i = self.entries[i].use.newer

    cdef int _remove_all(self, const Flow *flows, Py_ssize_t count) except -1:
        cdef Py_ssize_t n
        cdef int32_t i
        for n in range(count):
            i = self._find(&flows[n], flow_hash(&flows[n]))
            if i != NONE:
                self._end_flow(i)
        return 0

    cdef int32_t _find(self, const Flow *flow, uint64_t hashed) noexcept:
        cdef int32_t i = self.buckets[hashed & self.mask]
        while i != NONE:
            if self.entries[i].hashed == hashed and memcmp(&self.entries[i].key, flow, sizeof(Flow)) == 0:
                return i
            i = self.entries[i].chain
        return NONE

    cdef int32_t _alive(self, FlowKey key) except -2:
        """Find a flow that has not expired; one that has goes."""
        cdef int32_t i = self._find(&key.at, key.hashed)
        if i != NONE and self.entries[i].expires <= self.now and self.now:
            self.flows_expired += 1
            self._end_flow(i)
            return NONE
        return i

    cdef int _put(self, const Flow *flow, object context, int64_t expires, bint early, Py_ssize_t weight) except -1:
        cdef uint64_t hashed = flow_hash(flow)
        cdef int32_t i = self._find(flow, hashed)
        cdef PyObject *before
        weight += sizeof(Entry)
        if i == NONE:
            while self.count and (self.count >= self.capacity or self.weight + weight > self.weight_max):
                self.flows_evicted += 1
                self._end_flow(self.by_use.oldest)
            i = self._take_entry()
            self.entries[i].key = flow[0]
            self.entries[i].hashed = hashed
            self.entries[i].context = NULL
            self.entries[i].asked = False
            self.entries[i].chain = self.buckets[hashed & self.mask]
            self.buckets[hashed & self.mask] = i
            self.count += 1
        else:
            self._unlink_use(i)
            self.weight -= self.entries[i].weight
            if self.entries[i].asked and <object>self.entries[i].context != context:
                self._note_end(i)
                self.entries[i].asked = False
        self.entries[i].weight = <uint32_t>weight
        self.weight += weight
        before = self.entries[i].context
        Py_INCREF(context)
        self.entries[i].context = <PyObject *>context
        self.entries[i].expires = expires
        self.entries[i].early = early
        self._link_use(i)
        Py_XDECREF(before)
        return 0

    cdef int32_t _take_entry(self) except -2:
        cdef int32_t i = self.free
        if i != NONE:
            self.free = self.entries[i].chain
            return i
        if self.made == self.room:
            self._grow(<int32_t>min(self.capacity, 2 * <Py_ssize_t>self.room))
        self.made += 1
        return self.made - 1

    cdef int _grow(self, int32_t room) except -1:
        """Get memory for ``room`` entries and as many buckets, and put every entry into its new bucket."""
        cdef int32_t i
        cdef uint64_t b
        cdef Entry *entries = <Entry *>PyMem_Realloc(self.entries, room * sizeof(Entry))
        if entries == NULL:
            raise MemoryError
        self.entries = entries
        renew_buckets(&self.buckets, &self.mask, room)
        self.room = room
        for i in range(self.made):      # none of them is free: it grows only when all are used
            b = self.entries[i].hashed & self.mask
            self.entries[i].chain = self.buckets[b]
            self.buckets[b] = i
        return 0

    cdef int _note_end(self, int32_t i) except -1:
        """Note for whoever looked a flow up that it has ended."""
        cdef const Flow *key = &self.entries[i].key
        if self.entries[i].asked and self.ends is not None:
            flow = make_flow_key(key.version, key.src, key.dst, key.src_port, key.dst_port, key.protocol)
            self.ends.append((flow, <object>self.entries[i].context))
        return 0

    cdef int _end_flow(self, int32_t i) except -1:
        self._note_end(i)
        self._drop(i)
        return 0

    cdef void _drop(self, int32_t i) noexcept:
        cdef PyObject *context = self.entries[i].context
        cdef int32_t *bucket = &self.buckets[self.entries[i].hashed & self.mask]
        link_to(bucket, i, &self.entries.chain, sizeof(Entry))[0] = self.entries[i].chain
        self._unlink_use(i)
        self.entries[i].context = NULL
        self.entries[i].chain = self.free
        self.free = i
        self.count -= 1
        self.weight -= self.entries[i].weight
        Py_XDECREF(context)

    cdef int _sweep(self) except -1:
        """Let go of every flow that has expired."""
        cdef int32_t at = self.by_use.oldest
        cdef int32_t i
        self.swept = self.now
        self.earliest = NEVER
        while at != NONE:
            i = at
            at = self.entries[i].use.newer
            if self.entries[i].expires <= self.now:
                self.flows_expired += 1
                self._end_flow(i)
            elif self.entries[i].expires < self.earliest:
                self.earliest = self.entries[i].expires
        return 0

    cdef void _link_use(self, int32_t i) noexcept:
        append_number(&self.by_use, i, &self.entries.use, sizeof(Entry))

    cdef void _unlink_use(self, int32_t i) noexcept:
        leave_number(&self.by_use, i, &self.entries.use, sizeof(Entry))
