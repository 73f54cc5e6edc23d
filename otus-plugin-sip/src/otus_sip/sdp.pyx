"""Session descriptions (RFC 8866), as far as media flows need them: addresses, ports, RTCP, codecs, directions.

In: bytes. Out: ``Sdp``; nothing is raised, what is not understood is left out. Lines are looked at once; media and attributes are bounded.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp

from otus_sip.scan cimport number, same_text

# RFC 3551 §6: payload types with a fixed meaning
STATIC_CODECS = {
    "0": "PCMU/8000", "3": "GSM/8000", "4": "G723/8000", "8": "PCMA/8000", "9": "G722/8000", "13": "CN/8000", "18": "G729/8000",
    "26": "JPEG/90000", "31": "H261/90000", "34": "H263/90000",
}
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@cython.final
@cython.freelist(32)
cdef class Media:
    """One m= line. ``port`` 0 means refused (RFC 3264 §6)."""

    @property
    def codecs(self):
        """The formats' names, in order of preference; a format without one stays a number."""
        names = {}
        for line in self.rtpmap:
            payload_type, _, name = (<str>line).partition(" ")
            names[payload_type] = name.partition("/")[0].strip()
        return [names.get(one) or STATIC_CODECS.get(one, one).partition("/")[0] for one in self.formats]

    def __repr__(self):
        return f"Media({self.media!r}, {self.address}:{self.port}, {self.protocol}, {self.formats})"


@cython.final
@cython.freelist(16)
cdef class Sdp:
    """A session description: ``origin`` (the o= line), ``name`` (s=), ``address`` (session c=), ``direction``, ``media``."""

    def __repr__(self):
        return f"Sdp({self.media!r})"


cdef inline str _text(const uint8_t *start, Py_ssize_t size):
    return PyUnicode_DecodeUTF8(<const char *>start, size, b"replace")


cdef Sdp read_sdp(bytes body):
    """Read a session description."""
    cdef Sdp sdp = Sdp.__new__(Sdp)
    cdef Media media = None
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(body)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end
    cdef Py_ssize_t length
    cdef const uint8_t *newline
    cdef const uint8_t *value
    cdef uint8_t kind
    sdp.media = []
    sdp.direction = "sendrecv"
    while at < size:
        newline = <const uint8_t *>memchr(data + at, 10, size - at)
        end = size if newline == NULL else newline - data
        length = end - at
        if length and data[at + length - 1] == 13:
            length -= 1
        value = data + at + 2
        kind = data[at]
        at = end + 1
        if length < 2 or (value - 1)[0] != c"=":
            continue
        length -= 2
        if kind == c"m":
            if len(sdp.media) == MEDIA_MAX:
                break
            media = _media(value, length, sdp)
            if media is not None:
                sdp.media.append(media)
        elif kind == c"c":
            address = _address(value, length)
            if media is not None:
                media.address = address
            elif not sdp.media:
                sdp.address = address
        elif kind == c"a":
            _attribute(value, length, sdp, media)
        elif kind == c"o" and sdp.origin is None:
            sdp.origin = _text(value, length)
        elif kind == c"s" and sdp.name is None:
            sdp.name = _text(value, length)
    return sdp


cdef Media _media(const uint8_t *value, Py_ssize_t length, Sdp sdp):
    """``m=audio 49170 RTP/AVP 0 8``; a port may carry a count, ``49170/2``."""
    cdef Media media
    cdef list words = _text(value, length).split()
    if len(words) < 3:
        return None
    port = (<str>words[1]).partition("/")[0]
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        return None
    media = Media.__new__(Media)
    media.media = words[0]
    media.port = int(port)
    media.protocol = words[2]
    media.formats = words[3:3 + FORMATS_MAX]
    media.address = sdp.address
    media.rtpmap = []
    media.direction = sdp.direction
    return media


cdef object _address(const uint8_t *value, Py_ssize_t length):
    """``c=IN IP4 192.0.2.1``; a multicast TTL behind ``/`` is left out."""
    if length < 8 or memcmp(value, b"IN IP", 5) != 0 or value[6] != 32:
        return None
    text = _text(value + 7, length - 7).strip()
    return text.partition("/")[0]


cdef int _attribute(const uint8_t *value, Py_ssize_t length, Sdp sdp, Media media) except -1:
    cdef Py_ssize_t port
    cdef Py_ssize_t digits = 0
    if length >= 8 and memcmp(value, b"rtcp-mux", 8) == 0 and media is not None and length == 8:
        media.rtcp_mux = True
    elif length > 7 and memcmp(value, b"rtpmap:", 7) == 0 and media is not None:
        if len(media.rtpmap) < FORMATS_MAX:
            media.rtpmap.append(_text(value + 7, length - 7))
    elif length > 5 and memcmp(value, b"rtcp:", 5) == 0 and media is not None:
        while 5 + digits < length and 48 <= value[5 + digits] <= 57:
            digits += 1
        port = number(value + 5, digits)
        if 0 < port <= 65535:
            media.rtcp_port = <int>port
            if length > 6 + digits:
                media.rtcp_address = _address(value + 6 + digits, length - 6 - digits)
    elif length == 8:
        text = _text(value, length)
        if text in DIRECTIONS:
            if media is not None:
                media.direction = text
            else:
                sdp.direction = text
    return 0
