"""The registry in which a parser that saw a flow announced leaves word for the one that will see it.

Flows are a hash table over one array of entries, which is also linked by age of use: no step costs more when there are
more of them, and a flow takes 80 bytes beside its context. What has expired is swept out when packet time has passed
the earliest expiry, half a minute of it at a time. Endpoints, where any source counts, are in ``endpoints``.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from otus_core.inline.layouts cimport Flow
from otus_core.model.endpoints cimport Endpoint, fill_endpoint
from otus_core.model.flow_context cimport measure
from otus_core.model.flow_key cimport FlowKey, flow_hash, make_flow_key, packed_flows
from otus_core.model.packet cimport DecodedPacket, Layers

DEFAULT_CAPACITY = 262144
DEFAULT_TTL = 24 * 3600.0
LINGER = 30.0
"""Seconds of packet time for which what an owner announced outlives it: media and RTCP BYE come late."""

cdef enum:
    ENTRIES_FIRST = 256     # room for flows at first; it doubles up to the capacity
    CAPACITY_MAX = 1 << 28
    BYTES_EACH = 1024       # that a flow may take with its context, when as many as allowed are registered
    NONE = -1

cdef int64_t NS = 1_000_000_000
cdef int64_t SWEEP_EVERY = 32 * NS
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF
cdef double TTL_MAX_S = 1e9
cdef double LINGER_MAX_S = 3600.0


cdef int64_t _life(double ttl) except -1:
    """Give seconds as ns. Raises ValueError."""
    if not ttl > 0:
        raise ValueError("ttl must be above 0 seconds")
    return <int64_t>(min(ttl, TTL_MAX_S) * NS)


cdef inline int64_t _later(int64_t at, int64_t life) noexcept nogil:
    """Add, without going past the end: a capture file may claim any time."""
    return at + life if at <= NEVER - life else NEVER


@cython.final
cdef class FlowRegistry:
    """What parsers announce for others: flows (5-tuple → context; the last writer wins) and endpoints (address, port
    and protocol, whatever comes there or from there → the contexts of all who announced it).

    ``capacity`` bounds flows and endpoints, each in number and in KiB: the least recently used go when it is full. Its
    clock is packet time in ns: that of the packet being parsed, which the pipeline sets. Entries end ``ttl`` seconds
    after they were registered; the life of one that was registered before the first packet begins with that packet.
    ``watched`` is false when only one parser of the task wants flows: then nobody looks up what it registers, and
    siblings need not hear of it.
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
        self.weight_max = capacity * <Py_ssize_t>BYTES_EACH
        self.endpoints = Endpoints(capacity)
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

    @property
    def endpoint_count(self):
        """Endpoints that are announced, each as often as it has owners."""
        return self.endpoints.count

    @property
    def evicted(self):
        """Flows and endpoints that had to go for others."""
        return self.flows_evicted + self.endpoints.evicted

    @property
    def expired(self):
        """Flows and endpoints whose time was up."""
        return self.flows_expired + self.endpoints.expired

    def __contains__(self, FlowKey key not None):
        return self._alive(key) != NONE

    def get(self, FlowKey key not None, default=None):
        """Give the context of a flow, or ``default``."""
        cdef int32_t i = self._alive(key)
        if i == NONE:
            return default
        self._unlink_use(i)
        self._link_use(i)
        self.entries[i].asked = True
        return <object>self.entries[i].context

    def find(self, packet not None):
        """Tell whom a packet (or a ``FlowKey``) belongs to, by the endpoints that it goes to and comes from: a tuple of
        ``FlowMatch``, empty for none.

        A destination counts 2 and a source 1, and the highest sum wins. All that have 3 are given, the one announced
        last first; below 3 the one whose owner began last.
        """
        return self._look(packet, False)

    def candidates(self, packet not None):
        """Tell all owners whose endpoints a packet (or a ``FlowKey``) touches: a tuple of ``FlowMatch``, by score, then
        by when their owners began, the last first.
        """
        return self._look(packet, True)

    cdef tuple _look(self, object packet, bint every):
        cdef Endpoint source
        cdef Endpoint destination
        cdef const Layers *at
        cdef const Flow *flow
        if self.endpoints.count == 0:
            return ()
        if type(packet) is DecodedPacket:
            at = &(<DecodedPacket>packet).at
            fill_endpoint(&source, at.ip_version, at.protocol, at.src, at.src_port)
            fill_endpoint(&destination, at.ip_version, at.protocol, at.dst, at.dst_port)
        else:
            flow = &(<FlowKey?>packet).at
            fill_endpoint(&source, flow.version, flow.protocol, flow.src, flow.src_port)
            fill_endpoint(&destination, flow.version, flow.protocol, flow.dst, flow.dst_port)
        return self.endpoints.find(&source, &destination, self.now, every)

    def announce(self, keys, context, owner, double ttl=DEFAULT_TTL, bint local=False):
        """Say that ``owner`` (a call's id, for instance; what a context may be, but no dict) uses endpoints, for
        ``ttl`` seconds or until ``end``. ``keys`` are made by ``FlowKey.endpoint``, or such keys packed; siblings are
        not told of what is ``local``. What the owner announced for the same endpoints before is replaced.

        Raises FlowContextRefused, and ValueError for keys with a source and for a ``ttl`` that is not above 0.
        """
        cdef list holder = []
        cdef Py_ssize_t count
        cdef const Flow *flows = packed_flows(keys, &count, holder)
        self._announce(flows, count, context, owner, ttl, self.now)
        if self.on_change is not None and not local:
            self.on_change(("@", holder[0], context, ttl, self.now, owner))

    def end(self, owner, double linger=LINGER, bint local=False):
        """An owner has ended: what it announced goes ``linger`` seconds later; nothing happens when there is none."""
        self._end(owner, linger, self.now)
        if self.on_change is not None and not local:
            self.on_change(("x", owner, linger, self.now))

    def take_ends(self):
        """Give key and context of each flow and endpoint that somebody looked up and that has gone or says something
        else now, since the last call. The first call begins it.
        """
        ends = self.ends
        self.ends = self.endpoints.ends = []
        return ends or []

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
        cdef const Flow *flows = packed_flows(keys, &count, holder)
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
        cdef const Flow *flows
        if message[0] == "x":
            self._end(message[1], message[2], message[3] or self.now)
            return
        flows = packed_flows(message[1], &count, holder)
        if message[0] == "+":
            self._put_all(flows, count, message[2], message[3], message[4] or self.now)
        elif message[0] == "@":
            self._announce(flows, count, message[2], message[5], message[3], message[4] or self.now)
        else:
            self._remove_all(flows, count)

    cpdef advance(self, int64_t now):
        """Set the clock (ns) and let go of what has expired. The clock does not go back."""
        if now <= self.now:
            return
        if self.now == 0:
            self._begin(now)
            self.endpoints.begin(now)
        self.now = now
        self.endpoints.advance(now)
        if now >= self.earliest and now - self.swept >= SWEEP_EVERY:
            self._sweep()

    cdef int _put_all(self, const Flow *flows, Py_ssize_t count, object context, double ttl, int64_t at) except -1:
        """Register flows for ``ttl`` seconds from ``at`` (ns) on; 0 when there has been no packet yet."""
        cdef Py_ssize_t n
        cdef Py_ssize_t weight = measure(context)
        cdef int64_t life = _life(ttl)
        if at:
            self.earliest = min(self.earliest, _later(at, life))
        for n in range(count):
            self._put(&flows[n], context, _later(at, life), at == 0, weight // count)
        return 0

    cdef int _announce(self, const Flow *flows, Py_ssize_t count, object context, object owner, double ttl,
                       int64_t at) except -1:
        cdef Py_ssize_t n
        cdef Py_ssize_t i
        cdef Py_ssize_t weight = measure(context) + measure(owner)
        cdef int64_t life = _life(ttl)
        for n in range(count):
            for i in range(16):
                if flows[n].src[i]:
                    raise ValueError("an endpoint has no source: FlowKey.endpoint makes one")
        return self.endpoints.announce(flows, count, context, weight, owner, life, at)

    cdef int _end(self, object owner, double linger, int64_t at) except -1:
        return self.endpoints.end(owner, <int64_t>(min(max(linger, 0.0), LINGER_MAX_S) * NS), at)

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
                self._end_flow(self.oldest)
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
        cdef int32_t *link = &self.buckets[self.entries[i].hashed & self.mask]
        while link[0] != i:
            link = &self.entries[link[0]].chain
        link[0] = self.entries[i].chain
        self._unlink_use(i)
        self.entries[i].context = NULL
        self.entries[i].chain = self.free
        self.free = i
        self.count -= 1
        self.weight -= self.entries[i].weight
        Py_XDECREF(context)

    cdef int _sweep(self) except -1:
        """Let go of every flow that has expired."""
        cdef int32_t at = self.oldest
        cdef int32_t i
        self.swept = self.now
        self.earliest = NEVER
        while at != NONE:
            i = at
            at = self.entries[i].newer
            if self.entries[i].expires <= self.now:
                self.flows_expired += 1
                self._end_flow(i)
            elif self.entries[i].expires < self.earliest:
                self.earliest = self.entries[i].expires
        return 0

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
