"""Finds the header fields of a message, in one pass over its bytes: names, values, folds, where the body begins and
ends, and what CSeq says.

In: bytes and the start line that ``classify`` found. Out: a ``SipMessage`` with offsets. Nothing is raised for what the
bytes hold; every step goes forward.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy

from otus_sip.message cimport IN_BODY, IN_FIELDS, SipMessage
from otus_sip.address cimport is_white
from otus_sip.credentials cimport hide_credentials
from otus_sip.scan cimport AUTHORIZATION, CONTENT_LENGTH, CSEQ, Field, Line, header_id, is_token, number, same_text

cdef extern from *:
    """
    #define otus_ctzll __builtin_ctzll
    #define OTUS_STEP 64

    #ifdef __SSE2__
    #include <emmintrin.h>

    /* A bit for each of sixteen bytes that is c. */
    static inline uint64_t otus_equal(const uint8_t *at, int part, char c) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(at + 16 * part));
        return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(c))) << 16 * part;
    }
    #else
    /* The same by two words of eight: their zero bytes become bits, which a multiplication gathers. */
    static inline uint64_t otus_equal(const uint8_t *at, int part, char c) {
        const uint64_t sevens = 0x7f7f7f7f7f7f7f7fULL;
        uint64_t word, bits = 0;
        int i;
        for (i = 0; i < 2; i++) {
            memcpy(&word, at + 16 * part + 8 * i, 8);
            word ^= 0x0101010101010101ULL * (unsigned char)c;
            word = ~(((word & sevens) + sevens) | word | sevens);
            bits |= (word >> 7) * 0x0102040810204080ULL >> 56 << 8 * i;
        }
        return bits << 16 * part;
    }
    #endif

    static inline uint64_t otus_where(const uint8_t *at, char c) {
        return otus_equal(at, 0, c) | otus_equal(at, 1, c) | otus_equal(at, 2, c) | otus_equal(at, 3, c);
    }

    /* 64 bytes that can be read: those at hand, or fewer with a newline behind them. */
    static inline const uint8_t *otus_step(const uint8_t *at, Py_ssize_t size, uint8_t *rest) {
        if (size >= OTUS_STEP) {
            return at;
        }
        memset(rest, 0, OTUS_STEP);
        memcpy(rest, at, size);
        rest[size] = 10;
        return rest;
    }
    """
    int ctzll "otus_ctzll" (uint64_t word) nogil
    uint64_t where "otus_where" (const uint8_t *at, char c) nogil
    const uint8_t *step "otus_step" (const uint8_t *at, Py_ssize_t size, uint8_t *rest) nogil
    enum: STEP "OTUS_STEP"

cdef enum:
    FIELDS_AT_ONCE = 64
    FIELDS_KEPT = 1024      # no phone sends as many
    NAME_MAX = 65535


cdef inline bint _blank(uint8_t c) noexcept nogil:
    return (c == 32) | (c == 9)


cdef Py_ssize_t whole_size(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Give the length of the message that begins at ``data`` in a stream, or 0 when its header fields do not end yet
    (RFC 3261 §18.3).
    """
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end
    cdef Py_ssize_t length
    cdef Py_ssize_t declared = -1
    cdef const uint8_t *newline
    while at < size:
        newline = <const uint8_t *>memchr(data + at, 10, size - at)
        if newline == NULL:
            return 0
        end = newline - data
        length = end - at
        if length and data[end - 1] == 13:
            length -= 1
        if length == 0:
            end += 1
            return end + max(declared, 0)
        if declared == -1 and (data[at] | 32) in (99, 108) and not _blank(data[at]):  # c, l
            declared = _read_declared(data + at, length, size - at)
        at = end + 1
    return 0


cdef inline Py_ssize_t _read_declared(const uint8_t *line, Py_ssize_t length, Py_ssize_t size) noexcept nogil:
    """Give what a Content-Length line says, with those that go on with it, or -1 when it is another line or no number;
    ``size`` bytes are at hand.
    """
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
    length = _measure_unfolded(line, length, size)
    while at < length and is_white(line[at]):
        at += 1
    while length > at and is_white(line[length - 1]):
        length -= 1
    return number(line + at, length - at)


cdef Py_ssize_t _measure_unfolded(const uint8_t *line, Py_ssize_t length, Py_ssize_t size) noexcept nogil:
    """Give the length of a line together with the lines that continue it (RFC 3261 §7.3.1)."""
    cdef const uint8_t *newline = <const uint8_t *>memchr(line + length, 10, size - length)
    while newline != NULL and newline + 1 < line + size and _blank(newline[1]):
        newline = <const uint8_t *>memchr(newline + 1, 10, line + size - newline - 1)
        length = size if newline == NULL else newline - line
    return length


# Header fields of the message that is being read; a message takes as many as it has. Grows for hostile ones, and is
# then let go of.
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


cdef SipMessage read_message(bytes payload, Py_ssize_t begin, Py_ssize_t length, Line *line, bint hide):
    """Find the header fields of the message that begins at ``begin``, whose start line is known, and make it.

    It is ``length`` bytes long; with -1 it is a datagram's: its body ends where Content-Length says, and what lies
    behind it is kept in ``raw``. With ``hide``, proofs of passwords are overwritten in the message's own copy of the
    bytes.
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
    if begin or size != PyBytes_GET_SIZE(payload) or (hide and message.first[AUTHORIZATION] >= 0):
        payload = PyBytes_FromStringAndSize(<const char *>data, size)
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
    if hide and message.first[AUTHORIZATION] >= 0:
        hide_credentials(message)
    return message


cdef int _scan_fields(SipMessage message) except -1:
    """Find each header field and where the body begins, 64 bytes a step: where lines and names end is found first, then
    one line after the other is taken.
    """
    cdef const uint8_t *data = message.data
    cdef Py_ssize_t size = message.size
    cdef Py_ssize_t base = message.line.end
    cdef Py_ssize_t at = base
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t earlier = -1        # the colon of the line that goes on here, when it was in an earlier step
    cdef Py_ssize_t colon
    cdef Py_ssize_t start
    cdef Py_ssize_t stop
    cdef Py_ssize_t name_len
    cdef const uint8_t *at_hand
    cdef uint8_t rest[STEP]
    cdef uint64_t newlines
    cdef uint64_t colons
    cdef uint64_t ended
    cdef Field *found = _found
    cdef Field *field
    cdef int known
    message.body_start = size
    while base <= size:
        at_hand = step(data + base, size - base, rest)
        newlines = where(at_hand, 10)
        colons = where(at_hand, c":")
        while newlines:
            start = at
            stop = base + ctzll(newlines)
            at = stop + 1
            ended = newlines & (0 - newlines)
            newlines ^= ended
            if stop > start and data[stop - 1] == 13:
                stop -= 1
            colon = earlier
            earlier = -1
            if colon < 0:
                colon = base + ctzll(colons) if colons & (ended - 1) else stop
            colons &= 0 - (ended << 1)
            if stop == start:
                message.body_start = min(at, size)
                message.count = count
                if at > size:
                    message.cut = IN_FIELDS
                return 0
            if count == _room:
                _make_room()
                found = _found
            field = found + count
            name_len = colon - start
            # Blanks and control characters alike: one comparison each for what nearly every line has
            if data[start] <= 32 or name_len == 0 or data[colon - 1] <= 32 or name_len > NAME_MAX:
                if _blank(data[start]):
                    _fold(message, field - 1 if count else NULL, start, stop)
                    continue
                name_len = _odd_name(message, start, colon, stop)
                if name_len < 0:
                    continue
            elif colon == stop:
                if message.trouble == NULL:
                    message.trouble = b"header line without a colon"
                continue
            known = header_id(data + start, name_len)
            field.name_len = <uint16_t>name_len
            field.name = <uint32_t>start
            start = colon + 1
            while start < stop and data[start] <= 32 and _blank(data[start]):
                start += 1
            while stop > start and data[stop - 1] <= 32 and _blank(data[stop - 1]):
                stop -= 1
            field.value = <uint32_t>start
            field.value_len = <uint32_t>(stop - start)
            field.id = <uint8_t>known
            field.folded = 0
            if known and message.first[known] < 0:
                message.first[known] = <int>count
            count += 1
        if earlier < 0 and colons:
            earlier = base + ctzll(colons)
        base += STEP
    message.count = count
    message.cut = IN_FIELDS
    return 0


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
    """Give where the body of a datagram's message ends: what Content-Length leaves over is not part of it (RFC 3261
    §18.3).
    """
    cdef Py_ssize_t declared = -1
    cdef Py_ssize_t i = message.first[CONTENT_LENGTH]
    if i < 0 or message.cut:
        return message.size
    while i < message.count and declared < 0:
        if _found[i].id == CONTENT_LENGTH:
            declared = number(message.data + _found[i].value, _found[i].value_len)
        i += 1
    if declared > message.size - message.body_start:
        message.cut = IN_BODY
        return message.size
    return message.size if declared < 0 else message.body_start + declared


cdef void _fold(SipMessage message, Field *last, Py_ssize_t start, Py_ssize_t stop) noexcept:
    """Add a continuation line to the field before it; one that has no value yet begins there, and then is like one that
    was never folded.
    """
    if last == NULL:
        message.trouble = b"continuation line before any header field"
        return
    while stop > start and is_white(message.data[stop - 1]):
        stop -= 1
    while start < stop and is_white(message.data[start]):
        start += 1
    if start == stop:
        return
    if last.value_len == 0:
        last.value = <uint32_t>start
    else:
        last.folded = 1
    last.value_len = <uint32_t>(stop - last.value)


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
    while at < length and is_white(value[at]):
        at += 1
    cdef Py_ssize_t digits = at
    while at < length and 48 <= value[at] <= 57:
        at += 1
    message.cseq_number = number(value + digits, at - digits)
    if message.cseq_number > <Py_ssize_t>0xFFFFFFFF:
        message.cseq_number = -1
    while at < length and is_white(value[at]):
        at += 1
    if is_token(value + at, length - at):
        message.cseq_method = value + at
        message.cseq_method_len = length - at
