"""A session description as JSON, straight from its bytes: what ``sdp`` reads into objects, by the same rules.

In: the description. Out: ``"sdp":{…}`` in the writer. Lines are walked once to find where each medium's parts lie, and once more for the ``a=rtpmap`` lines of each.
"""

from libc.string cimport memchr, memcmp, memset

from otus_sip.scan cimport number
from otus_sip.sdp cimport FORMATS_MAX, MEDIA_MAX, Media, Sdp
from otus_sip.writer cimport raw, write_number, write_string


# A piece of the description; no start means that there is none.
cdef struct Text:
    const uint8_t *start
    Py_ssize_t size


cdef struct Medium:
    Text kind
    Text protocol
    Text formats                # all of them
    Text address
    Text direction
    Text attributes             # the lines behind the m= line
    int port
    int rtcp_port
    bint rtcp_mux


cdef struct Found:
    Text origin
    Text address
    Text direction
    int count
    bint strange                # a line that must be split has other characters than ASCII
    Medium media[MEDIA_MAX]


cdef inline bint _blank(uint8_t c) noexcept nogil:
    """What ``str.split`` takes for white space in ASCII."""
    return c == 32 or 9 <= c <= 13 or 28 <= c <= 31


cdef Py_ssize_t _line(const uint8_t *data, Py_ssize_t size, Py_ssize_t *at, Text *value) noexcept nogil:
    """Take the next line; gives its letter, and 0 for what is no line of a description."""
    cdef const uint8_t *start = data + at[0]
    cdef const uint8_t *newline = <const uint8_t *>memchr(start, 10, size - at[0])
    cdef Py_ssize_t length = size - at[0] if newline == NULL else newline - start
    at[0] += length + 1
    if length and start[length - 1] == 13:
        length -= 1
    if length < 2 or start[1] != c"=":
        return 0
    value.start = start + 2
    value.size = length - 2
    return start[0]


cdef Text _word(Text *rest) noexcept nogil:
    """Take the next word; its size is 0 when there is none."""
    cdef Text word
    while rest.size and _blank(rest.start[0]):
        rest.start += 1
        rest.size -= 1
    word.start = rest.start
    while rest.size and not _blank(rest.start[0]):
        rest.start += 1
        rest.size -= 1
    word.size = rest.start - word.start
    return word


cdef bint _is_ascii(Text *text) noexcept nogil:
    cdef Py_ssize_t i
    cdef uint8_t all_bits = 0
    for i in range(text.size):
        all_bits |= text.start[i]
    return all_bits < 128


cdef void _read(const uint8_t *data, Py_ssize_t size, Found *found) noexcept nogil:
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t begun
    cdef Py_ssize_t letter
    cdef Text value
    cdef Medium *medium = NULL
    memset(found, 0, sizeof(Found) - sizeof(found.media))
    found.direction.start, found.direction.size = b"sendrecv", 8
    while at < size and not found.strange:
        begun = at
        letter = _line(data, size, &at, &value)
        if letter == c"m":
            _end(medium, data + begun)
            if found.count == MEDIA_MAX:
                break
            medium = &found.media[found.count]
            if _read_medium(found, medium, &value):
                found.count += 1
                medium.attributes.start = data + min(at, size)
                medium.attributes.size = size - min(at, size)
            else:
                medium = NULL
        elif letter == c"c":
            if medium != NULL:
                medium.address = _address(found, &value)
            elif found.count == 0:
                found.address = _address(found, &value)
        elif letter == c"a":
            _read_attribute(found, medium, &value)
        elif letter == c"o" and found.origin.start == NULL:
            found.origin = value


cdef inline void _end(Medium *medium, const uint8_t *end) noexcept nogil:
    if medium != NULL:
        medium.attributes.size = end - medium.attributes.start


cdef bint _read_medium(Found *found, Medium *medium, Text *value) noexcept nogil:
    cdef Text port
    cdef const uint8_t *slash
    cdef Py_ssize_t n
    if not _is_ascii(value):
        found.strange = True
        return False
    memset(medium, 0, sizeof(Medium))
    medium.kind = _word(value)
    port = _word(value)
    medium.protocol = _word(value)
    if medium.protocol.size == 0:
        return False
    slash = <const uint8_t *>memchr(port.start, c"/", port.size)
    if slash != NULL:
        port.size = slash - port.start
    n = number(port.start, port.size) if port.size <= 5 else -1
    if not 0 <= n <= 65535:
        return False
    medium.port = <int>n
    medium.formats = value[0]
    medium.address = found.address
    medium.direction = found.direction
    return True


cdef Text _address(Found *found, Text *value) noexcept nogil:
    """``IN IP4 192.0.2.1``; a multicast TTL behind ``/`` is left out."""
    cdef Text address
    cdef const uint8_t *slash
    address.start, address.size = NULL, 0
    if value.size < 8 or memcmp(value.start, b"IN IP", 5) != 0 or value.start[6] != 32:
        return address
    if not _is_ascii(value):
        found.strange = True
    address.start, address.size = value.start + 7, value.size - 7
    while address.size and _blank(address.start[0]):
        address.start += 1
        address.size -= 1
    while address.size and _blank(address.start[address.size - 1]):
        address.size -= 1
    slash = <const uint8_t *>memchr(address.start, c"/", address.size)
    if slash != NULL:
        address.size = slash - address.start
    return address


cdef void _read_attribute(Found *found, Medium *medium, Text *value) noexcept nogil:
    cdef Py_ssize_t digits = 0
    cdef Py_ssize_t port
    if value.size == 8 and _is_direction(value.start):
        if medium != NULL:
            medium.direction = value[0]
        else:
            found.direction = value[0]
    elif medium == NULL:
        return
    elif value.size == 8 and memcmp(value.start, b"rtcp-mux", 8) == 0:
        medium.rtcp_mux = True
    elif value.size > 5 and memcmp(value.start, b"rtcp:", 5) == 0:
        while 5 + digits < value.size and 48 <= value.start[5 + digits] <= 57:
            digits += 1
        port = number(value.start + 5, digits)
        if 0 < port <= 65535:
            medium.rtcp_port = <int>port


cdef bint _is_direction(const uint8_t *text) noexcept nogil:
    return (
        memcmp(text, b"sendrecv", 8) == 0 or memcmp(text, b"sendonly", 8) == 0 or memcmp(text, b"recvonly", 8) == 0
        or memcmp(text, b"inactive", 8) == 0
    )


cdef bint write_description(Writer *out, const uint8_t *data, Py_ssize_t size) except? -1:
    """Write a description; gives False, with something half written, for one that only Unicode's rules can split."""
    cdef Found found
    cdef int i
    _read(data, size, &found)
    if found.strange:
        return False
    raw(out, b',"sdp":{"origin":', 17)
    _write_text(out, &found.origin)
    raw(out, b',"address":', 11)
    _write_text(out, &found.address)
    raw(out, b',"media":[', 10)
    for i in range(found.count):
        if i:
            raw(out, b",", 1)
        _write_medium(out, &found.media[i])
    raw(out, b"]}", 2)
    return True


cdef int _write_text(Writer *out, Text *text) except -1:
    if text.start == NULL:
        return raw(out, b"null", 4)
    return write_string(out, text.start, text.size)


cdef int _write_medium(Writer *out, Medium *medium) except -1:
    raw(out, b'{"type":', 8)
    _write_text(out, &medium.kind)
    raw(out, b',"address":', 11)
    _write_text(out, &medium.address)
    raw(out, b',"port":', 8)
    write_number(out, medium.port)
    raw(out, b',"protocol":', 12)
    _write_text(out, &medium.protocol)
    raw(out, b',"formats":[', 12)
    _write_formats(out, medium.formats)
    raw(out, b'],"rtpmap":[', 12)
    _write_rtpmaps(out, &medium.attributes)
    raw(out, b'],"direction":', 14)
    _write_text(out, &medium.direction)
    if medium.rtcp_mux:
        raw(out, b',"rtcp_mux":true', 16)
    else:
        raw(out, b',"rtcp_mux":false', 17)
    if medium.rtcp_port:
        raw(out, b',"rtcp_port":', 13)
        write_number(out, medium.rtcp_port)
    return raw(out, b"}", 1)


cdef int _write_formats(Writer *out, Text rest) except -1:
    cdef int count = 0
    cdef Text word = _word(&rest)
    while word.size and count < FORMATS_MAX:
        if count:
            raw(out, b",", 1)
        write_string(out, word.start, word.size)
        count += 1
        word = _word(&rest)
    return 0


cdef int _write_rtpmaps(Writer *out, Text *attributes) except -1:
    cdef int count = 0
    cdef Py_ssize_t at = 0
    cdef Text value
    while at < attributes.size and count < FORMATS_MAX:
        if _line(attributes.start, attributes.size, &at, &value) == c"a" and value.size > 7 and memcmp(value.start, b"rtpmap:", 7) == 0:
            if count:
                raw(out, b",", 1)
            write_string(out, value.start + 7, value.size - 7)
            count += 1
    return 0


cdef dict described(Sdp sdp):
    """Give what ``write_description`` writes as plain values."""
    return {"origin": sdp.origin, "address": sdp.address, "media": [_described(medium) for medium in sdp.media]}


cdef dict _described(Media media):
    told = {
        "type": media.media, "address": media.address, "port": media.port, "protocol": media.protocol, "formats": media.formats,
        "rtpmap": media.rtpmap, "direction": media.direction, "rtcp_mux": bool(media.rtcp_mux),
    }
    return told | {"rtcp_port": media.rtcp_port} if media.rtcp_port else told
