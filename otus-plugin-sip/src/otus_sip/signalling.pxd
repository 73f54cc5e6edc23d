from otus_sip.message cimport SipMessage


cdef tuple message_signalling(SipMessage message)
cdef dict select_signalling(SipMessage message, frozenset names)
cdef bytes message_packed_signalling(SipMessage message)
cdef bytes message_packed_fields(SipMessage message, frozenset names)
cdef object signalling_capsule()
