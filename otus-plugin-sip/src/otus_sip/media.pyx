"""What a call's flows need of a session description: for each media line where RTP and RTCP go (RFC 8866, RFC 3605, RFC
5761, RFC 4571).

In: the body. Out: packed ``Media``, small and plain, to be kept with the call and sent to sibling workers. Nothing is
raised; every step goes forward.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy, memset

from otus_sip.description cimport Description, Medium, Text, blank, next_rtpmap, next_word, read_description
from otus_sip.scan cimport number
from otus_sip.sdp import STATIC_CODECS

cdef extern from "arpa/inet.h":
    int inet_pton(int family, const char *text, void *address) nogil

cdef enum:
    AF_INET6 = 10
    ADDRESS_TEXT_MAX = 46   # INET6_ADDRSTRLEN
    STATIC_TYPES = 35       # RFC 3551 §6: payload types with a fixed meaning; 34 is the last
    DISCARD = 9             # the port of a side that opens the TCP connection itself, from any port (RFC 4145 §4.1)

cdef list _static_codecs = [STATIC_CODECS.get(str(payload_type), "").encode() for payload_type in range(STATIC_TYPES)]


cdef bytes scan_media(const uint8_t *data, Py_ssize_t size, Description *found):
    """Give a packed ``Media`` for each m= line, ``MEDIA_MAX`` at most; ``found`` is filled in."""
    cdef bytes packed
    cdef Media *media
    cdef int i
    read_description(data, size, found)
    packed = PyBytes_FromStringAndSize(NULL, found.count * sizeof(Media))
    media = <Media *>PyBytes_AS_STRING(packed)
    memset(media, 0, found.count * sizeof(Media))
    for i in range(found.count):
        _settle(&found.media[i], &media[i])
    return packed


cdef int _settle(Medium *line, Media *media) except -1:
    """Say where a line's RTP and RTCP go, where it is RTP and both can be told."""
    media.kind_len = <uint8_t>min(line.kind.size, KIND_MAX)
    memcpy(media.kind, line.kind.start, media.kind_len)
    if line.port <= 0 or not is_rtp(&line.protocol):
        return 0
    media.over_tcp = line.protocol.size > 4 and memcmp(line.protocol.start, b"TCP/", 4) == 0
    if media.over_tcp and line.port == DISCARD:
        return 0
    media.port = <uint16_t>line.port
    media.version = read_ip(&line.address, media.address)
    media.rtcp_version = read_ip(&line.rtcp_address, media.rtcp_address)
    if not media.rtcp_version:
        media.rtcp_version = media.version
        memcpy(media.rtcp_address, media.address, 16)
    media.rtcp_port = <uint16_t>(line.rtcp_port or min(line.port + 1, 65535))
    media.mux = line.rtcp_mux
    return _name_codec(line, media)


cdef bint is_rtp(const Text *protocol) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(protocol.size - 3):
        if memcmp(protocol.start + i, b"RTP/", 4) == 0:
            return True
    return False


cdef int _name_codec(Medium *line, Media *media) except -1:
    """Name the first format: by its rtpmap line, by RFC 3551, or by its number."""
    cdef Text formats = line.formats
    cdef Text format = next_word(&formats)
    cdef Text attributes = line.attributes
    cdef Text value
    cdef Text name
    cdef Py_ssize_t payload_type
    cdef bytes codec
    if format.size == 0:
        return 0
    while next_rtpmap(&attributes, &value):
        if value.size > format.size and blank(value.start[format.size]) and memcmp(value.start, format.start,
                                                                                   format.size) == 0:
            name.start, name.size = value.start + format.size, value.size - format.size
            while name.size and blank(name.start[0]):
                name.start += 1
                name.size -= 1
            _put_codec(media, name.start, name.size)
            return 0
    payload_type = number(format.start, format.size) if format.size <= 2 and (format.size == 1
                                                                              or format.start[0] != c"0") else -1
    codec = <bytes>_static_codecs[payload_type] if 0 <= payload_type < STATIC_TYPES else b""
    if PyBytes_GET_SIZE(codec):
        _put_codec(media, <const uint8_t *>PyBytes_AS_STRING(codec), PyBytes_GET_SIZE(codec))
    else:
        _put_codec(media, format.start, format.size)
    return 0


cdef inline void _put_codec(Media *media, const uint8_t *codec, Py_ssize_t length) noexcept nogil:
    media.codec_len = <uint8_t>min(length, CODEC_MAX)
    memcpy(media.codec, codec, media.codec_len)


cdef uint8_t read_ip(Text *text, uint8_t *address) noexcept nogil:
    """Read an address; gives its version, 0 for a name and for the unspecified address, which is none."""
    cdef char copy[ADDRESS_TEXT_MAX + 1]
    cdef uint8_t any_bit = 0
    cdef uint8_t version = 0
    cdef int i
    if text.size == 0:
        return 0
    if _read_dotted(text.start, text.size, address):
        version = 4
    elif text.size <= ADDRESS_TEXT_MAX and memchr(text.start, c":", text.size) != NULL:
        memcpy(copy, text.start, text.size)
        copy[text.size] = 0
        if inet_pton(AF_INET6, copy, address) == 1:
            version = 6
    for i in range(16):
        any_bit |= address[i]
    return version if any_bit else 0


cdef bint _read_dotted(const uint8_t *text, Py_ssize_t length, uint8_t *address) noexcept nogil:
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
    """Give what ``scan_media`` finds: for each line ``(kind, address, port, rtcp address, rtcp port, mux, codec)``,
    ``None`` where it names no RTP flow.
    """
    cdef Description described
    cdef bytes packed = scan_media(<const uint8_t *>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), &described)
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
