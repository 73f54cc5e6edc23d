from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from otus_core.inline.tables cimport Buckets, Links, Order
from otus_core.model.packet cimport DecodedPacket, Layers


cdef enum:
    NO_OWNER = -1
    # Lists of streams, the one that is idle longest first. What a parser has found a message in goes later than what
    # only looks like it, and what holds bytes is apart.
    LIST_HOLDING = 1
    LIST_PROVEN = 2
    LISTS = 4
    # Lists of streams with a hole, the oldest first: those whose receiver has not acknowledged it, and the others.
    HOLES_OPEN = 0
    HOLES_ACKNOWLEDGED = 1
    NO_HOLE = 2
    CHUNKS_MAX = 256            # of one stream: 64 KiB over Ethernet are 45
    CHUNK_COST = 1024           # what a chunk takes beside its bytes, so that tiny ones are not free


# One direction of a TCP connection. No padding, so that it can be compared as bytes.
cdef struct StreamKey:
    uint8_t src[16]
    uint8_t dst[16]
    uint16_t src_port
    uint16_t dst_port
    uint16_t vlans[2]
    uint32_t vni
    uint8_t version
    uint8_t tunnel
    uint8_t vlan_count
    uint8_t has_vni


# A segment that came before the one that it follows; its payload lies right behind it.
cdef struct Chunk:
    Chunk *next                 # by sequence number
    PyObject *packet            # a DecodedPacket with memory of its own
    uint32_t seq
    uint32_t size


cdef struct Stream:
    StreamKey key
    void *chained               # next in the bucket
    Links use                   # in the list
    Links hole
    uint32_t bucket
    uint8_t in_list             # a LIST
    uint8_t in_holes            # a HOLES, or NO_HOLE
    uint8_t over                # to be forgotten when the packet at hand is done
    uint8_t lost                # segments in which no message was found since bytes went missing, and 1; 0: none are
    uint8_t proven              # a message has been found in it
    uint8_t has_isn
    int owner                   # the framer whose messages it holds, or NO_OWNER
    uint32_t isn                # of the SYN, if it was seen
    uint32_t next_seq
    uint32_t last_seq           # of the last segment that was one message, and its size
    uint32_t last_size
    uint32_t have               # bytes of an unfinished message, at data
    uint32_t room               # that data has
    uint32_t need               # how long the message is, 0 while that is not known
    uint32_t frames             # that are counted as held for it
    uint32_t chunks
    uint32_t chunk_bytes        # of payload
    uint32_t shown              # bytes of the unfinished message that its framer was shown last
    uint64_t spent              # and all in all
    int64_t touched             # packet clock, ns
    int64_t hole_since
    int64_t first_ts            # of the frame with the first byte of data
    uint8_t *data
    Chunk *first
    Chunk *last
    PyObject *socket            # a WebSocket, or NULL


cdef class Table:
    cdef uint64_t secret[2]
    cdef Buckets buckets
    cdef Order lists[LISTS]         # by when they were in use last
    cdef Order waiting[2]           # by HOLES: by how long they have had one
    cdef void *spare                # a chain
    cdef bytes payload              # of the chunk that was taken last
    cdef readonly uint32_t count
    cdef readonly uint32_t holes
    cdef readonly uint64_t bytes    # held by data and chunks, and what they cost beside

    cdef uint32_t bucket(self, const StreamKey *key) noexcept
    cdef Stream *find(self, const StreamKey *key, uint32_t bucket) noexcept
    cdef Stream *open(self, const StreamKey *key, uint32_t bucket, int64_t now) except NULL
    cdef void close(self, Stream *stream) noexcept
    cdef void touch(self, Stream *stream, int64_t now) noexcept
    cdef void wait(self, Stream *stream, int holes, int64_t now) noexcept
    cdef void unwait(self, Stream *stream) noexcept
    cdef int append(self, Stream *stream, const uint8_t *data, uint32_t size) except -1
    cdef void empty(self, Stream *stream) noexcept
    cdef int put(self, Stream *stream, object packet, uint32_t seq, const uint8_t *data, uint32_t size) except -1
    cdef object take(self, Stream *stream)
    cdef void _list(self, Stream *stream, int which) noexcept


cdef void fill_key(StreamKey *key, const Layers *at) noexcept nogil
cdef void turn_key(StreamKey *key) noexcept nogil


cdef DecodedPacket copy_of(DecodedPacket packet)


cdef inline Stream *oldest_of(const Order *order) noexcept nogil:
    """Give the stream that has been in an order longest, or NULL."""
    return <Stream *>order.oldest
