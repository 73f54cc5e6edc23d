from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from otus_sip.address cimport Address
from otus_sip.scan cimport HEADER_IDS, Field, Line
from otus_sip.sdp cimport Sdp


# Where a message ends before its time.
cdef enum:  # Cut
    IN_FIELDS = 1
    IN_BODY = 2


# Hundreds of messages wait at a time: small fields keep them in the cache. A datagram and a stream's message have less
# than 2 MiB, and a field at least three bytes.
cdef class SipMessage:
    cdef readonly bytes raw
    cdef Field *fields
    cdef const uint8_t *data        # of raw
    cdef uint32_t size              # up to the end of the body; what a datagram has behind it is in raw
    cdef uint32_t body_start        # where the body begins; the size when there is none
    cdef uint32_t count
    cdef int32_t first[HEADER_IDS]  # index of the first field of each HeaderId, -1 for none
    cdef Line line
    cdef uint8_t cut                # a Cut, 0 for a whole message
    cdef uint8_t by_capture         # whether it was cut by the capture
    cdef uint8_t is_judged          # fault is known
    cdef uint8_t has_bodies         # sdp_body has been looked for
    cdef uint8_t has_read[2]        # parties
    cdef uint32_t cseq_method_len
    cdef int64_t cseq_number        # -1 when there is none
    cdef const uint8_t *cseq_method
    cdef const char *trouble        # the first thing that is wrong with the header section, or NULL
    cdef const char *fault          # what verdict found, or NULL
    cdef const char *body_fault     # what is wrong with a body that must be decoded first, or NULL
    cdef object count_fault         # is called when a fault is found, or None
    cdef object session_body        # the description among the parts, or None
    cdef Sdp _sdp
    cdef Address parties[2]         # From and To, read when they are asked for first

    cdef str text(self, const uint8_t *start, Py_ssize_t length)
    cdef str value_text(self, Field *field)
    cdef str field_text(self, int header)
    cdef bint is_named(self, Field *field, str name)
    cdef str display_text(self, const Address *found)
    cdef Py_ssize_t trailing_size(self) noexcept
    cdef bint value_of(self, int header, const uint8_t **value, Py_ssize_t *length) noexcept nogil
    cdef const Address *party(self, int header) noexcept nogil
    cdef bint holds_sdp(self) noexcept nogil
    cdef object sdp_body(self)
    cdef bint is_plain_sdp(self) noexcept nogil

