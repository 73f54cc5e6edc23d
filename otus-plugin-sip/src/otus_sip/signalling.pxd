from otus_sip.message cimport SipMessage


cdef tuple message_signalling(SipMessage message)
cdef dict message_selected(SipMessage message, frozenset names)
