from libc.stdint cimport uint8_t

from otus_sip.message cimport SipMessage
from otus_sip.scan cimport Line

cdef Py_ssize_t whole_size(const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef SipMessage read_message(bytes payload, Py_ssize_t begin, Py_ssize_t length, Line *line, bint hide)
