from otus_sip.message cimport SipMessage


cdef object verdict(SipMessage message)
cdef const char *fault_of(SipMessage message) except? NULL
