from libc.stdint cimport uint8_t, uint32_t

from otus_sip.address cimport Address
from otus_sip.scan cimport HEADER_IDS, Field, Line
from otus_sip.sdp cimport Sdp


# Where a message ends before its time.
cdef enum:  # Cut
    IN_FIELDS = 1
    IN_BODY = 2


cdef class SipMessage:
    cdef readonly bytes raw
    cdef Line line
    cdef const uint8_t *data        # of raw
    cdef Py_ssize_t size            # up to the end of the body; what a datagram has behind it is in raw
    cdef Py_ssize_t body_start      # where the body begins; the size when there is none
    cdef Py_ssize_t count
    cdef Field *fields
    cdef int first[HEADER_IDS]      # index of the first field of each HeaderId, -1 for none
    cdef const char *trouble        # the first thing that is wrong with the header section, or NULL
    cdef uint8_t cut                # a Cut, 0 for a whole message
    cdef bint by_capture            # whether it was cut by the capture
    cdef bint is_judged             # fault is known
    cdef bint has_bodies            # sdp_body has been looked for
    cdef const char *fault          # what verdict found, or NULL
    cdef const char *body_fault     # what is wrong with a body that must be decoded first, or NULL
    cdef object count_fault         # is called when a fault is found, or None
    cdef object session_body        # the description among the parts, or None
    cdef Py_ssize_t cseq_number     # -1 when there is none
    cdef const uint8_t *cseq_method
    cdef Py_ssize_t cseq_method_len
    cdef Sdp _sdp
    cdef Address parties[2]         # From and To, read when they are asked for first
    cdef bint has_read[2]

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

