from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from otus_sip.calls cimport Call, Calls
from otus_sip.media cimport Media


# A flow key in FLOW_KEY_FORMAT.
cdef struct Flow:
    uint8_t src[16]
    uint8_t dst[16]
    uint16_t src_port
    uint16_t dst_port
    uint8_t version
    uint8_t protocol
    uint16_t zero


# One message of a call, as far as sessions look at it.
cdef struct Event:
    const uint8_t *call_id
    Py_ssize_t call_id_len
    uint64_t hashed             # of the Call-ID, by Calls.expect
    int64_t cseq
    int64_t now                 # ns
    uint64_t dialog
    int method                  # of the CSeq
    int status                  # 0 for a request


cdef class Sessions:
    cdef object register
    cdef object remove
    cdef object publish
    cdef Calls calls
    cdef readonly Py_ssize_t capacity
    cdef readonly object ttl
    cdef int64_t ttl_ns
    cdef readonly Py_ssize_t evicted

    cdef int event(self, const Event *event, bytes media) except -1
    cdef bint _apply(self, const Event *event, bytes media) except -1
    cdef bint _request(self, const Event *event, bytes media) except -1
    cdef bint _response(self, const Event *event, bytes media) except -1
    cdef bint _end(self, const Event *event) except -1
    cdef bint _refused(self, Call call, const Event *event) except -1
    cdef Call _touch(self, const Event *event)
    cdef int _let_go(self, int64_t now) except -1
    cdef int _answer(self, Call call, uint64_t dialog, bytes offer, bytes answer) except -1
    cdef Py_ssize_t _register(self, bytes call_id, const Media *one, const Media *other, Flow *flows) except -1
    cdef int _unregister(self, bytes keys) except -1
    cdef int _forget(self, Call call) except -1


cdef uint64_t dialog_id(const uint8_t *one, Py_ssize_t one_len, const uint8_t *other, Py_ssize_t other_len) noexcept nogil
