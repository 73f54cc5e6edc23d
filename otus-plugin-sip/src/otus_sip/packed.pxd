from otus_sip.message cimport SipMessage


cdef bytes message_packed_labels(SipMessage message)
