from otus_sip.message cimport SipMessage


cdef bytes message_line(SipMessage message, Py_ssize_t columns)
