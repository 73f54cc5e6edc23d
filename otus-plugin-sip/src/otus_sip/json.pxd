from otus_sip.message cimport SipMessage


cdef bytes message_json(SipMessage message)
