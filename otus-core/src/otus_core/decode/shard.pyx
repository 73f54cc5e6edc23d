"""Which worker a frame of a capture file belongs to: by the unordered pair of its outermost IP addresses.

In: frames, or the index of a batch. Out: those of one shard. Both directions of a conversation and all fragments of a
datagram have one pair, so they meet in one worker. What lies before the IP header is read as the decoder reads it
(``link``, ``wrapped``). What leads to none, or is cut off before its addresses, belongs to shard 0: all of it together,
so that nothing is torn apart.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from otus_core.decode.link cimport below_ip
from otus_core.decode.walk cimport *
from otus_core.decode.wrapped cimport begin_step
from otus_core.inline.layouts cimport FrameRecord
from otus_core.model.packet cimport Layers


cdef inline uint64_t mix(uint64_t h) noexcept nogil:
    """MurmurHash3's finalizer: every bit of the input moves half of the output.

    Without a secret, for all workers come to the same.
    """
    h ^= h >> 33
    h *= <uint64_t>0xFF51AFD7ED558CCD
    h ^= h >> 33
    h *= <uint64_t>0xC4CEB9FE1A85EC53
    return h ^ (h >> 33)


cdef inline uint64_t hash_address(const uint8_t *address, uint32_t size) noexcept nogil:
    cdef uint64_t words[2]
    words[0] = words[1] = 0
    memcpy(words, address, size)
    return mix(words[0] ^ mix(words[1]) if words[1] else words[0])


cdef inline uint64_t pair(const uint8_t *src, const uint8_t *dst, uint32_t size) noexcept nogil:
    """Give a number for two addresses: a sum is the same in both directions."""
    return hash_address(src, size) + hash_address(dst, size)


cdef uint32_t shard_of(const uint8_t *frame, uint32_t size, uint32_t orig_len, uint32_t link_type,
                       uint32_t shards) noexcept nogil:
    """Give the shard, 0 to ``shards`` - 1."""
    cdef Walk w
    cdef Layers at
    cdef int step
    cdef int layers = 0
    w.p = frame
    w.end = frame + size
    w.beyond = orig_len - size if orig_len > size else 0
    w.scope = 0
    w.tagged = 1                    # tags and MAC addresses are not recorded
    step = begin_step(&w, &at, link_type)
    while step > DROP_UNSUPPORTED_LINK and layers < LAYERS_MAX:
        layers += 1
        if step == STEP_UNIT:       # exported without headers: the addresses are those of tags
            return <uint32_t>(pair(at.src, at.dst, 4 if at.ip_version == 4 else 16) % shards)
        if step == STEP_IP:
            step = STEP_IPV6 if not short_of(&w, 1) and w.p[0] >> 4 == 6 else STEP_IPV4
        if step == STEP_IPV4:
            if short_of(&w, 20) or w.p[0] >> 4 != 4:
                return 0
            return <uint32_t>(pair(w.p + 12, w.p + 16, 4) % shards)
        if step == STEP_IPV6:
            if short_of(&w, 40) or w.p[0] >> 4 != 6:
                return 0
            return <uint32_t>(pair(w.p + 8, w.p + 24, 16) % shards)
        step = below_ip(&w, &at, step)
    return 0


@cython.final
cdef class Shard:
    """One worker's share of a capture file that ``shards`` workers read: for capturers that are ``shardable`` and not
    live, made in ``open``.

    Raises ValueError where there is no such shard.
    """

    cdef readonly int shard
    cdef readonly int shards

    def __init__(self, int shard=0, int shards=1):
        if not 0 <= shard < shards:
            raise ValueError(f"there is no shard {shard} of {shards}")
        self.shard = shard
        self.shards = shards

    def owns(self, const uint8_t[::1] frame not None, int link_type=1, orig_len=None):
        """Whether a frame is of this shard; ``orig_len`` is what it had on the wire, if the capture cut it."""
        cdef uint32_t size = <uint32_t>frame.shape[0]
        cdef uint32_t whole = size if orig_len is None else orig_len
        return shard_of(&frame[0] if size else NULL, size, whole, link_type, self.shards) == <uint32_t>self.shard

    def select(self, const uint8_t[::1] data not None, uint8_t[::1] index not None, Py_ssize_t count):
        """Move this shard's records, of the first ``count`` ones, to the front of an index in ``FRAME_INDEX_FORMAT``;
        gives how many they are.

        Their order stays. ``data`` is what their offsets lead into. Raises ValueError for a record that does not lie
        inside of it.
        """
        cdef Py_ssize_t kept = 0
        cdef Py_ssize_t i
        cdef FrameRecord record
        cdef uint32_t owner
        cdef uint8_t *at = &index[0] if index.shape[0] else NULL
        cdef const uint8_t *base = &data[0] if data.shape[0] else NULL
        cdef uint64_t size = <uint64_t>data.shape[0]
        if not 0 <= count <= index.shape[0] // <Py_ssize_t>sizeof(FrameRecord):
            raise ValueError(f"an index of {index.shape[0]} bytes has no {count} records")
        for i in range(count):
            memcpy(&record, at + i * <Py_ssize_t>sizeof(FrameRecord), sizeof(FrameRecord))
            if record.offset > size or record.capture_len > size - record.offset:
                raise ValueError(f"frame {i} lies outside the buffer")
            owner = shard_of(base + record.offset, record.capture_len, record.orig_len, record.link_type, self.shards)
            if owner == <uint32_t>self.shard:
                memcpy(at + kept * <Py_ssize_t>sizeof(FrameRecord), &record, sizeof(FrameRecord))
                kept += 1
        return kept
