"""Recognises SIP in WebSocket frames (RFC 6455 §5.2, RFC 7118), which are not read."""

from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from otus_sip.scan cimport method_id

cdef enum:
    METHOD_SEEN = 10        # the longest method that is known, and the blank behind it


cdef inline bint holds_sip_frame(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Whether a text or binary frame begins with a SIP start line: ``SIP/2.0 `` or a known method and a blank.

    ``size`` is at least 2.
    """
    cdef Py_ssize_t at = 2
    cdef Py_ssize_t i
    cdef uint8_t begin[METHOD_SEEN]
    cdef const uint8_t *mask
    if data[1] & 0x7F == 126:
        at = 4
    elif data[1] & 0x7F == 127:
        at = 10
    if data[1] & 0x80:
        at += 4
    if size < at + METHOD_SEEN:
        return False
    mask = data + at - 4
    for i in range(METHOD_SEEN):
        begin[i] = data[at + i] ^ (mask[i & 3] if data[1] & 0x80 else 0)
    if memcmp(begin, b"SIP/2.0 ", 8) == 0:
        return True
    for i in range(3, METHOD_SEEN):
        if begin[i] == 32:
            return method_id(begin, i) != 0
    return False
