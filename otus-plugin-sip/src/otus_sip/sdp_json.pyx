"""A session description as JSON, straight from its bytes: what ``sdp`` makes into objects, written.

In: the description. Out: ``"sdp":{…}`` in the writer.
"""

from otus_core.inline.json cimport write_number
from otus_core.inline.writer cimport raw

from otus_sip.description cimport FORMATS_MAX, Description, Medium, Text, next_rtpmap, next_word, read_description
from otus_sip.folds cimport write_text


cdef int write_description(Writer *out, const uint8_t *data, Py_ssize_t size) except -1:
    """Write a description."""
    cdef Description found
    cdef int i
    read_description(data, size, &found)
    raw(out, b',"sdp":{"origin":', 17)
    _write_text(out, &found.origin)
    raw(out, b',"address":', 11)
    _write_text(out, &found.address)
    raw(out, b',"media":[', 10)
    for i in range(found.count):
        if i:
            raw(out, b",", 1)
        _write_medium(out, &found.media[i])
    return raw(out, b"]}", 2)


cdef int _write_text(Writer *out, Text *text) except -1:
    if text.start == NULL:
        return raw(out, b"null", 4)
    return write_text(out, text.start, text.size)


cdef int _write_medium(Writer *out, Medium *medium) except -1:
    raw(out, b'{"type":', 8)
    _write_text(out, &medium.kind)
    raw(out, b',"address":', 11)
    _write_text(out, &medium.address)
    raw(out, b',"port":', 8)
    if medium.port < 0:     # the line cannot be read
        raw(out, b"null", 4)
    else:
        write_number(out, medium.port)
    raw(out, b',"protocol":', 12)
    _write_text(out, &medium.protocol)
    raw(out, b',"formats":[', 12)
    _write_formats(out, medium.formats)
    raw(out, b'],"rtpmap":[', 12)
    _write_rtpmaps(out, medium.attributes)
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
    cdef Text word = next_word(&rest)
    while word.size and count < FORMATS_MAX:
        if count:
            raw(out, b",", 1)
        write_text(out, word.start, word.size)
        count += 1
        word = next_word(&rest)
    return 0


cdef int _write_rtpmaps(Writer *out, Text attributes) except -1:
    cdef int count = 0
    cdef Text value
    while count < FORMATS_MAX and next_rtpmap(&attributes, &value):
        if count:
            raw(out, b",", 1)
        write_text(out, value.start, value.size)
        count += 1
    return 0
