from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from otus_sip.media cimport Media

cdef enum:
    OFFERS_MAX = 8          # transactions of one call under way; more is nobody's call
    DIALOGS_MAX = 16        # forks of one call whose flows are kept


# A flow key in FLOW_KEY_FORMAT.
cdef struct Flow:
    uint8_t src[16]
    uint8_t dst[16]
    uint16_t src_port
    uint16_t dst_port
    uint8_t version
    uint8_t protocol
    uint16_t zero


cdef class Call:
    cdef str call_id
    cdef PyObject *newer        # by when they were touched; the registry's dict owns the calls
    cdef PyObject *older
    cdef int64_t touched
    cdef bint confirmed
    cdef bytes late_offer       # made in a response; ACK or PRACK carries its answer
    cdef list offers            # media of each offer that awaits its answer
    cdef uint64_t offer_ids[OFFERS_MAX]
    cdef list dialogs           # packed flow keys of each dialog
    cdef uint64_t dialog_ids[DIALOGS_MAX]

    cdef Py_ssize_t offer_at(self, uint64_t transaction) noexcept
    cdef Py_ssize_t dialog_at(self, uint64_t dialog) noexcept
    cdef int drop_offer(self, uint64_t transaction) except -1
    cdef int drop_dialog(self, Py_ssize_t at) except -1


cdef class Sessions:
    cdef object register
    cdef object remove
    cdef object publish
    cdef dict calls             # Call-ID → Call
    cdef PyObject *newest
    cdef PyObject *oldest
    cdef readonly Py_ssize_t capacity
    cdef readonly object ttl
    cdef int64_t ttl_ns
    cdef readonly Py_ssize_t evicted

    cdef int event(self, str call_id, bint request, int64_t cseq, int method, int status, uint64_t dialog, bytes media, int64_t now) except -1
    cdef int _apply(self, str call_id, bint request, int64_t cseq, int method, int status, uint64_t dialog, bytes media, int64_t now) except -1
    cdef int _request(self, str call_id, int64_t cseq, int method, bytes media, uint64_t dialog, int64_t now) except -1
    cdef int _end(self, str call_id, int64_t cseq, int method, uint64_t dialog) except -1
    cdef int _refused(self, Call call, int64_t cseq, int method) except -1
    cdef Call _touch(self, str call_id, int64_t now)
    cdef int _let_go(self, int64_t now) except -1
    cdef int _answer(self, Call call, uint64_t dialog, bytes offer, bytes answer) except -1
    cdef Py_ssize_t _register(self, str call_id, const Media *one, const Media *other, Flow *flows) except -1
    cdef int _unregister(self, bytes keys) except -1
    cdef int _forget(self, Call call) except -1
    cdef void _link(self, Call call) noexcept
    cdef void _unlink(self, Call call) noexcept


cdef uint64_t dialog_id(const uint8_t *one, Py_ssize_t one_len, const uint8_t *other, Py_ssize_t other_len) noexcept nogil
