"""A SIP message with other bytes in the place of some: of the same length, so that everything lies where it lay."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Malloc
from libc.string cimport memcpy

from otus_sip.message cimport SipMessage
from otus_sip.scan cimport HEADER_IDS, Field
from otus_sip.verdict cimport fault_of


def rewritten(SipMessage message not None, bytes raw not None):
    """Give the message made of these bytes; what is said to be wrong with it stays.

    Raises ValueError if there are more or fewer of them.
    """
    cdef SipMessage made
    cdef Py_ssize_t size = message.count * sizeof(Field)
    if PyBytes_GET_SIZE(raw) != PyBytes_GET_SIZE(message.raw):
        raise ValueError("the bytes of a message are replaced by as many")
    fault_of(message)           # judged by what was sent
    made = SipMessage.__new__(SipMessage)
    made.raw = raw
    made.data = <const unsigned char *>PyBytes_AS_STRING(raw) + (
        message.data - <const unsigned char *>PyBytes_AS_STRING(message.raw))
    if size:
        made.fields = <Field *>PyMem_Malloc(size)
        if made.fields == NULL:
            raise MemoryError
        memcpy(made.fields, message.fields, size)
    made.count = message.count
    made.size = message.size
    made.body_start = message.body_start
    memcpy(made.first, message.first, HEADER_IDS * sizeof(message.first[0]))
    made.line = message.line
    made.cut = message.cut
    made.by_capture = message.by_capture
    made.is_judged = message.is_judged
    made.has_bodies = True      # parts of a body that was masked are none
    made.trouble = message.trouble
    made.fault = message.fault
    made.body_fault = message.body_fault
    made.cseq_number = message.cseq_number
    made.cseq_method_len = message.cseq_method_len
    if message.cseq_method != NULL:
        made.cseq_method = made.data + (message.cseq_method - message.data)
    return made
