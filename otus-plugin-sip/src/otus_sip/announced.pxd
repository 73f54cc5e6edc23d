from libc.stdint cimport uint8_t

from otus_core.inline.layouts cimport Flow

from otus_sip.description cimport Description, Medium
from otus_sip.media cimport Media
from otus_sip.message cimport SipMessage
from otus_sip.sessions cimport Event, Sessions


cdef class Announced:
    cdef object flows
    cdef object ttl
    cdef dict known             # by the text of a line and its attributes, what they say

    cdef int take(self, object packet, SipMessage message, const Event *event, Sessions sessions, const uint8_t *data,
                  const Description *found, bytes media) except -1
    cdef int report(self, SipMessage message, bint ends) except -1
    cdef int _announce(self, object packet, bytes call_id, str tag, str peer_tag, bint answer, const uint8_t *data,
                       const Description *found, bytes media) except -1
    cdef dict _said(self, const Medium *line, const Media *media, Flow *keys, int *count)
    cdef int _line(self, object packet, dict context, bytes call_id, bytes keys) except -1
