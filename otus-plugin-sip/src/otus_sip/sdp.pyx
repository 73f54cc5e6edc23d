"""Session descriptions (RFC 8866), as far as media flows need them: addresses, ports, RTCP, codecs, directions.

In: bytes. Out: ``Sdp``, made of what ``read_description`` finds; nothing is raised, what is not understood is left out.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8

from otus_sip.description cimport FORMATS_MAX, Description, Medium, Text, next_rtpmap, next_word, read_description

# RFC 3551 §6: payload types with a fixed meaning
STATIC_CODECS = {
    "0": "PCMU/8000", "3": "GSM/8000", "4": "G723/8000", "8": "PCMA/8000", "9": "G722/8000", "13": "CN/8000",
    "18": "G729/8000",
    "26": "JPEG/90000", "31": "H261/90000", "34": "H263/90000",
}


@cython.final
@cython.freelist(32)
cdef class Media:
    """One m= line.

    ``port`` 0 means refused (RFC 3264 §6), ``None`` that the line cannot be read; it still has its place among the
    others.
    """

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
    """A session description: ``origin`` (the o= line), ``name`` (s=), ``address`` (session c=), ``direction``,
    ``media``.
    """

    def __repr__(self):
        return f"Sdp({self.media!r})"


cdef inline str _text(Text *text):
    return PyUnicode_DecodeUTF8(<const char *>text.start, text.size, b"replace")


cdef object _text_or_none(Text *text):
    return None if text.start == NULL else _text(text)


cdef Sdp read_sdp(bytes body):
    """Read a session description."""
    cdef Sdp sdp = Sdp.__new__(Sdp)
    cdef Description found
    cdef int i
    read_description(<const uint8_t *>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), &found)
    sdp.origin = _text_or_none(&found.origin)
    sdp.name = _text_or_none(&found.name)
    sdp.address = _text_or_none(&found.address)
    sdp.direction = _text(&found.direction)
    sdp.media = [_media(&found.media[i]) for i in range(found.count)]
    return sdp


cdef Media _media(Medium *medium):
    cdef Media media = Media.__new__(Media)
    media.media = _text(&medium.kind)
    media.port = None if medium.port < 0 else medium.port
    media.protocol = _text(&medium.protocol)
    media.formats = _formats(medium.formats)
    media.address = _text_or_none(&medium.address)
    media.rtcp_port = medium.rtcp_port
    media.rtcp_address = _text_or_none(&medium.rtcp_address)
    media.rtcp_mux = medium.rtcp_mux
    media.rtpmap = _rtpmaps(medium.attributes)
    media.direction = _text(&medium.direction)
    return media


cdef list _formats(Text rest):
    cdef list formats = []
    cdef Text word = next_word(&rest)
    while word.size and len(formats) < FORMATS_MAX:
        formats.append(_text(&word))
        word = next_word(&rest)
    return formats


cdef list _rtpmaps(Text attributes):
    cdef list rtpmaps = []
    cdef Text value
    while len(rtpmaps) < FORMATS_MAX and next_rtpmap(&attributes, &value):
        rtpmaps.append(_text(&value))
    return rtpmaps
