from libc.stdint cimport uint8_t

from otus_sip.message cimport SipMessage
from otus_sip.sessions cimport Event, Sessions


cdef class Announced:
    cdef object flows
    cdef object ttl

    cdef int take(self, object packet, SipMessage message, const Event *event, Sessions sessions, const uint8_t *data,
                  Py_ssize_t size, bytes media) except -1
    cdef int _announce(self, object packet, bytes call_id, str tag, str peer_tag, bint answer, const uint8_t *data,
                       Py_ssize_t size, bytes media) except -1
    cdef int _line(self, dict context, bytes call_id, bytes keys, object signalling) except -1
