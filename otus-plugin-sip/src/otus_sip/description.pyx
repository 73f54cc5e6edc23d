"""The one reader of session descriptions (RFC 8866): where origin, addresses, media lines and their attributes lie.

In: bytes. Out: pieces of them. Nothing is raised, nothing is copied, and each line is looked at once. What phones send
and RFC 8866 does not allow is read as they mean it: blanks at the end of a line, several blanks or a tab between words,
``in ip4`` in lower case. The objects of the Python API, the JSON of a message and the media flows of a call are all
made of what is found here.
"""

from libc.string cimport memchr, memcmp, memset

from otus_sip.scan cimport number, same_text


cdef inline Py_ssize_t _line(const uint8_t *data, Py_ssize_t size, Py_ssize_t *at, Text *value) noexcept nogil:
    """Take the next line, without blanks at its end; gives its letter, and 0 for what is no line of a description."""
    cdef const uint8_t *start = data + at[0]
    cdef const uint8_t *newline = <const uint8_t *>memchr(start, 10, size - at[0])
    cdef Py_ssize_t length = size - at[0] if newline == NULL else newline - start
    at[0] += length + 1
    while length and (start[length - 1] == 13 or blank(start[length - 1])):
        length -= 1
    if length < 2 or start[1] != c"=":
        return 0
    value.start = start + 2
    value.size = length - 2
    return start[0]


cdef bint next_attribute(Text *rest, Text *value) noexcept nogil:
    """Take the value of the next a= line; gives whether there is one."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t letter
    while rest.size > 0:
        at = 0
        letter = _line(rest.start, rest.size, &at, value)
        at = min(at, rest.size)
        rest.start += at
        rest.size -= at
        if letter == c"a":
            return True
    return False


cdef bint next_rtpmap(Text *attributes, Text *value) noexcept nogil:
    """Take the value of the next ``a=rtpmap:`` among a medium's attributes; gives whether there is one."""
    while next_attribute(attributes, value):
        if value.size > 7 and memcmp(value.start, b"rtpmap:", 7) == 0:
            value.start += 7
            value.size -= 7
            return True
    return False


cdef void read_description(const uint8_t *data, Py_ssize_t size, Description *found) noexcept nogil:
    """Find the parts of a description; ``found`` points into ``data``."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t begun
    cdef Py_ssize_t letter
    cdef Text value
    cdef Medium *medium = NULL
    memset(found, 0, sizeof(Description) - sizeof(found.media))
    found.direction.start, found.direction.size = b"sendrecv", 8
    while at < size:
        begun = at
        letter = _line(data, size, &at, &value)
        if letter == c"m":
            _end(medium, data + begun)
            medium = NULL
            if found.count == MEDIA_MAX:
                break
            medium = &found.media[found.count]
            found.count += 1
            _read_medium(found, medium, value)
            medium.attributes.start = data + min(at, size)
        elif letter == c"c":
            if medium != NULL:
                medium.address = _address(value)
            else:
                found.address = _address(value)
        elif letter == c"a":
            _read_attribute(found, medium, &value)
        elif letter == c"o" and found.origin.start == NULL:
            found.origin = value
        elif letter == c"s" and found.name.start == NULL:
            found.name = value
    _end(medium, data + size)


cdef inline void _end(Medium *medium, const uint8_t *end) noexcept nogil:
    if medium != NULL:
        medium.attributes.size = end - medium.attributes.start


cdef inline void _read_medium(Description *found, Medium *medium, Text rest) noexcept nogil:
    """``audio 49170 RTP/AVP 0 8``; a port may carry a count, ``49170/2``."""
    cdef Text port
    cdef const uint8_t *slash
    cdef Py_ssize_t n
    memset(medium, 0, sizeof(Medium))
    medium.kind = next_word(&rest)
    port = next_word(&rest)
    medium.protocol = next_word(&rest)
    medium.formats = rest
    medium.address = found.address
    medium.direction = found.direction
    n = number(port.start, port.size) if port.size <= 5 else -1
    if n < 0:
        slash = <const uint8_t *>memchr(port.start, c"/", port.size)
        n = number(port.start, slash - port.start) if slash != NULL and slash - port.start <= 5 else -1
    medium.port = <int>n if medium.protocol.size and 0 <= n <= 65535 else -1


cdef Text _address(Text rest) noexcept nogil:
    """``IN IP4 192.0.2.1``; a multicast TTL behind ``/`` is left out."""
    cdef Text network
    cdef Text kind
    cdef Text address
    cdef const uint8_t *slash
    cdef Py_ssize_t n = 0
    cdef bint known
    if rest.size > 7 and memcmp(rest.start, b"IN IP4 ", 7) == 0 and not blank(rest.start[7]):   # as nearly all have it
        address.start = rest.start + 7
        while n < rest.size - 7 and not blank(address.start[n]) and address.start[n] != c"/":
            n += 1
        address.size = n
        return address
    network = next_word(&rest)
    kind = next_word(&rest)
    address = next_word(&rest)
    known = network.size == 2 and kind.size == 3 and address.size != 0
    if not known or not same_text(network.start, b"in", 2) or not same_text(kind.start, b"ip", 2):
        address.start, address.size = NULL, 0
        return address
    slash = <const uint8_t *>memchr(address.start, c"/", address.size)
    if slash != NULL:
        address.size = slash - address.start
    return address


cdef inline void _read_attribute(Description *found, Medium *medium, Text *value) noexcept nogil:
    cdef Py_ssize_t digits = 0
    cdef Py_ssize_t port
    cdef Text rest
    if value.size == 8 and _is_direction(value.start):
        if medium != NULL:
            medium.direction = value[0]
        else:
            found.direction = value[0]
    elif medium == NULL:
        return
    elif value.size == 8 and memcmp(value.start, b"rtcp-mux", 8) == 0:
        medium.rtcp_mux = True
    elif value.size > 5 and memcmp(value.start, b"rtcp:", 5) == 0:      # RFC 3605
        while 5 + digits < value.size and 48 <= value.start[5 + digits] <= 57:
            digits += 1
        port = number(value.start + 5, digits)
        if 0 < port <= 65535:
            rest.start, rest.size = value.start + 5 + digits, value.size - 5 - digits
            medium.rtcp_port = <int>port
            medium.rtcp_address = _address(rest)


cdef bint _is_direction(const uint8_t *text) noexcept nogil:
    return (
        memcmp(text, b"sendrecv", 8) == 0 or memcmp(text, b"sendonly", 8) == 0 or memcmp(text, b"recvonly", 8) == 0
        or memcmp(text, b"inactive", 8) == 0
    )
