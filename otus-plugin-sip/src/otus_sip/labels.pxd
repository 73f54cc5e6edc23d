from otus_sip.message cimport SipMessage

cdef object message_label(SipMessage message, str name)
cdef dict message_labels(SipMessage message)
