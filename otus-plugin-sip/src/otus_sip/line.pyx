"""A SIP message in one line, as ``otus run`` shows it: written from the message's bytes.

``486 Busy Here (INVITE)``, a tab, what is wrong with it, ``alice@example.com → bob``, its media, its Call-ID. Where the
room is short, hosts of the parties go first, then the host of the Call-ID, then media; status and reason stay whole.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp, memcpy, strlen

from otus_core.inline.text cimport DECIMAL_MAX, print_decimal
from otus_core.inline.writer cimport Writer, keep, raw, raw_bytes, room, take, written

from otus_sip.address cimport Address
from otus_sip.description cimport Description, Medium, Text, next_rtpmap, next_word, read_description
from otus_sip.message cimport SipMessage
from otus_sip.scan cimport CALL_ID, FROM, REQUEST, TO, same_text
from otus_sip.verdict cimport fault_of

from otus_sip.sdp import STATIC_CODECS

cdef enum:
    WHAT = 22               # columns that lines give to what a message is
    ARROW = 3               # columns of " → ", which has five bytes
    ALIGNED = 2 * WHAT      # where less than this is left, columns are not kept
    LEAST = 8               # columns below which a part says nothing
    LEAST_CALL = 9          # of a Call-ID: enough to tell calls apart, and to search for
    LEAST_MEDIA = 16        # of media: audio 49170 PCMU
    MEDIA_SHOWN = 3
    CODECS_SHOWN = 3

cdef dict _STATIC = {number.encode(): name.partition("/")[0].encode() for number, name in STATIC_CODECS.items()}

cdef Writer _writer
cdef Writer _media_writer


# User and host of a URI.
cdef struct Party:
    Text user
    Text host


cdef bytes message_line(SipMessage message, Py_ssize_t columns):
    """Give the line, in UTF-8, for ``columns`` columns; 0 for any number."""
    cdef Writer out
    take(&_writer, &out)
    try:
        _line(&out, message, columns)
        return PyBytes_FromStringAndSize(out.start, out.at - out.start)
    finally:
        keep(&_writer, &out)


cdef int _line(Writer *out, SipMessage message, Py_ssize_t columns) except -1:
    cdef Py_ssize_t used
    cdef const char *fault
    _what(out, message, columns)
    used = written(out)
    raw(out, b"\t", 1)
    if columns == 0 or columns >= ALIGNED:
        used = max(used, <Py_ssize_t>WHAT)
    fault = fault_of(message)
    if fault != NULL:
        raw(out, b"malformed: ", 11)
        raw(out, fault, strlen(fault))
        used += 2 + 11 + strlen(fault)
    if message.trailing_size():
        used += _trailing(out, message.trailing_size())
    used += _parties(out, message, columns - used - 2 if columns else 0, columns == 0)
    if columns == 0 or columns - used - 2 >= LEAST:
        _media_and_call(out, message, columns - used - 2 if columns else 0)
    return 0


cdef int _what(Writer *out, SipMessage message, Py_ssize_t columns) except -1:
    """Write the method, or the status with its reason and, where there is room, the method that it answers."""
    cdef Py_ssize_t begun = written(out)
    if message.line.kind == REQUEST:
        return raw(out, <const char *>message.data, message.line.method_len)
    out.at = print_decimal(room(out, DECIMAL_MAX), message.line.status)
    if message.line.reason_len:
        raw(out, b" ", 1)
        raw(out, <const char *>message.data + message.line.reason, message.line.reason_len)
    if message.cseq_method == NULL:
        return 0
    if columns and written(out) - begun + 3 + message.cseq_method_len > columns:
        return 0
    raw(out, b" (", 2)
    raw(out, <const char *>message.cseq_method, message.cseq_method_len)
    return raw(out, b")", 1)


cdef Py_ssize_t _between(Writer *out) except -1:
    """Write what stands between two parts, none behind the tab; gives its columns."""
    if (out.at - 1)[0] != 9:
        raw(out, b"  ", 2)
    return 2


cdef Py_ssize_t _trailing(Writer *out, Py_ssize_t size) except -1:
    """Say what a datagram has behind the message; gives the columns that were taken."""
    cdef Py_ssize_t begun
    _between(out)
    begun = written(out)
    out.at = print_decimal(room(out, DECIMAL_MAX), size)
    raw(out, b" bytes behind it", 16)
    return 2 + written(out) - begun


cdef Py_ssize_t _parties(Writer *out, SipMessage message, Py_ssize_t left, bint whole) except -1:
    """Write From → To in at most ``left`` columns; gives the columns that were taken."""
    cdef Party sender
    cdef Party receiver
    cdef Py_ssize_t users
    cdef Py_ssize_t each
    _party(message.party(FROM), &sender)
    _party(message.party(TO), &receiver)
    if whole or _length(&sender) + ARROW + _length(&receiver) <= left - _needed(message):
        _between(out)
        _write_party(out, &sender)
        raw(out, b" \xe2\x86\x92 ", 5)
        _write_party(out, &receiver)
        return 2 + _length(&sender) + ARROW + _length(&receiver)
    if sender.user.size:
        sender.host.size = 0
    if receiver.user.size:
        receiver.host.size = 0
    users = _length(&sender) + ARROW + _length(&receiver)
    if users > left and left < 2 * 4 + ARROW:
        return 0
    each = max((left - ARROW) // 2, left - ARROW - min(_length(&sender), _length(&receiver)))
    _between(out)
    _write_shortened(out, &sender, each if users > left else users)
    raw(out, b" \xe2\x86\x92 ", 5)
    _write_shortened(out, &receiver, each if users > left else users)
    return 2 + min(users, left)


cdef Py_ssize_t _needed(SipMessage message) noexcept:
    """Give the columns that what follows the parties needs: it tells more than their hosts do."""
    cdef Py_ssize_t needed = 2 + LEAST_CALL if message.first[CALL_ID] >= 0 else 0
    return needed + 2 + LEAST_MEDIA if message.holds_sdp() else needed


cdef void _party(const Address *found, Party *party) noexcept:
    """Find user and host: without scheme, password, parameters and header fields (RFC 3261 §19.1.1)."""
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef const uint8_t *mark
    party.user.size = 0
    party.host.start = <const uint8_t *>b"-"
    party.host.size = 1
    if found == NULL or found.uri_len <= 0:
        return
    at = found.uri
    end = at + found.uri_len
    if found.uri_len > 4 and (same_text(at, b"sip:", 4) or same_text(at, b"tel:", 4)):
        at += 4
    elif found.uri_len > 5 and same_text(at, b"sips:", 5):
        at += 5
    mark = end
    while mark > at and (mark - 1)[0] != c"@":   # the last one: a user may hold ; and ? (RFC 3261 §25.1)
        mark -= 1
    if mark > at:
        party.user.start = at
        party.user.size = _up_to(at, mark - 1 - at, c":")
        at = mark
    party.host.start = at
    party.host.size = _up_to(at, _up_to(at, end - at, c";"), c"?")
    if party.host.size == 0 and party.user.size == 0:
        party.host.start = <const uint8_t *>b"-"
        party.host.size = 1


cdef inline Py_ssize_t _up_to(const uint8_t *text, Py_ssize_t size, int mark) noexcept nogil:
    """Give how many bytes stand before the first ``mark``."""
    cdef const uint8_t *found = <const uint8_t *>memchr(text, mark, size) if size > 0 else NULL
    return size if found == NULL else found - text


cdef inline Py_ssize_t _length(const Party *party) noexcept nogil:
    """Give the columns of a party as it is written, if all of it is ASCII; there are fewer otherwise."""
    return party.user.size + party.host.size + (1 if party.user.size and party.host.size else 0)


cdef int _write_party(Writer *out, const Party *party) except -1:
    if party.user.size:
        raw(out, <const char *>party.user.start, party.user.size)
        if party.host.size:
            raw(out, b"@", 1)
    return raw(out, <const char *>party.host.start, party.host.size)


cdef int _write_shortened(Writer *out, const Party *party, Py_ssize_t most) except -1:
    """Write the user, or the host where there is none, its end left out beyond ``most`` columns."""
    cdef const Text *text = &party.user if party.user.size else &party.host
    return _write_cut(out, text.start, text.size, most)


cdef int _write_cut(Writer *out, const uint8_t *text, Py_ssize_t size, Py_ssize_t most) except -1:
    """Write at most ``most`` bytes of a text, between characters of UTF-8, and an ellipsis if that is not all."""
    if size <= most:
        return raw(out, <const char *>text, size)
    most -= 1
    while most > 0 and text[most] & 0xC0 == 0x80:
        most -= 1
    raw(out, <const char *>text, most)
    return raw(out, b"\xe2\x80\xa6", 3)


cdef int _media_and_call(Writer *out, SipMessage message, Py_ssize_t left) except -1:
    """Write the session's media and the Call-ID; where they share too little room, first the Call-ID is shortened."""
    cdef const uint8_t *call = NULL
    cdef Py_ssize_t call_len = 0
    cdef bytes unfolded
    cdef Writer media
    cdef Py_ssize_t size
    cdef Py_ssize_t for_call
    if message.value_of(CALL_ID, &call, &call_len) and memchr(call, 10, call_len) != NULL:
        unfolded = message.field_text(CALL_ID).encode()
        call = <const uint8_t *>PyBytes_AS_STRING(unfolded)
        call_len = PyBytes_GET_SIZE(unfolded)
    if not message.holds_sdp():
        return _call(out, call, call_len, left)
    take(&_media_writer, &media)
    try:
        _media(&media, message)
        size = written(&media)
        for_call = min(call_len, max(left - size - 2, <Py_ssize_t>LEAST_CALL)) if left else 0
        if left and size > left - for_call - 2:
            size = _word_end(media.start, left - for_call - 2)
        if size >= LEAST:
            _between(out)
            _write_cut(out, <const uint8_t *>media.start, written(&media), size)
            left = left - size - 2 if left else 0
        return _call(out, call, call_len, left)
    finally:
        keep(&_media_writer, &media)


cdef Py_ssize_t _word_end(const char *text, Py_ssize_t size) noexcept:
    """Give where a text can be cut so that an ellipsis follows a whole word, and both have room: a part of a port is
    another port.
    """
    while size > 0 and text[size - 1] != c" " and text[size - 1] != c",":
        size -= 1
    return size


cdef int _call(Writer *out, const uint8_t *call, Py_ssize_t size, Py_ssize_t left) except -1:
    """Write the Call-ID: beyond ``left`` columns without its host, and if that is too long, without its end."""
    cdef Py_ssize_t local
    if size == 0 or (0 < left < LEAST):
        return 0
    _between(out)
    if left == 0 or size <= left:
        return raw(out, <const char *>call, size)
    local = _up_to(call, size, c"@")
    if local + 2 <= left and local < size:
        raw(out, <const char *>call, local + 1)
        return raw(out, b"\xe2\x80\xa6", 3)
    return _write_cut(out, call, size, left)


cdef int _media(Writer *out, SipMessage message) except -1:
    """Write ``audio 49170 PCMU,PCMA + video off H264``: what a session description offers."""
    cdef Description found
    cdef bytes part = None
    cdef int i
    if message.is_plain_sdp():
        read_description(message.data + message.body_start, message.size - message.body_start, &found)
    else:
        part = message.sdp_body()
        if part is None:
            return 0
        read_description(<const uint8_t *>PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part), &found)
    if found.count == 0:
        return raw(out, b"SDP", 3)
    for i in range(min(found.count, <int>MEDIA_SHOWN)):
        if i:
            raw(out, b" + ", 3)
        _medium(out, &found.media[i])
    return raw(out, b" + \xe2\x80\xa6", 6) if found.count > MEDIA_SHOWN else 0


cdef int _medium(Writer *out, Medium *medium) except -1:
    """Write one m= line: port 0 refuses the stream (RFC 3264 §6)."""
    cdef Text rest = medium.formats
    cdef Text word = next_word(&rest)
    cdef int shown = 0
    raw(out, <const char *>medium.kind.start, medium.kind.size)
    if medium.port == 0:
        raw(out, b" off", 4)
    elif medium.port > 0:
        raw(out, b" ", 1)
        out.at = print_decimal(room(out, DECIMAL_MAX), medium.port)
    while word.size and shown < CODECS_SHOWN:
        raw(out, b"," if shown else b" ", 1)
        _codec(out, medium, &word)
        shown += 1
        word = next_word(&rest)
    return raw(out, b",\xe2\x80\xa6", 4) if word.size else 0


cdef int _codec(Writer *out, Medium *medium, Text *format) except -1:
    """Write a format's name: that of its rtpmap, or of RFC 3551 §6; one that has none stays a number."""
    cdef Text attributes = medium.attributes
    cdef Text value
    cdef Text number
    cdef bytes name
    while next_rtpmap(&attributes, &value):
        number = next_word(&value)
        if number.size == format.size and memcmp(number.start, format.start, format.size) == 0:
            value = next_word(&value)
            return raw(out, <const char *>value.start, _up_to(value.start, value.size, c"/"))
    name = _STATIC.get(format.start[:format.size]) if format.size <= 2 else None
    return raw(out, <const char *>format.start, format.size) if name is None else raw_bytes(out, name)
