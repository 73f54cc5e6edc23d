"""A SIP message as one JSON object, in ASCII: what carries it to other programs.

Keys: ``method`` and ``request_uri``, or ``status_code`` and ``reason``; ``headers`` (pairs, in order), ``call_id``,
``cseq``, ``from``, ``to``, ``via``, ``contact``, ``content_type``, ``content_length``, ``sdp`` where there is one,
``trailing_bytes`` where a datagram has some behind the body, ``malformed`` where something is. All is written from the
message's bytes into one buffer that is used again.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcpy, strlen

from otus_core.inline.json cimport copy_plain, write_ascii, write_number, write_str
from otus_core.inline.writer cimport Writer, keep, raw, room, take

from otus_sip.address cimport Address, find_parameter, is_white, read_address, value_end
from otus_sip.folds cimport write_folded, write_text
from otus_sip.message cimport SipMessage
from otus_sip.scan cimport CALL_ID, CONTACT, CONTENT_LENGTH, CONTENT_TYPE, FROM, REQUEST, TO, VIA, Field, number
from otus_sip.sdp_json cimport write_description
from otus_sip.verdict cimport fault_of

cdef enum:
    PAIR = 8                    # what stands around a name and a value: ["",""],

cdef Writer _writer


cdef bytes message_json(SipMessage message):
    """Give the whole object."""
    cdef Writer out
    take(&_writer, &out)
    try:
        _message(&out, message)
        return PyBytes_FromStringAndSize(out.start, out.at - out.start)
    finally:
        keep(&_writer, &out)


cdef int _message(Writer *out, SipMessage message) except -1:
    cdef const char *fault
    cdef Py_ssize_t trailing
    room(out, 2 * message.size)
    _start_line(out, message)
    _headers(out, message)
    _identity(out, message)
    _content(out, message)
    trailing = message.trailing_size()
    if trailing:
        raw(out, b',"trailing_bytes":', 18)
        write_number(out, trailing)
    fault = fault_of(message)
    if fault != NULL:
        raw(out, b',"malformed":', 13)
        raw(out, b"[", 1)
        write_ascii(out, <const uint8_t *>fault, strlen(fault))
        raw(out, b"]", 1)
    return raw(out, b"}", 1)


cdef int _start_line(Writer *out, SipMessage message) except -1:
    if message.line.kind == REQUEST:
        raw(out, b'{"method":', 10)
        write_text(out, message.data, message.line.method_len)
        raw(out, b',"request_uri":', 15)
        return write_text(out, message.data + message.line.uri, message.line.uri_len)
    raw(out, b'{"status_code":', 15)
    write_number(out, message.line.status)
    raw(out, b',"reason":', 10)
    return write_text(out, message.data + message.line.reason, message.line.reason_len)


cdef int _headers(Writer *out, SipMessage message) except -1:
    cdef Field *field = message.fields
    cdef Field *end = field + message.count
    cdef char *target
    raw(out, b',"headers":[', 12)
    while field < end:
        target = room(out, field.name_len + field.value_len + PAIR)
        memcpy(target, b'["', 2)
        memcpy(target + 2 + field.name_len, b'","', 3)
        memcpy(target + 5 + field.name_len + field.value_len, b'"],', 3)
        if copy_plain(target + 2, message.data + field.name, field.name_len) and copy_plain(
            target + 5 + field.name_len, message.data + field.value, field.value_len
        ):
            out.at = target + PAIR + field.name_len + field.value_len
        else:
            raw(out, b"[", 1)
            write_folded(out, message.data + field.name, field.name_len)
            raw(out, b",", 1)
            write_folded(out, message.data + field.value, field.value_len)
            raw(out, b"],", 2)
        field += 1
    if message.count:
        out.at -= 1
    return raw(out, b"]", 1)


cdef int _identity(Writer *out, SipMessage message) except -1:
    """Who calls whom, in which call and transaction."""
    cdef const uint8_t *value = NULL
    cdef Py_ssize_t length = 0
    if message.value_of(CALL_ID, &value, &length):
        raw(out, b',"call_id":', 11)
        write_text(out, value, length)
    if message.cseq_number >= 0 and message.cseq_method != NULL:
        raw(out, b',"cseq":{"number":', 18)
        write_number(out, message.cseq_number)
        raw(out, b',"method":', 10)
        write_text(out, message.cseq_method, message.cseq_method_len)
        raw(out, b"}", 1)
    if message.first[FROM] >= 0:
        raw(out, b',"from":', 8)
        _party(out, message, message.party(FROM))
    if message.first[TO] >= 0:
        raw(out, b',"to":', 6)
        _party(out, message, message.party(TO))
    if message.first[VIA] >= 0:
        raw(out, b',"via":[', 8)
        _list(out, message, VIA)
    if message.first[CONTACT] >= 0:
        raw(out, b',"contact":[', 12)
        _list(out, message, CONTACT)
    return 0


cdef int _party(Writer *out, SipMessage message, const Address *found) except -1:
    cdef const uint8_t *tag = NULL
    cdef Py_ssize_t tag_len = 0
    raw(out, b'{"uri":', 7)
    write_text(out, found.uri, found.uri_len if found.uri != NULL else 0)
    if found.display_len > 0:
        raw(out, b',"display":', 11)
        if found.quoted and memchr(found.display, 92, found.display_len) != NULL:
            write_str(out, message.display_text(found))
        else:
            write_text(out, found.display, found.display_len)
    if find_parameter(found.parameters, found.parameters_len, b"tag", 3, &tag, &tag_len):
        raw(out, b',"tag":', 7)
        write_text(out, tag, tag_len)
    return raw(out, b"}", 1)


cdef int _list(Writer *out, SipMessage message, int header) except -1:
    """Write every value of a header field, comma lists split; Contact as its URI."""
    cdef Py_ssize_t i
    cdef Py_ssize_t at
    cdef Py_ssize_t end
    cdef Py_ssize_t step
    cdef Py_ssize_t size
    cdef Address found
    cdef bint first = True
    for i in range(message.first[header], message.count):
        if message.fields[i].id != header:
            continue
        at = message.fields[i].value
        end = at + message.fields[i].value_len
        while at <= end:
            step = value_end(message.data + at, end - at)
            if not first:
                raw(out, b",", 1)
            first = False
            if header == CONTACT:
                read_address(message.data + at, step, &found)
                write_text(out, found.uri, found.uri_len if found.uri != NULL else 0)
            else:
                size = step
                while size and is_white(message.data[at]):
                    at += 1
                    size -= 1
                    step -= 1
                while size and is_white(message.data[at + size - 1]):
                    size -= 1
                write_text(out, message.data + at, size)
            at += step + 1
    return raw(out, b"]", 1)


cdef int _content(Writer *out, SipMessage message) except -1:
    cdef const uint8_t *value = NULL
    cdef Py_ssize_t length = 0
    if message.value_of(CONTENT_TYPE, &value, &length):
        raw(out, b',"content_type":', 16)
        write_text(out, value, length)
    if message.value_of(CONTENT_LENGTH, &value, &length):
        length = number(value, length)
        if length >= 0:
            raw(out, b',"content_length":', 18)
            write_number(out, length)
    if message.holds_sdp():
        return _description(out, message)
    return 0


cdef int _description(Writer *out, SipMessage message) except -1:
    """Write the session description from its bytes."""
    cdef bytes part
    if message.is_plain_sdp():
        return write_description(out, message.data + message.body_start, message.size - message.body_start)
    part = message.sdp_body()
    return 0 if part is None else write_description(out, <const uint8_t *>PyBytes_AS_STRING(part),
                                                    PyBytes_GET_SIZE(part))
