"""Finds the header fields of a message, in one pass over its bytes: names, values, folds, where the body begins, and what CSeq says.

In: bytes and the start line that ``classify`` found. Out: a ``SipMessage`` with offsets. Nothing is raised for what the bytes hold; every step goes forward.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy

from otus_sip.message cimport SipMessage
from otus_sip.scan cimport CONTENT_LENGTH, CSEQ, Field, Line, header_id, is_token, number, same_text

cdef extern from *:
    """
    #define otus_ctzll __builtin_ctzll
    """
    int ctzll "otus_ctzll" (uint64_t word) nogil

cdef enum:
    FIELDS_AT_ONCE = 64
    FIELDS_KEPT = 1024      # no phone sends as many
    NAME_MAX = 65535


cdef inline bint _blank(uint8_t c) noexcept nogil:
    return (c == 32) | (c == 9)


cdef Py_ssize_t whole_size(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Give the length of the message that begins at ``data`` in a stream, or -1 when not all of it is there yet (RFC 3261 §18.3)."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end
    cdef Py_ssize_t length
    cdef Py_ssize_t declared = -1
    cdef const uint8_t *newline
    while at < size:
        newline = <const uint8_t *>memchr(data + at, 10, size - at)
        if newline == NULL:
            return -1
        end = newline - data
        length = end - at
        if length and data[end - 1] == 13:
            length -= 1
        if length == 0:
            end += 1
            if declared < 0:
                return end
            return -1 if declared > size - end else end + declared
        if declared == -1 and (data[at] | 32) in (99, 108) and not _blank(data[at]):  # c, l
            declared = _declared(data + at, length)
        at = end + 1
    return -1


cdef inline Py_ssize_t _declared(const uint8_t *line, Py_ssize_t length) noexcept nogil:
    """Give what a Content-Length line says, or -1 when it is another line or no number."""
    cdef Py_ssize_t name = 1 if line[0] | 32 == c"l" else 14
    cdef Py_ssize_t at
    if length <= name or (name == 14 and not same_text(line, b"content-length", 14)):
        return -1
    at = name
    while at < length and _blank(line[at]):
        at += 1
    if at >= length or line[at] != c":":
        return -1
    at += 1
    while at < length and _blank(line[at]):
        at += 1
    while length > at and _blank(line[length - 1]):
        length -= 1
    return number(line + at, length - at)


# Header fields of the message that is being read; a message takes as many as it has. Grows for hostile ones, and is then let go of.
cdef Field *_found = NULL
cdef Py_ssize_t _room = 0


cdef int _make_room() except -1:
    global _found, _room
    cdef Py_ssize_t room = 2 * _room if _room else FIELDS_AT_ONCE
    cdef Field *grown = <Field *>PyMem_Realloc(_found, room * sizeof(Field))
    if grown == NULL:
        raise MemoryError
    _found = grown
    _room = room
    return 0


cdef SipMessage read_message(bytes payload, Py_ssize_t begin, Py_ssize_t length, Line *line):
    """Find the header fields of the message that begins at ``begin``, whose start line is known, and make it.

    It is ``length`` bytes long; with -1 it is a datagram's, which ends where Content-Length says.
    """
    global _found, _room
    cdef SipMessage message = SipMessage.__new__(SipMessage)
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(payload) + begin
    cdef Py_ssize_t size = PyBytes_GET_SIZE(payload) - begin if length < 0 else length
    message.line = line[0]
    message.data = data
    message.size = size
    _scan_fields(message)
    if length < 0:
        message.size = _datagram_size(message)
    if begin or message.size != PyBytes_GET_SIZE(payload):
        payload = PyBytes_FromStringAndSize(<const char *>data, message.size)
        message.data = <const uint8_t *>PyBytes_AS_STRING(payload)
    message.raw = payload
    if message.body_start > message.size:
        message.body_start = message.size
    message.fields = <Field *>PyMem_Malloc(message.count * sizeof(Field))
    if message.fields == NULL:
        raise MemoryError
    if message.count:
        memcpy(message.fields, _found, message.count * sizeof(Field))
    if _room > FIELDS_KEPT:
        PyMem_Free(_found)
        _found = NULL
        _room = 0
    _read_cseq(message)
    return message


cdef int _scan_fields(SipMessage message) except -1:
    """Find each header field and where the body begins."""
    cdef const uint8_t *data = message.data
    cdef Py_ssize_t size = message.size
    cdef Py_ssize_t at = message.line.end
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t colon
    cdef Py_ssize_t start
    cdef Py_ssize_t stop
    cdef const uint8_t *newline
    cdef Py_ssize_t name_len
    cdef Field *found = _found
    cdef Field *field
    cdef int known
    message.body_start = size
    while at < size:
        if data[at] == 10 or (data[at] == 13 and (at + 1 == size or data[at + 1] == 10)):
            message.body_start = min(at + (1 if data[at] == 10 else 2), size)
            break
        start = at
        newline = <const uint8_t *>memchr(data + start, 10, size - start)
        stop = size if newline == NULL else newline - data
        at = stop + 1
        if stop > start and data[stop - 1] == 13:
            stop -= 1
        if count == _room:
            _make_room()
            found = _found
        field = found + count
        colon = start + _colon_at(data + start, stop - start)
        if _blank(data[start]) or colon == start or _blank(data[colon - 1]) or colon - start > NAME_MAX:
            if _blank(data[start]):
                _fold(message, field - 1 if count else NULL, stop)
                continue
            name_len = _odd_name(message, start, colon, stop)
            if name_len < 0:
                continue
        elif colon == stop:
            if message.trouble == NULL:
                message.trouble = b"header line without a colon"
            continue
        else:
            name_len = colon - start
        known = header_id(data + start, name_len)
        field.name_len = <uint16_t>name_len
        field.name = <uint32_t>start
        start = colon + 1
        while start < stop and _blank(data[start]):
            start += 1
        while stop > start and _blank(data[stop - 1]):
            stop -= 1
        field.value = <uint32_t>start
        field.value_len = <uint32_t>(stop - start)
        field.id = <uint8_t>known
        field.folded = 0
        if known and message.first[known] < 0:
            message.first[known] = <int>count
        count += 1
    message.count = count
    return 0


cdef inline Py_ssize_t _colon_at(const uint8_t *line, Py_ssize_t size) noexcept nogil:
    """Give where the first colon of a line is, or its size. Names are short: two or three steps of eight bytes."""
    cdef Py_ssize_t at = 0
    cdef uint64_t word
    while size - at >= 8:
        memcpy(&word, line + at, 8)
        word ^= <uint64_t>0x3A3A3A3A3A3A3A3A
        # The lowest byte that is 0 now has its highest bit set here, and no lower one has.
        word = (word - <uint64_t>0x0101010101010101) & ~word & <uint64_t>0x8080808080808080
        if word:
            return at + (ctzll(word) >> 3)
        at += 8
    while at < size and line[at] != c":":
        at += 1
    return at


cdef Py_ssize_t _odd_name(SipMessage message, Py_ssize_t start, Py_ssize_t colon, Py_ssize_t stop) noexcept:
    """Give the length of a name that has blanks before its colon; -1 for a line that is no field."""
    cdef Py_ssize_t end = colon
    while end > start and _blank(message.data[end - 1]):
        end -= 1
    if colon < stop and start < end <= start + NAME_MAX:
        return end - start
    if message.trouble == NULL:
        message.trouble = b"header line without a colon" if colon == stop else b"header field without a name"
    return -1


cdef Py_ssize_t _datagram_size(SipMessage message) noexcept:
    """Give how long a datagram's message is: what Content-Length leaves over is not part of it (RFC 3261 §18.3)."""
    cdef Py_ssize_t declared = -1
    cdef Py_ssize_t i = message.first[CONTENT_LENGTH]
    if i < 0 or message.body_start >= message.size:
        return message.size
    while i < message.count and declared < 0:
        if _found[i].id == CONTENT_LENGTH:
            declared = number(message.data + _found[i].value, _found[i].value_len)
        i += 1
    if declared < 0 or declared > message.size - message.body_start:
        return message.size
    return message.body_start + declared


cdef void _fold(SipMessage message, Field *last, Py_ssize_t stop) noexcept:
    """Add a continuation line to the field before it."""
    if last == NULL:
        message.trouble = b"continuation line before any header field"
        return
    while stop > last.value and _blank(message.data[stop - 1]):
        stop -= 1
    if stop > last.value + last.value_len:
        last.value_len = <uint32_t>(stop - last.value)
    last.folded = 1


cdef inline bint _white(uint8_t c) noexcept nogil:
    return c == 32 or c == 9 or c == 13 or c == 10


cdef void _read_cseq(SipMessage message) noexcept:
    """Read ``314159 INVITE``; folds may stand between the two."""
    cdef const uint8_t *value = NULL
    cdef Py_ssize_t length = 0
    cdef Py_ssize_t at = 0
    message.cseq_number = -1
    message.cseq_method = NULL
    message.cseq_method_len = 0
    if not message.value_of(CSEQ, &value, &length):
        return
    while at < length and _white(value[at]):
        at += 1
    cdef Py_ssize_t digits = at
    while at < length and 48 <= value[at] <= 57:
        at += 1
    message.cseq_number = number(value + digits, at - digits)
    if message.cseq_number > <Py_ssize_t>0xFFFFFFFF:
        message.cseq_number = -1
    while at < length and _white(value[at]):
        at += 1
    if is_token(value + at, length - at):
        message.cseq_method = value + at
        message.cseq_method_len = length - at
