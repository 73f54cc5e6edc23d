"""The labels of a message as bytes (``otus_core.packed_labels``): those of ``labels``, copied from the message as long
as they are plain ASCII there.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, strlen

from otus_core.inline.labels cimport put_label
from otus_core.inline.writer cimport Writer, keep, take

from otus_sip.address cimport Address
from otus_sip.labels cimport message_label
from otus_sip.message cimport SipMessage
from otus_sip.scan cimport CALL_ID, FROM, REQUEST, TO, VIA
from otus_sip.verdict cimport fault_of

cdef enum:
    STATUS_AT = 8               # SIP/2.0 200
    STATUS_LEN = 3

cdef Writer _writer


cdef bytes message_packed_labels(SipMessage message):
    """Give all labels that apply."""
    cdef Writer out
    take(&_writer, &out)
    try:
        _labels(&out, message)
        return PyBytes_FromStringAndSize(out.start, out.at - out.start)
    finally:
        keep(&_writer, &out)


cdef int _labels(Writer *out, SipMessage message) except -1:
    cdef const char *fault
    if message.line.kind == REQUEST:
        put_label(out, b"sip.method", 10, message.data, message.line.method_len)
    else:
        put_label(out, b"sip.status_code", 15, message.data + STATUS_AT, STATUS_LEN)
    if message.cseq_method != NULL:
        put_label(out, b"sip.cseq_method", 15, message.cseq_method, message.cseq_method_len)
    _put_field(out, message, b"sip.call_id", 11, CALL_ID)
    _put_uri(out, message, b"sip.from_uri", 12, FROM)
    _put_uri(out, message, b"sip.to_uri", 10, TO)
    _put_field(out, message, b"sip.via", 7, VIA)
    fault = fault_of(message)
    if fault != NULL:
        put_label(out, b"sip.malformed", 13, <const uint8_t *>fault, strlen(fault))
    return _put_text(out, message, b"sip.trailing_bytes", 18) if message.trailing_size() else 0


cdef int _put_field(Writer *out, SipMessage message, const char *name, uint32_t name_len, int header) except -1:
    """Put the value of a header field that stands there once; folds, several fields and what is not ASCII are left to
    the str.
    """
    cdef Py_ssize_t i = message.first[header]
    cdef const uint8_t *text
    if i < 0:
        return 0
    text = message.data + message.fields[i].value
    if message.fields[i].folded or (header == VIA and _is_repeated(message, i)):
        return _put_text(out, message, name, name_len)
    if not _is_ascii(text, message.fields[i].value_len):
        return _put_text(out, message, name, name_len)
    return put_label(out, name, name_len, text, message.fields[i].value_len) if message.fields[i].value_len else 0


cdef bint _is_repeated(SipMessage message, Py_ssize_t first) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(first + 1, message.count):
        if message.fields[i].id == message.fields[first].id:
            return True
    return False


cdef int _put_uri(Writer *out, SipMessage message, const char *name, uint32_t name_len, int header) except -1:
    cdef const Address *found = message.party(header)
    if found == NULL or found.uri_len <= 0:
        return 0
    if not _is_ascii(found.uri, found.uri_len) or memchr(found.uri, 10, found.uri_len) != NULL:
        return _put_text(out, message, name, name_len)
    return put_label(out, name, name_len, found.uri, found.uri_len)


cdef int _put_text(Writer *out, SipMessage message, const char *name, uint32_t name_len) except -1:
    cdef bytes text
    label = message_label(message, name[:name_len].decode("ascii"))
    if label is None:
        return 0
    text = (<str>label).encode()
    return put_label(out, name, name_len, <const uint8_t *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef bint _is_ascii(const uint8_t *text, Py_ssize_t n) noexcept nogil:
    cdef uint64_t word
    cdef uint64_t all_bits = 0
    while n >= 8:
        memcpy(&word, text, 8)
        all_bits |= word
        text += 8
        n -= 8
    while n:
        n -= 1
        all_bits |= text[n]
    return all_bits & 0x8080808080808080ULL == 0
