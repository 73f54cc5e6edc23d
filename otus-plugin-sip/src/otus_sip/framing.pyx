"""Finds messages in a stream: how long the one is that begins here (RFC 3261 §18.3), and where the next one begins.

In: bytes, of which more may come. Out: sizes and offsets. Each is found in one pass over the bytes at hand.
"""

from libc.string cimport memchr, memcmp

from otus_sip.reading cimport whole_size
from otus_sip.scan cimport MALFORMED, NOT_SIP, REQUEST, Line, classify, has_sip_field, method_id, skip_crlf

cdef enum:
    START_MAX = 8192        # of a start line whose end is not there yet
    METHOD_SHOWN = 64       # as scan has it
    HEAD_MAX = 1 << 18      # of the header fields, which the core would show again and again


cdef const char *_METHODS = (b"INVITE ACK BYE CANCEL OPTIONS REGISTER PRACK SUBSCRIBE NOTIFY PUBLISH INFO REFER "
                             b"MESSAGE UPDATE ")


cdef Py_ssize_t frame_size(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Give the size of the message that begins at ``data``, 0 when more bytes are needed to say so, or -1 for what is
    no SIP.
    """
    cdef Line line
    cdef int kind
    cdef Py_ssize_t whole
    cdef Py_ssize_t empty = skip_crlf(data, size)
    if empty:
        return -1 if empty < size and frame_size(data + empty, size - empty) < 0 else empty
    if size and not 32 < data[0] < 127:     # such as a frame of WebSocket, or a record of TLS
        return -1
    if size < 8 or memchr(data, 10, size) == NULL:
        return 0 if _may_begin(data, size) else -1
    kind = classify(data, size, &line)
    if kind == NOT_SIP:
        return -1
    whole = whole_size(data, size)
    if whole == 0:
        if kind == MALFORMED and not has_sip_field(data + line.end, size - line.end):
            return -1
        return 0 if size <= HEAD_MAX else -1
    if kind == MALFORMED or kind == REQUEST and not line.known:
        return whole if has_sip_field(data + line.end, size - line.end) else -1
    return whole


cdef bint _may_begin(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Whether these bytes, which hold no newline, may be the first ones of a start line."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t i
    if size > START_MAX:
        return False
    if memcmp(data, b"SIP/2.0 ", min(size, 8)) == 0:
        return True
    while at < size and at <= METHOD_SHOWN and 65 <= data[at] <= 90:
        at += 1
    if at == size:
        return _begins_method(data, size)
    if data[at] != 32 or not method_id(data, at):
        return False
    at += 1
    if at < size and not (65 <= data[at] & 0xDF <= 90):     # the scheme of an address (RFC 3986 §3.1)
        return False
    for i in range(at, size):
        if data[i] < 32 and data[i] != 13:
            return False
    return True


cdef bint _begins_method(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Whether a known method begins like this."""
    cdef const char *methods = _METHODS
    cdef const char *end
    while methods[0]:
        end = methods
        while end[0] != 32:
            end += 1
        if size <= end - methods and memcmp(data, methods, size) == 0:
            return True
        methods = end + 1
    return False


cdef Py_ssize_t next_message(const uint8_t *data, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Give where the first start line begins, at ``at`` or behind, or -1."""
    cdef const uint8_t *found
    cdef Py_ssize_t from_ = at
    cdef Py_ssize_t begin
    cdef Line line
    while True:
        # The version is what requests and responses have in common; Via fields have it too.
        found = _version(data + from_, size - from_)
        if found == NULL:
            return -1
        begin = found - data
        from_ = begin + 7
        if from_ < size and data[from_] == 32 and classify(data + begin, size - begin, &line) != NOT_SIP:
            if line.kind != MALFORMED:
                return begin
        elif from_ < size and (data[from_] == 13 or data[from_] == 10):
            begin = _request_begin(data, at, begin)
            if begin >= 0 and classify(data + begin, size - begin, &line) == REQUEST:
                return begin


cdef const uint8_t *_version(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Find ``SIP/2.0``."""
    cdef const uint8_t *at = data
    cdef const uint8_t *end = data + size
    while end - at >= 8:
        at = <const uint8_t *>memchr(at, c"S", end - at - 7)
        if at == NULL:
            return NULL
        if memcmp(at, b"SIP/2.0", 7) == 0:
            return at
        at += 1
    return NULL


cdef Py_ssize_t _request_begin(const uint8_t *data, Py_ssize_t least, Py_ssize_t version) noexcept nogil:
    """Give where the request line begins whose version is at ``version``, or -1: at the known method before the
    address, as the body before it may end without a newline.
    """
    cdef Py_ssize_t space = version - 2
    cdef Py_ssize_t length
    cdef Py_ssize_t floor = max(least, version - START_MAX)
    if version - 1 < least or data[version - 1] != 32:
        return -1
    while space >= floor and data[space] != 32 and data[space] != 10:
        space -= 1
    if space < floor or data[space] != 32:
        return -1
    for length in range(9, 2, -1):
        if space - length >= least and method_id(data + space - length, length):
            return space - length
    return -1
