"""A SIP message as one JSON object, in ASCII: what carries it to other programs.

Keys: ``method`` and ``request_uri``, or ``status_code`` and ``reason``; ``headers`` (pairs, in order), ``call_id``, ``cseq``, ``from``, ``to``, ``via``, ``contact``, ``content_type``,
``content_length``, ``sdp`` where there is one, ``malformed`` where something is.
"""

import json as standard

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from otus_sip.address cimport Address, find_parameter, read_address, value_end
from otus_sip.message cimport SipMessage
from otus_sip.scan cimport CALL_ID, CONTACT, CONTENT_LENGTH, CONTENT_TYPE, FROM, REQUEST, TO, VIA
from otus_sip.sdp cimport Media, Sdp
from otus_sip.verdict cimport verdict

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object)
    void *PyUnicode_DATA(object)

_encode = standard.JSONEncoder(separators=(",", ":")).encode
cdef bytes HEX = b"0123456789abcdef"


cdef class Out:
    """A buffer that grows."""

    cdef char *at
    cdef Py_ssize_t size
    cdef Py_ssize_t used

    def __dealloc__(self):
        PyMem_Free(self.at)

    cdef inline char *room(self, Py_ssize_t n) except NULL:
        cdef void *grown
        if self.used + n > self.size:
            grown = PyMem_Realloc(self.at, 2 * (self.used + n))
            if grown == NULL:
                raise MemoryError
            self.at = <char *>grown
            self.size = 2 * (self.used + n)
        return self.at + self.used

    cdef inline int raw(self, const char *text, Py_ssize_t n) except -1:
        memcpy(self.room(n), text, n)
        self.used += n
        return 0

    cdef int string(self, const uint8_t *text, Py_ssize_t n) except -1:
        """Write bytes as a JSON string; what is not ASCII takes the slow way, folds become one blank."""
        cdef char *target
        cdef Py_ssize_t i
        cdef uint8_t bad = 0
        for i in range(n):
            bad |= (text[i] < 32) | (text[i] == 34) | (text[i] == 92) | (text[i] > 126)
        if not bad:
            target = self.room(n + 2)
            target[0] = c'"'
            memcpy(target + 1, text, n)
            target[n + 1] = c'"'
            self.used += n + 2
            return 0
        return self.escaped(text, n)

    cdef int escaped(self, const uint8_t *text, Py_ssize_t n) except -1:
        cdef Py_ssize_t i
        cdef char *target
        cdef uint8_t c
        for i in range(n):
            if text[i] > 126 or text[i] == 10:
                return self.unicode(text, n)
        target = self.room(6 * n + 2)
        target[0] = c'"'
        target += 1
        for i in range(n):
            c = text[i]
            if c == 34 or c == 92:
                target[0] = 92
                target[1] = c
                target += 2
            elif c < 32:
                memcpy(target, b"\\u00", 4)
                target[4] = (<const char *>HEX)[c >> 4]
                target[5] = (<const char *>HEX)[c & 15]
                target += 6
            else:
                target[0] = c
                target += 1
        target[0] = c'"'
        self.used = target + 1 - self.at
        return 0

    cdef int unicode(self, const uint8_t *text, Py_ssize_t n) except -1:
        value = PyBytes_FromStringAndSize(<const char *>text, n).decode("utf-8", "replace")
        if "\n" in value:
            value = " ".join([part.strip(" \t\r") for part in value.split("\n")]).strip()
        encoded = standard.dumps(value).replace("\x7f", "\\u007f").encode("ascii")
        return self.raw(PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))

    cdef int value(self, object value) except -1:
        """Write a str, or null for ``None``."""
        if value is None:
            return self.raw(b"null", 4)
        if PyUnicode_IS_COMPACT_ASCII(value):
            return self.string(<const uint8_t *>PyUnicode_DATA(value), PyUnicode_GET_LENGTH(value))
        return self.text(value)

    cdef int values(self, object values) except -1:
        """Write a list of str."""
        cdef bint first = True
        self.raw(b"[", 1)
        for value in values:
            if not first:
                self.raw(b",", 1)
            first = False
            self.value(value)
        return self.raw(b"]", 1)

    cdef int text(self, object value) except -1:
        """Write any plain value by the ordinary encoder."""
        encoded = _encode(value).replace("\x7f", "\\u007f").encode("ascii")
        return self.raw(PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))

    cdef int number(self, Py_ssize_t value) except -1:
        cdef char digits[20]
        cdef int i = 20
        while True:
            i -= 1
            digits[i] = 48 + value % 10
            value //= 10
            if value == 0:
                break
        return self.raw(digits + i, 20 - i)


cdef Out _out = Out()


cdef bytes message_json(SipMessage message):
    """Give the whole object."""
    global _out
    cdef Out out = _out
    cdef bytes done
    out.used = 0
    _start_line(out, message)
    _headers(out, message)
    _identity(out, message)
    _content(out, message)
    found = verdict(message)
    if found is not None:
        out.raw(b',"malformed":', 13)
        out.text([found])
    out.raw(b"}", 1)
    done = PyBytes_FromStringAndSize(out.at, out.used)
    if out.size > 1 << 20:
        _out = Out()
    return done


cdef int _start_line(Out out, SipMessage message) except -1:
    if message.line.kind == REQUEST:
        out.raw(b'{"method":', 10)
        out.string(message.data, message.line.method_len)
        out.raw(b',"request_uri":', 15)
        return out.string(message.data + message.line.uri, message.line.uri_len)
    out.raw(b'{"status_code":', 15)
    out.number(message.line.status)
    out.raw(b',"reason":', 10)
    return out.string(message.data + message.line.reason, message.line.reason_len)


cdef int _headers(Out out, SipMessage message) except -1:
    cdef Py_ssize_t i
    out.raw(b',"headers":[', 12)
    for i in range(message.count):
        out.raw(b",[" if i else b"[", 2 if i else 1)
        out.string(message.data + message.fields[i].name, message.fields[i].name_len)
        out.raw(b",", 1)
        out.string(message.data + message.fields[i].value, message.fields[i].value_len)
        out.raw(b"]", 1)
    return out.raw(b"]", 1)


cdef int _identity(Out out, SipMessage message) except -1:
    """Who calls whom, in which call and transaction."""
    cdef const uint8_t *value = NULL
    cdef Py_ssize_t length = 0
    if message.value_of(CALL_ID, &value, &length):
        out.raw(b',"call_id":', 11)
        out.string(value, length)
    if message.cseq_number >= 0 and message.cseq_method != NULL:
        out.raw(b',"cseq":{"number":', 18)
        out.number(message.cseq_number)
        out.raw(b',"method":', 10)
        out.string(message.cseq_method, message.cseq_method_len)
        out.raw(b"}", 1)
    if message.value_of(FROM, &value, &length):
        out.raw(b',"from":', 8)
        _party(out, value, length)
    if message.value_of(TO, &value, &length):
        out.raw(b',"to":', 6)
        _party(out, value, length)
    _list(out, message, VIA, b',"via":[', 8)
    return _list(out, message, CONTACT, b',"contact":[', 12)


cdef int _party(Out out, const uint8_t *value, Py_ssize_t length) except -1:
    cdef Address found
    cdef const uint8_t *tag = NULL
    cdef Py_ssize_t tag_len = 0
    read_address(value, length, &found)
    out.raw(b'{"uri":', 7)
    out.string(found.uri, found.uri_len if found.uri != NULL else 0)
    if found.display_len > 0:
        out.raw(b',"display":', 11)
        out.string(found.display, found.display_len)
    if find_parameter(found.parameters, found.parameters_len, b"tag", 3, &tag, &tag_len):
        out.raw(b',"tag":', 7)
        out.string(tag, tag_len)
    return out.raw(b"}", 1)


cdef int _list(Out out, SipMessage message, int header, const char *key, Py_ssize_t key_len) except -1:
    """Write every value of a header field, comma lists split; Contact as its URI."""
    cdef Py_ssize_t i
    cdef Py_ssize_t at
    cdef Py_ssize_t end
    cdef Py_ssize_t step
    cdef Address found
    cdef bint first = True
    if message.first[header] < 0:
        return 0
    out.raw(key, key_len)
    for i in range(message.first[header], message.count):
        if message.fields[i].id != header:
            continue
        at = message.fields[i].value
        end = at + message.fields[i].value_len
        while at <= end:
            step = value_end(message.data + at, end - at)
            if not first:
                out.raw(b",", 1)
            first = False
            if header == CONTACT:
                read_address(message.data + at, step, &found)
                out.string(found.uri, found.uri_len if found.uri != NULL else 0)
            else:
                while step and message.data[at] <= 32:
                    at += 1
                    step -= 1
                out.string(message.data + at, step)
            at += step + 1
    return out.raw(b"]", 1)


cdef int _content(Out out, SipMessage message) except -1:
    cdef const uint8_t *value = NULL
    cdef Py_ssize_t length = 0
    cdef Sdp sdp
    if message.value_of(CONTENT_TYPE, &value, &length):
        out.raw(b',"content_type":', 16)
        out.string(value, length)
    declared = message.content_length
    if declared is not None:
        out.raw(b',"content_length":', 18)
        out.number(declared)
    sdp = message.sdp
    if sdp is not None:
        out.raw(b',"sdp":', 7)
        _sdp(out, sdp)
    return 0


cdef int _sdp(Out out, Sdp sdp) except -1:
    cdef bint first = True
    out.raw(b'{"origin":', 10)
    out.value(sdp.origin)
    out.raw(b',"address":', 11)
    out.value(sdp.address)
    out.raw(b',"media":[', 10)
    for item in sdp.media:
        if not first:
            out.raw(b",", 1)
        first = False
        _media(out, <Media>item)
    return out.raw(b"]}", 2)


cdef int _media(Out out, Media media) except -1:
    out.raw(b'{"type":', 8)
    out.value(media.media)
    out.raw(b',"address":', 11)
    out.value(media.address)
    out.raw(b',"port":', 8)
    out.number(media.port)
    out.raw(b',"protocol":', 12)
    out.value(media.protocol)
    out.raw(b',"formats":', 11)
    out.values(media.formats)
    out.raw(b',"rtpmap":', 10)
    out.values(media.rtpmap)
    out.raw(b',"direction":', 13)
    out.value(media.direction)
    if media.rtcp_mux:
        out.raw(b',"rtcp_mux":true', 16)
    else:
        out.raw(b',"rtcp_mux":false', 17)
    if media.rtcp_port:
        out.raw(b',"rtcp_port":', 13)
        out.number(media.rtcp_port)
    return out.raw(b"}", 1)
