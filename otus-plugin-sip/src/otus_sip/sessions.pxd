from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from otus_sip.calls cimport Call, Calls, Offer
from otus_sip.flows cimport MediaFlows


# One message of a call, as far as sessions look at it. The numbers tell things of one call apart, the same in every
# worker.
cdef struct Event:
    const uint8_t *call_id
    Py_ssize_t call_id_len
    uint64_t hashed             # of the Call-ID, by Calls.expect
    int64_t now                 # ns
    uint64_t transaction        # at one hop (RFC 3261 §17.1.3); that of the INVITE for its CANCEL
    uint64_t round              # at every hop: CSeq and From tag
    uint64_t dialog             # From tag and To tag, in whatever order
    uint64_t hop                # the two addresses that the message went between; 0 without media
    int method                  # of the CSeq
    int status                  # 0 for a request


cdef class Sessions:
    cdef object publish
    cdef Calls calls
    cdef MediaFlows flows
    cdef readonly Py_ssize_t capacity
    cdef readonly Py_ssize_t weight_max
    cdef readonly object ttl
    cdef int64_t ttl_ns
    cdef readonly Py_ssize_t evicted
    cdef bint answered          # whether the last event had the answer to an offer
    cdef bint offered           # whether it made one

    cdef int event(self, const Event *event, bytes media) except -1
    cdef bint _apply(self, const Event *event, bytes media) except -1
    cdef bint _request(self, const Event *event, bytes media) except -1
    cdef bint _take_answer(self, Call call, const Event *event, bytes media) except -1
    cdef int _offer(self, Call call, const Event *event, uint64_t dialog, bytes media) except -1
    cdef bint _response(self, const Event *event, bytes media) except -1
    cdef int _take_description(self, Call call, const Event *event, int i, bytes media) except -1
    cdef int _confirm(self, Call call, const Event *event) except -1
    cdef bint _bye(self, const Event *event) except -1
    cdef bint _end_branch(self, const Event *event) except -1
    cdef Call _touch(self, const Event *event)
    cdef int _let_go(self, int64_t now) except -1
    cdef int _evict(self, Call call) except -1
    cdef int _agree(self, Call call, const Event *event, const Offer *offer, bytes answer) except -1
    cdef int _agree_at(self, Call call, const Event *event, const Offer *offer) except -1
    cdef int _release(self, Call call, int32_t claims) except -1
    cdef int _drop_pair(self, Call call, int i) except -1
    cdef int _forget(self, Call call) except -1


cdef inline uint64_t last_word(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    """Give 1 to 8 bytes as one number; loads overlap where there is no power of two."""
    cdef uint32_t low = 0
    cdef uint32_t high = 0
    if size >= 4:
        memcpy(&low, text, 4)
        memcpy(&high, text + size - 4, 4)
        return <uint64_t>high << 32 | low
    return <uint64_t>text[0] << 16 | <uint64_t>text[size >> 1] << 8 | text[size - 1]


cdef inline uint64_t text_hash(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    """Give a number for a text, the same in every worker. It tells things of one call apart, nothing else."""
    cdef uint64_t h = <uint64_t>size + <uint64_t>0x9E3779B97F4A7C15
    cdef uint64_t word = 0
    while size > 8:
        memcpy(&word, text, 8)
        h = (h ^ word) * <uint64_t>0xD6E8FEB86659FD93
        h ^= h >> 32
        text += 8
        size -= 8
    if size > 0:
        h = (h ^ last_word(text, size)) * <uint64_t>0xD6E8FEB86659FD93
        h ^= h >> 32
    return h


cdef inline uint64_t mixed(uint64_t one, uint64_t other) noexcept nogil:
    """Give one number for two, in this order."""
    cdef uint64_t h = (one ^ other >> 32 ^ other << 32) * <uint64_t>0xD6E8FEB86659FD93
    return h ^ h >> 32
