"""The streams that are known, each with what it holds: found by key, forgotten by age.

What each operation costs does not depend on how many streams there are, but for ``put``, which goes through the chunks
of one stream, at most ``CHUNKS_MAX``.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

import os

from otus_core.inline.hashing cimport keyed_hash
from otus_core.inline.tables cimport append, chain, close_buckets, leave, open_buckets, unchain
from otus_core.model.packet cimport DecodedPacket

cdef enum:
    DATA_FIRST = 2048           # room that an unfinished message begins with


cdef void fill_key(StreamKey *key, const Layers *at) noexcept nogil:
    """Name the direction that a segment belongs to."""
    memset(key, 0, sizeof(StreamKey))
    memcpy(key.src, at.src, 16 if at.ip_version == 6 else 4)
    memcpy(key.dst, at.dst, 16 if at.ip_version == 6 else 4)
    key.src_port = at.src_port
    key.dst_port = at.dst_port
    key.version = at.ip_version
    key.tunnel = at.tunnel
    if at.has_vni:
        key.has_vni = 1
        key.vni = at.vni
    if at.vlan_count:
        key.vlan_count = at.vlan_count
        key.vlans[0] = at.vlans[0]
        if at.vlan_count > 1:
            key.vlans[1] = at.vlans[1]


cdef void turn_key(StreamKey *key) noexcept nogil:
    """Name the other direction."""
    cdef uint8_t address[16]
    cdef uint16_t port = key.src_port
    memcpy(address, key.src, 16)
    memcpy(key.src, key.dst, 16)
    memcpy(key.dst, address, 16)
    key.src_port = key.dst_port
    key.dst_port = port


cdef inline uint32_t cost_of(object packet, uint32_t size) noexcept:
    """What a chunk takes: its payload, its frame, and the objects around them."""
    return (<DecodedPacket>packet).at.capture_len + 2 * size + CHUNK_COST


@cython.final
cdef class Table:
    """Up to ``most`` streams; who opens one has to see to that."""

    def __cinit__(self, uint32_t most):
        # Nobody outside can choose addresses and ports that meet in one bucket.
        memcpy(self.secret, PyBytes_AS_STRING(os.urandom(16)), 16)
        open_buckets(&self.buckets, most)

    def __dealloc__(self):
        cdef Stream *stream
        for i in range(LISTS):
            while self.lists[i].oldest != NULL:
                self.close(oldest_of(&self.lists[i]))
        while self.spare != NULL:
            stream = <Stream *>self.spare
            self.spare = stream.chained
            free(stream)
        close_buckets(&self.buckets)

    cdef uint32_t bucket(self, const StreamKey *key) noexcept:
        return <uint32_t>keyed_hash(self.secret, key, sizeof(StreamKey)) & self.buckets.mask

    cdef Stream *find(self, const StreamKey *key, uint32_t bucket) noexcept:
        cdef Stream *stream = <Stream *>self.buckets.at[bucket]
        while stream != NULL and memcmp(&stream.key, key, sizeof(StreamKey)) != 0:
            stream = <Stream *>stream.chained
        return stream

    cdef Stream *open(self, const StreamKey *key, uint32_t bucket, int64_t now) except NULL:
        """Begin to know a stream."""
        cdef Stream *stream = <Stream *>self.spare
        if stream != NULL:
            self.spare = stream.chained
        else:
            stream = <Stream *>malloc(sizeof(Stream))
            if stream == NULL:
                raise MemoryError
        memset(stream, 0, sizeof(Stream))
        stream.key = key[0]
        stream.bucket = bucket
        stream.owner = NO_OWNER
        stream.in_holes = NO_HOLE
        stream.touched = now
        chain(&self.buckets.at[bucket], stream, &stream.chained)
        self._list(stream, 0)
        self.count += 1
        return stream

    cdef void close(self, Stream *stream) noexcept:
        """Forget a stream with all that it holds."""
        unchain(&self.buckets.at[stream.bucket], stream, &stream.chained)
        self.empty(stream)
        while stream.first != NULL:
            self.take(stream)
        self.unwait(stream)
        leave(&self.lists[stream.in_list], stream, &stream.use)
        if stream.socket != NULL:
            Py_DECREF(<object>stream.socket)
        self.count -= 1
        stream.over = 0
        chain(&self.spare, stream, &stream.chained)

    cdef void touch(self, Stream *stream, int64_t now) noexcept:
        """Put a stream behind all others of its list, which may be another one by now."""
        cdef int which = (LIST_HOLDING if stream.have or stream.first != NULL else 0)
        stream.touched = now
        if stream.proven:
            which |= LIST_PROVEN
        if stream.use.newer == NULL and stream.in_list == which:
            return
        leave(&self.lists[stream.in_list], stream, &stream.use)
        self._list(stream, which)

    cdef void wait(self, Stream *stream, int holes, int64_t now) noexcept:
        """Note since when a stream has a hole."""
        self.unwait(stream)
        stream.in_holes = holes
        stream.hole_since = now
        append(&self.waiting[holes], stream, &stream.hole)
        self.holes += 1

    cdef void unwait(self, Stream *stream) noexcept:
        """The hole is gone."""
        if stream.in_holes == NO_HOLE:
            return
        leave(&self.waiting[stream.in_holes], stream, &stream.hole)
        stream.in_holes = NO_HOLE
        self.holes -= 1

    cdef int append(self, Stream *stream, const uint8_t *data, uint32_t size) except -1:
        """Add bytes to an unfinished message."""
        cdef uint32_t room = stream.room
        cdef uint8_t *grown
        if stream.have + size > room:
            room = max(room, DATA_FIRST)
            while room < stream.have + size:
                room *= 2
            grown = <uint8_t *>realloc(stream.data, room)
            if grown == NULL:
                raise MemoryError
            self.bytes += room - stream.room
            stream.data = grown
            stream.room = room
        memcpy(stream.data + stream.have, data, size)
        stream.have += size
        return 0

    cdef void empty(self, Stream *stream) noexcept:
        """Give up the bytes of an unfinished message."""
        self.bytes -= stream.room
        free(stream.data)
        stream.data = NULL
        stream.have = stream.room = stream.need = 0
        stream.spent = stream.shown = 0

    cdef int put(self, Stream *stream, object packet, uint32_t seq, const uint8_t *data, uint32_t size) except -1:
        """Keep a segment that came early; where others of the chunks have bytes of it, theirs came first and count."""
        cdef Chunk *after = NULL
        cdef Chunk *next = stream.first
        cdef Chunk *other
        cdef uint8_t *payload
        cdef uint32_t begin
        cdef Chunk *chunk = <Chunk *>malloc(sizeof(Chunk) + size)
        if chunk == NULL:
            raise MemoryError
        payload = <uint8_t *>(chunk + 1)
        memcpy(payload, data, size)
        if stream.last != NULL and <int32_t>(seq - stream.last.seq) >= 0:
            after = stream.last
            next = NULL
        while next != NULL and <int32_t>(seq - next.seq) >= 0:
            after = next
            next = next.next
        # What begins before this one is taken first, and wins where both have bytes; what begins behind it came first.
        other = next
        while other != NULL and <int32_t>(other.seq - seq) < <int32_t>size:
            begin = other.seq - seq
            memcpy(payload + begin, other + 1, min(size - begin, other.size))
            other = other.next
        chunk.packet = <PyObject *>packet
        Py_INCREF(packet)
        chunk.seq = seq
        chunk.size = size
        chunk.next = next
        if after == NULL:
            stream.first = chunk
        else:
            after.next = chunk
        if next == NULL:
            stream.last = chunk
        stream.chunks += 1
        stream.chunk_bytes += size
        self.bytes += cost_of(packet, size)
        return 0

    cdef object take(self, Stream *stream):
        """Take the first chunk away; gives its packet, and leaves its bytes in ``payload``."""
        cdef Chunk *chunk = stream.first
        packet = <object>chunk.packet
        self.payload = PyBytes_FromStringAndSize(<const char *>(chunk + 1), chunk.size)
        stream.first = chunk.next
        if chunk.next == NULL:
            stream.last = NULL
        stream.chunks -= 1
        stream.chunk_bytes -= chunk.size
        self.bytes -= cost_of(packet, chunk.size)
        Py_DECREF(packet)
        free(chunk)
        return packet

    cdef void _list(self, Stream *stream, int which) noexcept:
        stream.in_list = <uint8_t>which
        append(&self.lists[which], stream, &stream.use)


cdef DecodedPacket copy_of(DecodedPacket packet):
    """Give a packet of its own, in the same memory."""
    cdef DecodedPacket made = DecodedPacket.__new__(DecodedPacket)
    made.at = packet.at
    made.owner = packet.owner
    made.frame_start = packet.frame_start
    made.datagram = packet.datagram
    made.kept = packet.kept
    return made
