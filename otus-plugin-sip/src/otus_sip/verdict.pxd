from otus_sip.message cimport SipMessage


cdef object verdict(SipMessage message)
