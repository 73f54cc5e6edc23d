"""The registry in which a parser that saw a flow announced leaves word for the one that will see it.

A hash table over one array of entries, which is also linked by age of use: no step costs more when there are more
flows, and a flow takes 80 bytes beside its context. What has expired is swept out when packet time has passed the
earliest expiry, half a minute of it at a time.
"""

cimport cython
from cpython.dict cimport PyDict_Next
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from otus_core.errors import FlowContextRefused
from otus_core.inline.layouts cimport Flow
from otus_core.model.flow_key cimport FlowKey, flow_hash, packed_flows

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object)

CONTEXT_MAX_BYTES = 4096
"""A context crosses to every sibling worker, so it stays small."""
DEFAULT_CAPACITY = 65536
DEFAULT_TTL = 24 * 3600.0

cdef enum:
    CONTEXT_MAX = 4096
    CONTEXT_DEPTH_MAX = 4
    ENTRIES_FIRST = 256     # room for flows at first; it doubles up to the capacity
    CAPACITY_MAX = 1 << 28
    NONE = -1

cdef int64_t NS = 1_000_000_000
cdef int64_t SWEEP_EVERY = 32 * NS
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF
cdef double TTL_MAX_S = 1e9


cdef inline int64_t _later(int64_t at, int64_t life) noexcept nogil:
    """Add, without going past the end: a capture file may claim any time."""
    return at + life if at <= NEVER - life else NEVER


cdef int _measure(object value, int depth) except -1:
    """Give the size of a context in bytes, or raise FlowContextRefused."""
    cdef int total = 0
    cdef Py_ssize_t at = 0
    cdef PyObject *key
    cdef PyObject *item
    kind = type(value)
    if kind is str:
        return <int>min(len(<str>value) if PyUnicode_IS_ASCII(value) else 4 * len(<str>value), CONTEXT_MAX + 1)
    if kind is bytes:
        return <int>min(len(<bytes>value), CONTEXT_MAX + 1)
    if kind is bool:
        return 1
    if kind is int:
        return <int>min((value.bit_length() >> 3) + 1, CONTEXT_MAX + 1)
    if depth >= CONTEXT_DEPTH_MAX:
        raise FlowContextRefused(f"a flow context nests at most {CONTEXT_DEPTH_MAX} deep")
    if kind is tuple:
        for inner in <tuple>value:
            total += _measure(inner, depth + 1)
            if total > CONTEXT_MAX:
                break
        return total
    if kind is dict:
        while PyDict_Next(value, &at, &key, &item):
            total += _measure(<object>key, depth + 1) + _measure(<object>item, depth + 1)
            if total > CONTEXT_MAX:
                break
        return total
    raise FlowContextRefused(
        f"a flow context holds str, int, bytes, bool, tuples and dicts of these, not {kind.__name__}")


@cython.final
cdef class FlowRegistry:
    """5-tuple → context. Bounded: the least recently used flow goes when it is full. Last writer wins.

    Its clock is packet time in ns: that of the packet being parsed, which the pipeline sets. Entries end ``ttl``
    seconds after they were registered; the life of one that was registered before the first packet begins with that
    packet. ``watched`` is false when only one parser of the task wants flows: then nobody looks up what it registers,
    and siblings need not hear of it.
    """

    def __cinit__(self):
        self.free = self.newest = self.oldest = NONE
        self.earliest = NEVER

    def __init__(self, Py_ssize_t capacity=DEFAULT_CAPACITY):
        if not 1 <= capacity <= CAPACITY_MAX:
            raise ValueError(f"capacity must be from 1 to {CAPACITY_MAX}")
        if self.entries != NULL:
            raise RuntimeError("a registry is made once")
        self.capacity = capacity
        self.on_change = None
        self.watched = True
        self._grow(<int32_t>min(capacity, ENTRIES_FIRST))

    def __dealloc__(self):
        cdef int32_t i
        for i in range(self.made):
            Py_XDECREF(self.entries[i].context)
        PyMem_Free(self.entries)
        PyMem_Free(self.buckets)

    def __len__(self):
        return self.count

    def __contains__(self, FlowKey key not None):
        return self._alive(key) != NONE

    def get(self, FlowKey key not None, default=None):
        """Give the context of a flow, or ``default``."""
        cdef int32_t i = self._alive(key)
        if i == NONE:
            return default
        self._unlink_use(i)
        self._link_use(i)
        return <object>self.entries[i].context

    def register(self, FlowKey key not None, context, double ttl=DEFAULT_TTL):
        """Leave a context for a flow, for ``ttl`` seconds. Raises FlowContextRefused."""
        self.register_many(key.packed(), context, ttl)

    def register_many(self, keys, context, double ttl=DEFAULT_TTL, bint local=False):
        """Leave one context for several flows, ``FlowKey``s or packed in ``FLOW_KEY_FORMAT``; siblings are not told of
        what is ``local``.

        Raises FlowContextRefused, and ValueError for a ``ttl`` that is not above 0.
        """
        cdef list holder = []
        cdef Py_ssize_t count
        cdef const Flow *flows
        if _measure(context, 0) > CONTEXT_MAX:
            raise FlowContextRefused(f"a flow context is at most {CONTEXT_MAX_BYTES} bytes")
        flows = packed_flows(keys, &count, holder)
        self._put_all(flows, count, context, ttl, self.now)
        if self.on_change is not None and not local:
            self.on_change(("+", holder[0], context, ttl, self.now))

    def remove(self, FlowKey key not None):
        """Forget a flow; nothing happens when it is not there."""
        self.remove_many(key.packed())

    def remove_many(self, keys, bint local=False):
        """Forget several flows, ``FlowKey``s or packed in ``FLOW_KEY_FORMAT``; siblings are not told of what is
        ``local``.
        """
        cdef list holder = []
        cdef Py_ssize_t count
        cdef const Flow *flows = packed_flows(keys, &count, holder)
        self._remove_all(flows, count)
        if self.on_change is not None and not local:
            self.on_change(("-", holder[0]))

    def apply(self, message):
        """Take a change that a sibling worker's registry gave to its ``on_change``; a flow's life is counted from the
        packet that the sibling parsed.
        """
        cdef list holder = []
        cdef Py_ssize_t count
        cdef const Flow *flows = packed_flows(message[1], &count, holder)
        if message[0] == "+":
            self._put_all(flows, count, message[2], message[3], message[4] or self.now)
        else:
            self._remove_all(flows, count)

    cpdef advance(self, int64_t now):
        """Set the clock (ns) and let go of what has expired. The clock does not go back."""
        if now <= self.now:
            return
        if self.now == 0 and self.count:
            self._begin(now)
        self.now = now
        if now >= self.earliest and now - self.swept >= SWEEP_EVERY:
            self._sweep()

    cdef int _put_all(self, const Flow *flows, Py_ssize_t count, object context, double ttl, int64_t at) except -1:
        """Register flows for ``ttl`` seconds from ``at`` (ns) on; 0 when there has been no packet yet."""
        cdef Py_ssize_t n
        cdef int64_t life
        if not ttl > 0:
            raise ValueError("ttl must be above 0 seconds")
        life = <int64_t>(min(ttl, TTL_MAX_S) * NS)
        if at:
            self.earliest = min(self.earliest, _later(at, life))
        for n in range(count):
            self._put(&flows[n], context, _later(at, life), at == 0)
        return 0

    cdef void _begin(self, int64_t now) noexcept:
        """The first packet is there: the life of what was registered before it begins."""
        cdef int32_t i = self.oldest
        while i != NONE:
            if self.entries[i].early:
                self.entries[i].early = 0
                self.entries[i].expires = _later(now, self.entries[i].expires)
                self.earliest = min(self.earliest, self.entries[i].expires)
            i = self.entries[i].newer

    cdef int _remove_all(self, const Flow *flows, Py_ssize_t count) except -1:
        cdef Py_ssize_t n
        cdef int32_t i
        for n in range(count):
            i = self._find(&flows[n], flow_hash(&flows[n]))
            if i != NONE:
                self._drop(i)
        return 0

    cdef int32_t _find(self, const Flow *flow, uint64_t hashed) noexcept:
        cdef int32_t i = self.buckets[hashed & self.mask]
        while i != NONE:
            if self.entries[i].hashed == hashed and memcmp(&self.entries[i].key, flow, sizeof(Flow)) == 0:
                return i
            i = self.entries[i].chain
        return NONE

    cdef int32_t _alive(self, FlowKey key) noexcept:
        """Find a flow that has not expired; one that has goes."""
        cdef int32_t i = self._find(&key.at, key.hashed)
        if i != NONE and self.entries[i].expires <= self.now and self.now:
            self.expired += 1
            self._drop(i)
            return NONE
        return i

    cdef int _put(self, const Flow *flow, object context, int64_t expires, bint early) except -1:
        cdef uint64_t hashed = flow_hash(flow)
        cdef int32_t i = self._find(flow, hashed)
        cdef PyObject *before
        if i == NONE:
            if self.count >= self.capacity:
                self.evicted += 1
                self._drop(self.oldest)
            i = self._take_entry()
            self.entries[i].key = flow[0]
            self.entries[i].hashed = hashed
            self.entries[i].context = NULL
            self.entries[i].chain = self.buckets[hashed & self.mask]
            self.buckets[hashed & self.mask] = i
            self.count += 1
        else:
            self._unlink_use(i)
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
        cdef uint32_t buckets = 1
        cdef int32_t i
        cdef uint64_t b
        cdef Entry *entries = <Entry *>PyMem_Realloc(self.entries, room * sizeof(Entry))
        cdef int32_t *table
        if entries == NULL:
            raise MemoryError
        self.entries = entries
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
        for i in range(self.made):      # none of them is free: it grows only when all are used
            b = self.entries[i].hashed & self.mask
            self.entries[i].chain = table[b]
            table[b] = i
        return 0

    cdef void _drop(self, int32_t i) noexcept:
        cdef PyObject *context = self.entries[i].context
        cdef int32_t *link = &self.buckets[self.entries[i].hashed & self.mask]
        while link[0] != i:
            link = &self.entries[link[0]].chain
        link[0] = self.entries[i].chain
        self._unlink_use(i)
        self.entries[i].context = NULL
        self.entries[i].chain = self.free
        self.free = i
        self.count -= 1
        Py_XDECREF(context)

    cdef void _sweep(self) noexcept:
        """Let go of every flow that has expired."""
        cdef int32_t at = self.oldest
        cdef int32_t i
        self.swept = self.now
        self.earliest = NEVER
        while at != NONE:
            i = at
            at = self.entries[i].newer
            if self.entries[i].expires <= self.now:
                self.expired += 1
                self._drop(i)
            elif self.entries[i].expires < self.earliest:
                self.earliest = self.entries[i].expires

    cdef void _link_use(self, int32_t i) noexcept:
        self.entries[i].newer = NONE
        self.entries[i].older = self.newest
        if self.newest != NONE:
            self.entries[self.newest].newer = i
        self.newest = i
        if self.oldest == NONE:
            self.oldest = i

    cdef void _unlink_use(self, int32_t i) noexcept:
        cdef int32_t newer = self.entries[i].newer
        cdef int32_t older = self.entries[i].older
        if newer != NONE:
            self.entries[newer].older = older
        else:
            self.newest = older
        if older != NONE:
            self.entries[older].newer = newer
        else:
            self.oldest = newer
