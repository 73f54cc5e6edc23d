from libc.stdint cimport uint8_t, uint32_t

from otus_sip.address cimport Address
from otus_sip.scan cimport HEADER_IDS, Field, Line
from otus_sip.sdp cimport Sdp


cdef class SipMessage:
    cdef readonly bytes raw
    cdef Line line
    cdef const uint8_t *data        # of raw
    cdef Py_ssize_t size
    cdef Py_ssize_t body_start      # where the body begins; the size when there is none
    cdef Py_ssize_t count
    cdef Field *fields
    cdef int first[HEADER_IDS]      # index of the first field of each HeaderId, -1 for none
    cdef const char *trouble        # the first thing that is wrong with the header section, or NULL
    cdef Py_ssize_t cseq_number     # -1 when there is none
    cdef const uint8_t *cseq_method
    cdef Py_ssize_t cseq_method_len
    cdef Sdp _sdp
    cdef Address parties[2]         # From and To, read when they are asked for first
    cdef bint has_read[2]

    cdef str text(self, const uint8_t *start, Py_ssize_t length)
    cdef str value_text(self, Field *field)
    cdef bint value_of(self, int header, const uint8_t **value, Py_ssize_t *length) noexcept nogil
    cdef const Address *party(self, int header) noexcept nogil
    cdef bint holds_sdp(self) noexcept nogil
    cdef object sdp_body(self)
    cdef bint is_plain_sdp(self) noexcept nogil

