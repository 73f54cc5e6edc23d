"""Flows by 5-tuple, and the registry in which a parser that saw a flow announced leaves word for one that will see it."""

from ipaddress import ip_address

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.string cimport memcmp, memcpy, memset

from otus_core.errors import FlowContextRefused
from otus_core.model.packet cimport ip_object

CONTEXT_MAX_BYTES = 4096
"""A context crosses to every sibling worker, so it stays small."""
DEFAULT_CAPACITY = 65536
DEFAULT_TTL = 24 * 3600.0

cdef enum:
    CONTEXT_DEPTH_MAX = 4
    WHEEL_SLOTS = 4096      # of WHEEL_SECONDS each: 36 hours; what lives longer goes round again
    WHEEL_SECONDS = 32

cdef int64_t NS = 1_000_000_000


cdef inline uint64_t _mix(uint64_t h, uint64_t value) noexcept nogil:
    h ^= value
    h *= <uint64_t>0x9E3779B97F4A7C15
    return h ^ (h >> 29)


# Addresses and ports come from packets, so the hash is keyed: nobody outside can aim for one bucket.
cdef uint64_t _SEED = <uint64_t>(<Py_ssize_t>hash("otus")) | 1


@cython.final
@cython.freelist(256)
cdef class FlowKey:
    """A directed 5-tuple. Addresses are given as text, packed bytes or ``ipaddress`` objects."""

    def __init__(self, src_ip, int src_port, dst_ip, int dst_port, int protocol):
        cdef bytes src = _packed(src_ip)
        cdef bytes dst = _packed(dst_ip)
        if len(src) != len(dst):
            raise ValueError("src_ip and dst_ip are not of one IP version")
        if not (0 <= src_port <= 65535 and 0 <= dst_port <= 65535 and 0 <= protocol <= 255):
            raise ValueError("port or protocol out of range")
        _fill(self, 4 if len(src) == 4 else 6, src, dst, src_port, dst_port, protocol)

    @property
    def src_ip(self):
        return ip_object(self.src, self.version)

    @property
    def dst_ip(self):
        return ip_object(self.dst, self.version)

    @property
    def src_port(self):
        return self._src_port

    @property
    def dst_port(self):
        return self._dst_port

    @property
    def protocol(self):
        return self._protocol

    def reversed(self):
        """Give the key of the other direction."""
        return make_flow_key(self.version, self.dst, self.src, self._dst_port, self._src_port, self._protocol)

    def __hash__(self):
        return self._hash

    def __eq__(self, other):
        if type(other) is not FlowKey:
            return NotImplemented
        cdef FlowKey b = <FlowKey>other
        return (self._hash == b._hash and self._src_port == b._src_port and self._dst_port == b._dst_port
                and self._protocol == b._protocol and self.version == b.version
                and memcmp(self.src, b.src, 16) == 0 and memcmp(self.dst, b.dst, 16) == 0)

    def __reduce__(self):
        return FlowKey, self.parts()

    def parts(self):
        """Give ``(src_ip, src_port, dst_ip, dst_port, protocol)``, the addresses packed."""
        cdef int size = 4 if self.version == 4 else 16
        return (PyBytes_FromStringAndSize(<const char *>self.src, size), self._src_port,
                PyBytes_FromStringAndSize(<const char *>self.dst, size), self._dst_port, self._protocol)

    def __repr__(self):
        return f"FlowKey('{self.src_ip}', {self._src_port}, '{self.dst_ip}', {self._dst_port}, {self._protocol})"


cdef bytes _packed(address):
    if type(address) is bytes:
        if len(<bytes>address) not in (4, 16):
            raise ValueError("a packed address is 4 or 16 bytes")
        return <bytes>address
    if isinstance(address, str):
        address = ip_address(address)
    return address.packed


cdef inline void _fill(FlowKey key, int version, const uint8_t *src, const uint8_t *dst, uint16_t src_port, uint16_t dst_port, uint8_t protocol) noexcept:
    cdef int size = 4 if version == 4 else 16
    cdef uint64_t words[2]
    cdef uint64_t h = _SEED
    key.version = version
    key._protocol = protocol
    key._src_port = src_port
    key._dst_port = dst_port
    memset(key.src, 0, 16)
    memset(key.dst, 0, 16)
    memcpy(key.src, src, size)
    memcpy(key.dst, dst, size)
    memcpy(words, key.src, 16)
    h = _mix(_mix(h, words[0]), words[1])
    memcpy(words, key.dst, 16)
    h = _mix(_mix(h, words[0]), words[1])
    h = _mix(h, (<uint64_t>src_port << 32) | (<uint64_t>dst_port << 8) | protocol)
    key._hash = <Py_hash_t>h
    if key._hash == -1:
        key._hash = -2


cdef FlowKey make_flow_key(int version, const uint8_t *src, const uint8_t *dst, uint16_t src_port, uint16_t dst_port, uint8_t protocol):
    cdef FlowKey key = FlowKey.__new__(FlowKey)
    _fill(key, version, src, dst, src_port, dst_port, protocol)
    return key


cdef packed struct _PackedKey:
    uint8_t version
    uint8_t protocol
    uint16_t src_port
    uint16_t dst_port
    uint8_t src[16]
    uint8_t dst[16]


cdef bytes _packed_keys(keys):
    """Write keys as one string: siblings are told of every flow, and tuples of tuples would cost more than the flows themselves."""
    cdef Py_ssize_t count = len(keys)
    cdef bytes packed = PyBytes_FromStringAndSize(NULL, count * <Py_ssize_t>sizeof(_PackedKey))
    cdef _PackedKey *at = <_PackedKey *>PyBytes_AS_STRING(packed)
    cdef FlowKey key
    for item in keys:
        if not count:
            break
        key = item
        at.version, at.protocol, at.src_port, at.dst_port = key.version, key._protocol, key._src_port, key._dst_port
        memcpy(at.src, key.src, 16)
        memcpy(at.dst, key.dst, 16)
        at += 1
        count -= 1
    return packed


cdef list _unpacked_keys(bytes packed):
    cdef const _PackedKey *at = <const _PackedKey *>PyBytes_AS_STRING(packed)
    cdef list keys = []
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(packed) // <Py_ssize_t>sizeof(_PackedKey)):
        keys.append(make_flow_key(at[i].version, at[i].src, at[i].dst, at[i].src_port, at[i].dst_port, at[i].protocol))
    return keys


@cython.final
@cython.freelist(256)
cdef class _Entry:
    """A registered flow, linked by age of use and by time of expiry. The links own nothing; the registry's dict does."""

    cdef FlowKey key
    cdef object context
    cdef int64_t expires
    cdef PyObject *newer
    cdef PyObject *older
    cdef PyObject *next_due
    cdef PyObject *previous_due
    cdef int slot


cdef int _measure(object value, int depth) except -1:
    """Give the size of a context in bytes, or raise FlowContextRefused."""
    cdef int total = 0
    kind = type(value)
    if kind is str:
        return <int>min(len(<str>value) * 4 if not (<str>value).isascii() else len(<str>value), CONTEXT_MAX_BYTES + 1)
    if kind is bytes:
        return <int>min(len(<bytes>value), CONTEXT_MAX_BYTES + 1)
    if kind is bool:
        return 1
    if kind is int:
        return <int>min((value.bit_length() >> 3) + 1, CONTEXT_MAX_BYTES + 1)
    if depth >= CONTEXT_DEPTH_MAX:
        raise FlowContextRefused(f"a flow context nests at most {CONTEXT_DEPTH_MAX} deep")
    if kind is tuple:
        for item in <tuple>value:
            total += _measure(item, depth + 1)
            if total > CONTEXT_MAX_BYTES:
                break
        return total
    if kind is dict:
        for key, item in (<dict>value).items():
            total += _measure(key, depth + 1) + _measure(item, depth + 1)
            if total > CONTEXT_MAX_BYTES:
                break
        return total
    raise FlowContextRefused(f"a flow context holds str, int, bytes, bool, tuples and dicts of these, not {kind.__name__}")


@cython.final
cdef class FlowRegistry:
    """5-tuple → context. Bounded: the least recently used flow goes when it is full. Last writer wins.

    Time is packet time in ns, set by ``advance``; entries end ``ttl`` seconds after they were registered. ``watched`` is false when only one parser of the task
    wants flows: then nobody looks up what it registers, and siblings need not hear of it.
    """

    cdef dict entries
    cdef PyObject *newest
    cdef PyObject *oldest
    cdef PyObject *wheel[WHEEL_SLOTS]
    cdef int64_t now
    cdef int64_t tick
    cdef readonly Py_ssize_t capacity
    cdef readonly Py_ssize_t evicted
    cdef readonly Py_ssize_t expired
    cdef public object on_change
    cdef public bint watched

    def __cinit__(self):
        self.entries = {}
        memset(self.wheel, 0, sizeof(self.wheel))

    def __init__(self, Py_ssize_t capacity=DEFAULT_CAPACITY):
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self.capacity = capacity
        self.on_change = None
        self.watched = True

    def __len__(self):
        return len(self.entries)

    def __contains__(self, key):
        return self._find(key) is not None

    def get(self, key, default=None):
        """Give the context of a flow, or ``default``."""
        cdef _Entry entry = self._find(key)
        if entry is None:
            return default
        self._unlink_use(entry)
        self._link_use(entry)
        return entry.context

    def register(self, FlowKey key not None, context, double ttl=DEFAULT_TTL):
        """Leave a context for a flow, for ``ttl`` seconds. Raises FlowContextRefused."""
        self.register_many((key,), context, ttl)

    def register_many(self, keys, context, double ttl=DEFAULT_TTL, *, bint local=False):
        """Leave one context for several flows; siblings are not told of what is ``local``. Raises FlowContextRefused."""
        if _measure(context, 0) > CONTEXT_MAX_BYTES:
            raise FlowContextRefused(f"a flow context is at most {CONTEXT_MAX_BYTES} bytes")
        for key in keys:
            self._put(key, context, ttl)
        if self.on_change is not None and not local:
            self.on_change(("+", _packed_keys(keys), context, ttl))

    def remove(self, FlowKey key not None):
        """Forget a flow; nothing happens when it is not there."""
        self.remove_many((key,))

    def remove_many(self, keys, *, bint local=False):
        """Forget several flows; siblings are not told of what is ``local``."""
        cdef _Entry entry
        for key in keys:
            entry = self.entries.get(key)
            if entry is not None:
                self._drop(entry)
        if self.on_change is not None and not local:
            self.on_change(("-", _packed_keys(keys)))

    def apply(self, message):
        """Take a change that a sibling worker's registry gave to its ``on_change``."""
        cdef _Entry entry
        cdef list keys = _unpacked_keys(message[1])
        if message[0] == "+":
            for key in keys:
                self._put(key, message[2], message[3])
            return
        for key in keys:
            entry = self.entries.get(key)
            if entry is not None:
                self._drop(entry)

    def advance(self, int64_t now):
        """Set the clock (ns) and let go of what has expired. The clock does not go back."""
        cdef int64_t tick
        cdef int64_t steps
        if now <= self.now:
            return
        self.now = now
        tick = now // (NS * WHEEL_SECONDS)
        if tick == self.tick:
            return
        steps = tick - self.tick
        if steps > WHEEL_SLOTS:
            steps = WHEEL_SLOTS
        self.tick = tick
        while steps > 0:
            steps -= 1
            self._sweep(<int>((tick - steps - 1) % WHEEL_SLOTS))

    cdef _Entry _find(self, key):
        cdef _Entry entry = self.entries.get(key)
        if entry is not None and entry.expires <= self.now:
            self.expired += 1
            self._drop(entry)
            return None
        return entry

    cdef int _put(self, FlowKey key, object context, double ttl) except -1:
        cdef _Entry entry = self.entries.get(key)
        if not ttl > 0:
            raise ValueError("ttl must be above 0 seconds")
        if entry is None:
            if len(self.entries) >= self.capacity:
                self.evicted += 1
                self._drop(<_Entry>self.oldest)
            entry = _Entry.__new__(_Entry)
            entry.key = key
            self.entries[key] = entry
        else:
            self._unlink_use(entry)
            self._unlink_due(entry)
        entry.context = context
        entry.expires = self.now + <int64_t>(min(ttl, 1e9) * NS)
        self._link_use(entry)
        self._link_due(entry)
        return 0

    cdef int _drop(self, _Entry entry) except -1:
        self._unlink_use(entry)
        self._unlink_due(entry)
        del self.entries[entry.key]
        return 0

    cdef int _sweep(self, int slot) except -1:
        cdef PyObject *at = self.wheel[slot]
        cdef _Entry entry
        while at != NULL:
            entry = <_Entry>at
            at = entry.next_due
            if entry.expires <= self.now:
                self.expired += 1
                self._drop(entry)
        return 0

    cdef void _link_use(self, _Entry entry) noexcept:
        entry.newer = NULL
        entry.older = self.newest
        if self.newest != NULL:
            (<_Entry>self.newest).newer = <PyObject *>entry
        self.newest = <PyObject *>entry
        if self.oldest == NULL:
            self.oldest = <PyObject *>entry

    cdef void _unlink_use(self, _Entry entry) noexcept:
        if entry.newer != NULL:
            (<_Entry>entry.newer).older = entry.older
        else:
            self.newest = entry.older
        if entry.older != NULL:
            (<_Entry>entry.older).newer = entry.newer
        else:
            self.oldest = entry.newer

    cdef void _link_due(self, _Entry entry) noexcept:
        cdef int slot = <int>((entry.expires // (NS * WHEEL_SECONDS)) % WHEEL_SLOTS)
        entry.slot = slot
        entry.previous_due = NULL
        entry.next_due = self.wheel[slot]
        if entry.next_due != NULL:
            (<_Entry>entry.next_due).previous_due = <PyObject *>entry
        self.wheel[slot] = <PyObject *>entry

    cdef void _unlink_due(self, _Entry entry) noexcept:
        if entry.next_due != NULL:
            (<_Entry>entry.next_due).previous_due = entry.previous_due
        if entry.previous_due != NULL:
            (<_Entry>entry.previous_due).next_due = entry.next_due
        else:
            self.wheel[entry.slot] = entry.next_due
