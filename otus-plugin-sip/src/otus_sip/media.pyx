"""What a call's flows need of a session description: for each media line where RTP and RTCP go, straight from the bytes (RFC 8866, RFC 3605, RFC 5761).

In: the body. Out: packed ``Media``, small and plain, to be kept with the call and sent to sibling workers. Nothing is raised; every step goes forward.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy, memset, strlen

from otus_sip.scan cimport number

cdef extern from "arpa/inet.h":
    int inet_pton(int family, const char *text, void *address) nogil

cdef enum:
    AF_INET6 = 10
    ADDRESS_TEXT_MAX = 46   # INET6_ADDRSTRLEN
    STATIC_TYPES = 35


# RFC 3551 §6: payload types with a fixed meaning
cdef const char *_static_codecs[STATIC_TYPES]
memset(_static_codecs, 0, sizeof(_static_codecs))
_static_codecs[0] = b"PCMU/8000"
_static_codecs[3] = b"GSM/8000"
_static_codecs[4] = b"G723/8000"
_static_codecs[8] = b"PCMA/8000"
_static_codecs[9] = b"G722/8000"
_static_codecs[13] = b"CN/8000"
_static_codecs[18] = b"G729/8000"
_static_codecs[26] = b"JPEG/90000"
_static_codecs[31] = b"H261/90000"
_static_codecs[34] = b"H263/90000"


# An address of a c= or a=rtcp: line.
cdef struct Place:
    uint8_t version             # 4 or 6, 0 for none
    uint8_t address[16]


# The m= line that is being read, with its first format.
cdef struct Open:
    Media media
    bint is_open
    bint rtp
    const uint8_t *format
    Py_ssize_t format_len
    Place place
    Place rtcp


cdef bytes scan_media(const uint8_t *data, Py_ssize_t size):
    """Give a packed ``Media`` for each m= line, ``MEDIA_MAX`` at most."""
    cdef Media found[MEDIA_MAX]
    cdef int count = 0
    cdef Open line
    cdef Place session
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end
    cdef Py_ssize_t length
    cdef const uint8_t *newline
    cdef const uint8_t *value
    session.version = 0
    line.is_open = False
    while at < size:
        newline = <const uint8_t *>memchr(data + at, 10, size - at)
        end = size if newline == NULL else newline - data
        length = end - at
        if length and data[end - 1] == 13:
            length -= 1
        value = data + at
        at = end + 1
        if length < 2 or value[1] != c"=":
            continue
        length -= 2
        if value[0] == c"m":
            if line.is_open:
                _close(&line, &found[count])
                count += 1
                line.is_open = False
                if count == MEDIA_MAX:
                    break
            _open(value + 2, length, &line)
            line.place = session
        elif value[0] == c"c":
            if line.is_open:
                _connection(value + 2, length, &line.place)
            elif count == 0:
                _connection(value + 2, length, &session)
        elif value[0] == c"a" and line.is_open:
            _attribute(value + 2, length, &line)
    if line.is_open:
        _close(&line, &found[count])
        count += 1
    return PyBytes_FromStringAndSize(<const char *>found, count * sizeof(Media))


cdef Py_ssize_t _word(const uint8_t *value, Py_ssize_t at, Py_ssize_t length) noexcept nogil:
    """Give where the word that begins at ``at`` ends."""
    while at < length and value[at] != 32:
        at += 1
    return at


cdef void _open(const uint8_t *value, Py_ssize_t length, Open *line) noexcept nogil:
    """Read ``audio 49170 RTP/AVP 0 8``; a port may carry a count, ``49170/2``. A line that is none stays closed."""
    cdef Py_ssize_t end = _word(value, 0, length)
    cdef Py_ssize_t start
    cdef Py_ssize_t i
    memset(line, 0, sizeof(Open))
    line.media.kind_len = <uint8_t>min(end, KIND_MAX)
    memcpy(line.media.kind, value, line.media.kind_len)
    start = i = end + 1
    end = _word(value, start, length)
    while i < end and value[i] != c"/":
        i += 1
    if end <= start or not 0 < i - start <= 5:
        return
    i = number(value + start, i - start)
    if not 0 <= i <= 65535:
        return
    line.media.port = <uint16_t>i
    start = end + 1
    end = _word(value, start, length)
    if end <= start:
        return
    for i in range(start, end - 3):
        if memcmp(value + i, b"RTP/", 4) == 0:
            line.rtp = True
    start = end + 1
    end = _word(value, start, length)
    if end > start:
        line.format = value + start
        line.format_len = end - start
    line.is_open = True


cdef void _close(Open *line, Media *media) noexcept nogil:
    """Settle what the attributes left open."""
    cdef const char *codec
    cdef Py_ssize_t payload_type
    media[0] = line.media
    if not line.rtp or media.port == 0:
        return
    media.version = line.place.version
    memcpy(media.address, line.place.address, 16)
    if not line.rtcp.version:
        line.rtcp = line.place
    media.rtcp_version = line.rtcp.version
    memcpy(media.rtcp_address, line.rtcp.address, 16)
    if media.rtcp_port == 0:
        media.rtcp_port = media.port + 1 if media.port < 65535 else 65535
    if media.codec_len or not line.format_len:
        return
    payload_type = number(line.format, line.format_len) if line.format_len == 1 or line.format[0] != c"0" else -1
    codec = _static_codecs[payload_type] if 0 <= payload_type < STATIC_TYPES else NULL
    if codec != NULL:
        _name(media, <const uint8_t *>codec, strlen(codec))
    else:
        _name(media, line.format, line.format_len)


cdef void _name(Media *media, const uint8_t *codec, Py_ssize_t length) noexcept nogil:
    while length and (codec[0] == 32 or codec[0] == 9):
        codec += 1
        length -= 1
    while length and (codec[length - 1] == 32 or codec[length - 1] == 9):
        length -= 1
    media.codec_len = <uint8_t>min(length, CODEC_MAX)
    memcpy(media.codec, codec, media.codec_len)


cdef void _attribute(const uint8_t *value, Py_ssize_t length, Open *line) noexcept nogil:
    cdef Py_ssize_t digits = 0
    cdef Py_ssize_t port
    if length == 8 and memcmp(value, b"rtcp-mux", 8) == 0:
        line.media.mux = 1
    elif length > 7 + line.format_len and line.format_len and not line.media.codec_len and memcmp(value, b"rtpmap:", 7) == 0:
        if memcmp(value + 7, line.format, line.format_len) == 0 and value[7 + line.format_len] == 32:
            _name(&line.media, value + 8 + line.format_len, length - 8 - line.format_len)
    elif length > 5 and memcmp(value, b"rtcp:", 5) == 0:
        while 5 + digits < length and 48 <= value[5 + digits] <= 57:
            digits += 1
        port = number(value + 5, digits)
        if 0 < port <= 65535:
            line.media.rtcp_port = <uint16_t>port
            if length > 6 + digits:
                _connection(value + 6 + digits, length - 6 - digits, &line.rtcp)


cdef void _connection(const uint8_t *value, Py_ssize_t length, Place *place) noexcept nogil:
    """Read ``IN IP4 192.0.2.1``; a multicast TTL behind ``/`` is left out. The unspecified address is none."""
    cdef char text[ADDRESS_TEXT_MAX + 1]
    cdef Py_ssize_t n = 0
    cdef uint8_t any_bit = 0
    cdef int i
    place.version = 0
    if length < 8 or memcmp(value, b"IN IP", 5) != 0 or value[6] != 32:
        return
    value += 7
    length -= 7
    while n < length and value[n] > 32 and value[n] != c"/":
        n += 1
    memset(place.address, 0, 16)
    if _dotted(value, n, place.address):
        place.version = 4
    elif n <= ADDRESS_TEXT_MAX and memchr(value, c":", n) != NULL:
        memcpy(text, value, n)
        text[n] = 0
        if inet_pton(AF_INET6, text, place.address) == 1:
            place.version = 6
    for i in range(16):
        any_bit |= place.address[i]
    if not any_bit:
        place.version = 0


cdef bint _dotted(const uint8_t *text, Py_ssize_t length, uint8_t *address) noexcept nogil:
    """Read an IPv4 address: four decimal numbers without leading zeros (RFC 6943 §3.1.1)."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t start
    cdef int value
    cdef int i
    for i in range(4):
        if i:
            if at >= length or text[at] != c".":
                return False
            at += 1
        start = at
        value = 0
        while at < length and at - start < 3 and 48 <= text[at] <= 57:
            value = 10 * value + text[at] - 48
            at += 1
        if at == start or value > 255 or (at - start > 1 and text[start] == 48):
            return False
        address[i] = <uint8_t>value
    return at == length


def media_in(bytes body not None):
    """Give what ``scan_media`` finds: for each line ``(kind, address, port, rtcp address, rtcp port, mux, codec)``, ``None`` where it names no RTP flow."""
    cdef bytes packed = scan_media(<const uint8_t *>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
    cdef const Media *at = <const Media *>PyBytes_AS_STRING(packed)
    cdef Py_ssize_t i
    cdef list found = []
    for i in range(PyBytes_GET_SIZE(packed) // <Py_ssize_t>sizeof(Media)):
        found.append(None if not at[i].version else (
            at[i].kind[:at[i].kind_len].decode("utf-8", "replace"),
            at[i].address[:4 if at[i].version == 4 else 16], at[i].port,
            at[i].rtcp_address[:4 if at[i].rtcp_version == 4 else 16], at[i].rtcp_port,
            bool(at[i].mux), at[i].codec[:at[i].codec_len].decode("utf-8", "replace"),
        ))
    return tuple(found)
