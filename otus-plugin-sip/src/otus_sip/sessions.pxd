from libc.stdint cimport int64_t, uint8_t


cdef class Sessions:
    cdef object flows
    cdef object publish
    cdef dict calls             # Call-ID → Call, the least recently touched first
    cdef readonly Py_ssize_t capacity
    cdef readonly double ttl
    cdef int64_t ttl_ns
    cdef readonly Py_ssize_t evicted

    cdef int event(self, object call_id, int what, Py_ssize_t cseq, object method, int status, object dialog, object media, int64_t now) except -1
    cdef int _apply(self, object call_id, int what, Py_ssize_t cseq, object method, int status, object dialog, object media, int64_t now) except -1
    cdef Call _touch(self, object call_id, int64_t now)
    cdef int _let_go(self, int64_t now) except -1
    cdef int _answer(self, Call call, object call_id, object dialog, object offer, object answer) except -1
    cdef int _forget(self, object call_id, Call call) except -1


cdef class Call:
    cdef dict offers            # (CSeq, method) → media of the offer that awaits its answer
    cdef dict dialogs           # dialog → its flow keys
    cdef object late_offer      # an offer made in a response; ACK or PRACK carries its answer
    cdef bint confirmed
    cdef int64_t touched


cdef tuple scan_media(const uint8_t *data, Py_ssize_t size)
