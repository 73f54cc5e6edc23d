"""Finds the parts of a SIP message: what kind of start line it has, and where each header field lies.

In: bytes. Out: offsets into them. Nothing is allocated and nothing raised; every step goes forward, so the cost is
linear in the size of the message.
"""

from libc.string cimport memchr, memcmp

cdef enum:
    METHOD_MAX = 64     # RFC 3261 sets no limit; RFC 4475's longest has 32
    NUMBER_DIGITS = 9   # what fits 32 bits whatever the digits

# RFC 3261 and its extensions: RFC 3262 PRACK, 6665 SUBSCRIBE NOTIFY, 3311 UPDATE, 3428 MESSAGE, 3515 REFER, 3903
# PUBLISH, 6086 INFO
METHODS = ("", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH",
           "INFO", "REFER", "MESSAGE", "UPDATE")

cdef bint is_token(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    """Whether this is a token, not empty."""
    cdef Py_ssize_t i
    for i in range(size):
        if not otus_token[text[i]]:
            return False
    return size > 0


cdef bint same_text(const uint8_t *a, const char *lower, Py_ssize_t size) noexcept nogil:
    """Compare with a text in lower case, ASCII letters without regard to case."""
    cdef Py_ssize_t i
    cdef uint8_t c
    for i in range(size):
        c = a[i]
        if 65 <= c <= 90:
            c |= 32
        if c != <uint8_t>lower[i]:
            return False
    return True


cdef Py_ssize_t number(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    """Give a decimal number of one to nine digits after any leading zeros, or -1."""
    cdef Py_ssize_t value = 0
    cdef Py_ssize_t i = 0
    if size == 0:
        return -1
    while i < size - 1 and text[i] == 48:
        i += 1
    if size - i > NUMBER_DIGITS + 1:
        return -1
    while i < size:
        if not 48 <= text[i] <= 57:
            return -1
        value = value * 10 + (text[i] - 48)
        i += 1
    return value


cdef int method_id(const uint8_t *name, Py_ssize_t size) noexcept nogil:
    """Give the index in ``METHODS`` of a known method, 0 for others. Methods are case-sensitive (RFC 3261 §7.1)."""
    if size == 3:
        if memcmp(name, b"ACK", 3) == 0:
            return 2
        return 3 if memcmp(name, b"BYE", 3) == 0 else 0
    if size == 4:
        return 11 if memcmp(name, b"INFO", 4) == 0 else 0
    if size == 5:
        if memcmp(name, b"PRACK", 5) == 0:
            return 7
        return 12 if memcmp(name, b"REFER", 5) == 0 else 0
    if size == 6:
        if memcmp(name, b"INVITE", 6) == 0:
            return 1
        if memcmp(name, b"CANCEL", 6) == 0:
            return 4
        if memcmp(name, b"NOTIFY", 6) == 0:
            return 9
        return 14 if memcmp(name, b"UPDATE", 6) == 0 else 0
    if size == 7:
        if memcmp(name, b"OPTIONS", 7) == 0:
            return 5
        if memcmp(name, b"MESSAGE", 7) == 0:
            return 13
        return 10 if memcmp(name, b"PUBLISH", 7) == 0 else 0
    if size == 8:
        return 6 if memcmp(name, b"REGISTER", 8) == 0 else 0
    if size == 9:
        return 8 if memcmp(name, b"SUBSCRIBE", 9) == 0 else 0
    return 0


cdef bint has_sip_field(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Whether a line before the first empty one is a field that every SIP message has: an HTTP server may well answer
    ``SIP/2.0 200 OK``.
    """
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end
    cdef const uint8_t *newline
    # What nearly every message begins with
    if size > 4 and memcmp(data, b"Via:", 4) == 0 and memchr(data, 10, size) != NULL:
        return True
    while at < size:
        newline = <const uint8_t *>memchr(data + at, 10, size - at)
        if newline == NULL:
            return False
        end = at
        while end < size and otus_token[data[end]]:
            end += 1
        if (
            end > at
            and end < size
            and (data[end] == c":" or data[end] == 32)
            and VIA <= header_id(data + at, end - at) <= CSEQ
        ):
            return True
        if data[at] == 10 or (data[at] == 13 and newline == data + at + 1):
            return False
        at = newline - data + 1
    return False


cdef Py_ssize_t skip_crlf(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Give where a message begins: RFC 3261 §7.5 has leading CRLFs ignored."""
    cdef Py_ssize_t at = 0
    while at < size and (data[at] == 13 or data[at] == 10):
        at += 1
    return at


cdef inline bint _is_version(const uint8_t *text) noexcept nogil:
    return memcmp(text, b"SIP/2.0", 7) == 0 or same_text(text, b"sip/2.0", 7)


cdef int classify(const uint8_t *data, Py_ssize_t size, Line *line) noexcept nogil:
    """Look at the first line; ``data`` begins with it.

    Off the configured ports only known methods and sound lines are SIP: that is the caller's to judge.
    """
    cdef const uint8_t *newline
    cdef const uint8_t *space
    cdef Py_ssize_t length
    line.kind = NOT_SIP
    if size < 8:
        return NOT_SIP
    newline = <const uint8_t *>memchr(data, 10, size)
    if newline == NULL:
        return NOT_SIP
    length = newline - data
    line.end = <uint32_t>(length + 1)
    if length and data[length - 1] == 13:
        length -= 1
    # RFC 3261 §7.1: the version is written in capitals, and read in any case
    if length >= 11 and (data[0] | 32) == c"s" and _is_version(data) and data[7] == 32 and _status(data, length, line):
        line.kind = RESPONSE
        return RESPONSE
    if length >= 14 and data[length - 8] == 32 and _is_version(data + length - 7):
        space = <const uint8_t *>memchr(data, 32, length)
        if _request(data, length, space - data, line):
            line.kind = REQUEST
            return REQUEST
    if _holds_sip(data, length):
        line.kind = MALFORMED
    return line.kind


cdef bint _status(const uint8_t *data, Py_ssize_t length, Line *line) noexcept nogil:
    """Read ``SIP/2.0 200 OK``; the reason may be empty, and some leave out the blank before it too."""
    cdef int i
    for i in range(8, 11):
        if not 48 <= data[i] <= 57:
            return False
    line.status = (data[8] - 48) * 100 + (data[9] - 48) * 10 + (data[10] - 48)
    if not 100 <= line.status <= 699:
        return False
    if length == 11:
        line.reason = 11
        line.reason_len = 0
        return True
    if data[11] != 32:
        return False
    line.reason = 12
    line.reason_len = <uint32_t>(length - 12)
    return True


cdef bint _request(const uint8_t *data, Py_ssize_t length, Py_ssize_t method_len, Line *line) noexcept nogil:
    """Read ``INVITE sip:a@b SIP/2.0``: one method, one blank, one address without blanks, one blank (RFC 3261 §7.1)."""
    cdef Py_ssize_t uri_len = length - method_len - 9
    if uri_len < 1 or method_len > METHOD_MAX or not is_token(data, method_len):
        return False
    if memchr(data + method_len + 1, 32, uri_len) != NULL or memchr(data + method_len + 1, 9, uri_len) != NULL:
        return False
    line.known = <uint8_t>method_id(data, method_len)
    line.method_len = <uint32_t>method_len
    line.uri = <uint32_t>(method_len + 1)
    line.uri_len = <uint32_t>uri_len
    return True


cdef bint _holds_sip(const uint8_t *data, Py_ssize_t length) noexcept nogil:
    """Whether the line holds ``SIP/``."""
    cdef const uint8_t *at = data
    cdef const uint8_t *end = data + length
    while end - at >= 4:
        at = <const uint8_t *>memchr(at, c"S", end - at - 3)
        if at == NULL:
            return False
        if memcmp(at, b"SIP/", 4) == 0:
            return True
        at += 1
    return False
