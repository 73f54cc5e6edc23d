from libc.stdint cimport uint8_t

from otus_core.inline.layouts cimport Flow

from otus_sip.description cimport Medium
from otus_sip.message cimport SipMessage
from otus_sip.sessions cimport Event, Sessions


cdef class Announced:
    cdef object flows
    cdef object ttl
    cdef dict known             # by the text of a line's formats and attributes, what they say

    cdef int take(self, object packet, SipMessage message, const Event *event, Sessions sessions, const uint8_t *data,
                  Py_ssize_t size, bytes media) except -1
    cdef int _announce(self, object packet, bytes call_id, str tag, str peer_tag, bint answer, const uint8_t *data,
                       Py_ssize_t size, bytes media) except -1
    cdef int report(self, SipMessage message) except -1
    cdef dict _attributes(self, Medium *line, Flow *keys, int *count)
    cdef int _line(self, dict context, bytes call_id, bytes keys, object signalling) except -1
