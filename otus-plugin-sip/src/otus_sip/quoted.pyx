"""Reads the beginning of a message that somebody else quotes: an ICMP error."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from otus_sip.message cimport SipMessage
from otus_sip.reading cimport read_message
from otus_sip.scan cimport MALFORMED, NOT_SIP, REQUEST, Line, classify, skip_crlf


def read_quoted(bytes quoted not None, Py_ssize_t start, bint hides):
    """Give the SIP message that begins at ``start``, however little of it is there; ``None`` where no known method and
    no status line does.

    With ``hides`` what proves a password is overwritten in its ``raw``.
    """
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(quoted)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(quoted)
    cdef Line line
    cdef int kind
    if not 0 <= start <= size:
        raise ValueError("start is not in what is quoted")
    start += skip_crlf(data + start, size - start)
    kind = classify(data + start, size - start, &line)
    if kind == NOT_SIP or kind == MALFORMED or (kind == REQUEST and not line.known):
        return None
    return read_message(quoted, start, -1, &line, hides)
