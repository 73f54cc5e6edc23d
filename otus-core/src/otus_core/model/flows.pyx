"""The registry in which a parser that saw a flow announced leaves word for the one that will see it.

Flows are in ``flow_table``, endpoints, where any source counts, in ``endpoints``. What has expired is swept out when
packet time has passed the earliest expiry, half a minute of it at a time.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from otus_core.inline.layouts cimport Flow
from otus_core.model.candidates cimport Endpoint, fill_endpoint
from otus_core.model.endpoints cimport Endpoints
from otus_core.model.flow_context cimport measure
from otus_core.model.flow_key cimport FlowKey, make_flow_key, packed_flows
from otus_core.model.flow_table cimport FlowTable, life_of
from otus_core.model.packet cimport DecodedPacket, Layers

DEFAULT_CAPACITY = 262144
DEFAULT_TTL = 24 * 3600.0
LINGER = 30.0
"""Seconds of packet time for which what an owner announced outlives it: media and RTCP BYE come late."""

cdef enum:
    CAPACITY_MAX = 1 << 28

cdef int64_t NS = 1_000_000_000
cdef double LINGER_MAX_S = 3600.0


@cython.final
cdef class FlowRegistry(FlowTable):
    """What parsers announce for others: flows (5-tuple → context; the last writer wins) and endpoints (address, port
    and protocol, whatever comes there or from there → the contexts of all who announced it).

    ``capacity`` bounds flows and endpoints, each in number and in KiB: the least recently used go when it is full. Its
    clock is packet time in ns: that of the packet being parsed, which the pipeline sets. Entries end ``ttl`` seconds
    after they were registered; the life of one that was registered before the first packet begins with that packet.
    ``watched`` is false when only one parser of the task wants flows: then nobody looks up what it registers, and
    siblings need not hear of it.
    """

    def __init__(self, Py_ssize_t capacity=DEFAULT_CAPACITY):
        if not 1 <= capacity <= CAPACITY_MAX:
            raise ValueError(f"capacity must be from 1 to {CAPACITY_MAX}")
        if self.entries != NULL:
            raise RuntimeError("a registry is made once")
        self._open(capacity)
        self.endpoints = Endpoints(capacity)
        self._on_change = None
        self.watched = True

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

    @property
    def generation(self):
        """A number that grows whenever what ``get`` and ``find`` give may have changed."""
        return self.changes + self.flows_expired + self.flows_evicted + self.endpoints.expired + self.endpoints.evicted

    def __contains__(self, FlowKey key not None):
        return self._alive(key) >= 0

    def get(self, FlowKey key not None, default=None):
        """Give the context of a flow, or ``default``."""
        return self._get(key, default)

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

    def announced(self, key, owner):
        """Give the context that ``owner`` announced for an endpoint, ``None`` for none; of several keys the first
        counts.
        """
        cdef list holder = []
        cdef Py_ssize_t count
        cdef Endpoint at
        cdef const Flow *flow = packed_flows((key,) if type(key) is FlowKey else key, &count, holder)
        if count == 0:
            return None
        fill_endpoint(&at, flow.version, flow.protocol, flow.dst, flow.dst_port)
        return self.endpoints.said(&at, owner, self.now)

    def announce(self, keys, context, owner, double ttl=DEFAULT_TTL, bint local=False):
        """Say that ``owner`` (a call's id, for instance; what a context may be, but no dict) uses endpoints, for
        ``ttl`` seconds or until ``end``. ``keys`` are made by ``FlowKey.endpoint``, or such keys packed; siblings are
        not told of what is ``local``. What the owner announced for the same endpoints before is replaced. Without keys
        nothing is kept: ``context`` is news for parsers that have ``on_announce``.

        Raises FlowContextRefused, and ValueError for keys with a source and for a ``ttl`` that is not above 0.
        """
        cdef list holder = []
        cdef Py_ssize_t count
        cdef const Flow *flows = packed_flows(keys, &count, holder)
        self._announce(flows, count, context, owner, ttl, self.now)
        if self.news is not None:
            self.news.append((owner, holder[0], context))
        if self._on_change is not None and not local:
            self._on_change(("@", holder[0], context, ttl, self.now, owner))

    def end(self, owner, double linger=LINGER, bint local=False):
        """An owner has ended: what it announced goes ``linger`` seconds later; nothing happens when there is none."""
        self._end(owner, linger, self.now)
        if self._on_change is not None and not local:
            self._on_change(("x", owner, linger, self.now))

    def _take_news(self):
        """Give owner, keys and context of all that was announced, here and by siblings, since the last call. The first
        call begins it.
        """
        news, self.news = self.news, []
        return [(owner, _unpack(keys), context) for owner, keys, context in news or ()]

    def _take_ends(self):
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
        self.changes += 1
        self._put_all(flows, count, context, ttl, self.now)
        if self._on_change is not None and not local:
            self._on_change(("+", holder[0], context, ttl, self.now))

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
        self.changes += 1
        self._remove_all(flows, count)
        if self._on_change is not None and not local:
            self._on_change(("-", holder[0]))

    def _apply(self, message):
        """Take a change that a sibling worker's registry gave to its ``_on_change``; a flow's life is counted from the
        packet that the sibling parsed.
        """
        cdef list holder = []
        cdef Py_ssize_t count
        cdef const Flow *flows
        self.changes += 1
        if message[0] == "x":
            self._end(message[1], message[2], message[3] or self.now)
            return
        flows = packed_flows(message[1], &count, holder)
        if message[0] == "+":
            self._put_all(flows, count, message[2], message[3], message[4] or self.now)
        elif message[0] == "@":
            self._announce(flows, count, message[2], message[5], message[3], message[4] or self.now)
            if self.news is not None:
                self.news.append((message[5], holder[0], message[2]))
        else:
            self._remove_all(flows, count)

    cpdef _move_clock(self, int64_t now):
        """Set the clock (ns) and let go of what has expired. The clock does not go back."""
        if now <= self.now:
            return
        if self.now == 0:
            self.endpoints.begin(now)
        self._advance(now)
        self.endpoints.advance(now)

    cdef int _announce(self, const Flow *flows, Py_ssize_t count, object context, object owner, double ttl,
                       int64_t at) except -1:
        cdef Py_ssize_t n
        cdef Py_ssize_t i
        cdef Py_ssize_t weight = measure(context) + measure(owner)
        cdef int64_t life = life_of(ttl)
        for n in range(count):
            for i in range(16):
                if flows[n].src[i]:
                    raise ValueError("an endpoint has no source: FlowKey.endpoint makes one")
        self.changes += 1
        return self.endpoints.announce(flows, count, context, weight, owner, life, at)

    cdef int _end(self, object owner, double linger, int64_t at) except -1:
        self.changes += 1
        return self.endpoints.end(owner, <int64_t>(min(max(linger, 0.0), LINGER_MAX_S) * NS), at)


cdef tuple _unpack(bytes keys):
    """Give packed keys as objects."""
    cdef const Flow *at = <const Flow *>PyBytes_AS_STRING(keys)
    cdef Py_ssize_t n
    return tuple([make_flow_key(at[n].version, at[n].src, at[n].dst, at[n].src_port, at[n].dst_port, at[n].protocol)
                  for n in range(PyBytes_GET_SIZE(keys) // <Py_ssize_t>sizeof(Flow))])
