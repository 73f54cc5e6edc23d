"""All streams under way: by 5-tuple and SSRC, in the order of their last use, and by what was announced of them.

Bounded: what has to go for another is chosen by ``crowded``, told by the caller, and then removed.
"""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport Py_EQ, PyObject_Hash, PyObject_RichCompareBool

from otus_core.inline.tables cimport chain, close_buckets, open_buckets, unchain

cdef extern from *:
    """
    #define otus_prefetch(at) __builtin_prefetch((const void *)(at), 1)
    """
    void prefetch "otus_prefetch" (size_t address) noexcept nogil

cdef enum:
    LINE = 64                   # bytes of memory that are fetched together
    FORESEEN = 4                # packets: what they need is fetched meanwhile
    CROWD = 1024                # streams from which on fetching them takes more time than looking ahead
    TURNS = 1 << 16             # packets that are remembered: with more between two of a stream nothing is foreseen
    FLOWS_FIRST = 1024          # that there are buckets for at first
    FLOW_STREAMS_MAX = 16       # SSRCs of one 5-tuple: whoever makes up more loses its own, not those of others
    SAME_SSRC_MAX = 64          # streams of one SSRC that a report is matched with; some telephones all begin with one

cdef int64_t SECOND = 1_000_000_000


@cython.final
cdef class Flow:
    """What is known of one 5-tuple."""

    def __cinit__(self, key):
        self.key = key
        self.place.hashed = <uint64_t>PyObject_Hash(key)
        self.place.flow = <void *>self
        self.streams = []
        self.match = ""
        self.matches = ()
        self.watched = ()

    cdef Stream find(self, uint32_t ssrc):
        cdef Stream stream
        if self.recent is not None and self.recent.ssrc == ssrc:
            return self.recent
        for stream in self.streams:
            if stream.ssrc == ssrc:
                return stream
        return None

    @property
    def all_streams(self):
        """Its streams."""
        return tuple(self.streams)

    @property
    def changes(self):
        """How often packets went from one SSRC to another."""
        return self.ssrc_changes


@cython.final
cdef class Streams:
    """The table. ``most`` bounds the streams in it; ``idle`` is for how long (ns) a stream may be silent, an eighth of
    which its place in the order of use may be behind.
    """

    def __cinit__(self, Py_ssize_t most, int64_t idle=8 * SECOND):
        open_buckets(&self.buckets, FLOWS_FIRST)
        self.watchers = {}
        self.by_ssrc = {}
        self.by_owner = {}
        self.most = most
        self.use_every = max(idle // 8, SECOND)

    def __dealloc__(self):
        close_buckets(&self.buckets)
        PyMem_Free(self.turns)

    cdef void look_ahead(self, Flow flow, Stream stream) noexcept:
        """Have fetched what the next packets will touch: telephones send at one pace, so they are likely to be of those
        streams that followed on this one last time. Called with each packet.
        """
        cdef size_t at
        cdef size_t end
        cdef Turn *turn
        if self.count < CROWD:
            return
        if self.turns == NULL:
            self.turns = <Turn *>PyMem_Calloc(TURNS, sizeof(Turn))
            if self.turns == NULL:
                return
        # Numbers: what stood there may have gone since, which is no harm, for nothing is read from it
        turn = &self.turns[(flow.turn + FORESEEN) & (TURNS - 1)]
        prefetch(turn.flow)
        prefetch(turn.flow + LINE)
        prefetch(turn.key)
        at = turn.stream
        end = at + (<size_t>&stream.discarded - <size_t><void *>stream)     # what each packet touches
        while at < end:
            prefetch(at)
            at += LINE
        self.turn += 1
        flow.turn = self.turn
        turn = &self.turns[self.turn & (TURNS - 1)]
        turn.flow, turn.key, turn.stream = <size_t><void *>flow, <size_t><void *>flow.key, <size_t><void *>stream

    cdef Flow flow_of(self, object key):
        """Give what is known of a 5-tuple, or ``None``."""
        cdef uint64_t hashed = <uint64_t>PyObject_Hash(key)
        cdef Place *place = <Place *>self.buckets.at[hashed & self.buckets.mask]
        while place != NULL:
            if place.hashed == hashed and PyObject_RichCompareBool((<Flow>place.flow).key, key, Py_EQ):
                return <Flow>place.flow
            place = <Place *>place.chain
        return None

    cdef void _place(self, Flow flow) noexcept:
        cdef Buckets *buckets = &self.buckets
        chain(&buckets.at[flow.place.hashed & buckets.mask], &flow.place, &flow.place.chain)

    cdef int _grow(self) except -1:
        """Make twice as many buckets."""
        cdef Buckets old = self.buckets
        cdef Buckets wider
        cdef Place *place
        cdef Place *following
        cdef uint32_t i
        open_buckets(&wider, 2 * (old.mask + 1))
        self.buckets = wider
        for i in range(old.mask + 1):
            place = <Place *>old.at[i]
            while place != NULL:
                following = <Place *>place.chain
                self._place(<Flow>place.flow)
                place = following
        close_buckets(&old)
        return 0

    def crowded(self, Flow flow not None):
        """Give the stream that has to go before ``flow`` gets another one, or ``None``."""
        cdef Stream stream
        cdef Stream least = None
        if len(flow.streams) >= FLOW_STREAMS_MAX:
            for stream in flow.streams:
                if least is None or stream.last < least.last:
                    least = stream
            return least
        if self.count < self.most:
            return None
        while self.oldest.touched < self.oldest.last:   # its place in the order is behind
            self._catch_up(self.oldest)
        return self.oldest

    cdef int add(self, Flow flow, Stream stream, int64_t now) except -1:
        if not flow.streams:
            self.flow_count += 1
            if self.flow_count > self.buckets.mask:
                self._grow()
            self._place(flow)
            for key in flow.watched:
                _put(self.watchers, key, flow)
        flow.streams.append(stream)
        _put(self.by_ssrc, stream.ssrc, stream)
        stream.owners = tuple([match.owner for match in stream.matches])
        for owner in stream.owners:
            _put(self.by_owner, owner, stream)
        stream.touched = now
        self._append(stream)
        self.count += 1
        return 0

    cdef int remove(self, Stream stream) except -1:
        """Forget a stream, and its 5-tuple with its last one."""
        cdef Flow flow = stream.flow
        flow.streams.remove(stream)
        if flow.recent is stream:
            flow.recent = None
        _forget(self.by_ssrc, stream.ssrc, stream)
        for owner in stream.owners:
            _forget(self.by_owner, owner, stream)
        if not flow.streams:
            unchain(&self.buckets.at[flow.place.hashed & self.buckets.mask], &flow.place, &flow.place.chain)
            self.flow_count -= 1
            for key in flow.watched:
                _forget(self.watchers, key, flow)
        self._unlink(stream)
        self.count -= 1
        return 0

    def watching(self, key):
        """Give the flows to which what was announced at ``key`` matters."""
        return _all(self.watchers, key)

    def of_owner(self, owner):
        """Give the streams of a call."""
        return _all(self.by_owner, owner)

    def of_ssrc(self, uint32_t ssrc):
        """Give the streams of an SSRC, the newest first, a bounded number of them."""
        found = self.by_ssrc.get(ssrc)
        if type(found) is not dict:
            return () if found is None else (found,)
        return [stream for stream, _ in zip(reversed(found), range(SAME_SSRC_MAX))]

    def holds(self, Stream stream not None):
        """Whether a stream is under way."""
        return stream in (<Flow>stream.flow).streams

    def silent(self, int64_t before):
        """Give a stream that had no packet since a time, or ``None``; remove it before the next call."""
        cdef Stream stream = self.oldest
        while stream is not None and stream.touched < before:
            if stream.last < before:
                return stream
            self._catch_up(stream)
            stream = self.oldest
        return None

    def all_streams(self):
        """Give every stream, as a list."""
        cdef Stream stream = self.oldest
        found = []
        while stream is not None:
            found.append(stream)
            stream = stream.newer
        return found

    cdef void use(self, Stream stream, int64_t now) noexcept:
        """Put a stream among those in use, now and then: its neighbours in the order have to be fetched for it."""
        if now - stream.touched >= self.use_every:
            stream.touched = now
            self._renew(stream)

    cdef void _catch_up(self, Stream stream) noexcept:
        stream.touched = stream.last
        self._renew(stream)

    cdef void _renew(self, Stream stream) noexcept:
        if stream is not self.newest:
            self._unlink(stream)
            self._append(stream)

    cdef void _append(self, Stream stream) noexcept:
        stream.older = self.newest
        stream.newer = None
        if self.newest is not None:
            self.newest.newer = stream
        else:
            self.oldest = stream
        self.newest = stream

    cdef void _unlink(self, Stream stream) noexcept:
        if stream.older is not None:
            stream.older.newer = stream.newer
        else:
            self.oldest = stream.newer
        if stream.newer is not None:
            stream.newer.older = stream.older
        else:
            self.newest = stream.older
        stream.older = stream.newer = None

    def clear(self):
        """Let go of everything: streams refer to each other."""
        for stream in self.all_streams():
            self.remove(stream)


# Tables of several things under one key. Nearly always there is one, which stands there without a dict around it.

cdef int _put(dict table, key, item) except -1:
    found = table.get(key)
    if found is None:
        table[key] = item
    elif type(found) is dict:
        (<dict>found)[item] = None
    elif found is not item:
        table[key] = {found: None, item: None}
    return 0


cdef tuple _all(dict table, key):
    found = table.get(key)
    if found is None:
        return ()
    return tuple(<dict>found) if type(found) is dict else (found,)


cdef int _forget(dict table, key, item) except -1:
    found = table.get(key)
    if type(found) is dict:
        (<dict>found).pop(item, None)
        if not found:
            del table[key]
    elif found is item and found is not None:
        del table[key]
    return 0
