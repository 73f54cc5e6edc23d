"""What RFC 4475 calls invalid: faults of syntax that a SIP element answers with 400 rather than guess.

In: a scanned message. Out: the first fault as a constant text, or ``None``. Semantics, such as a missing header field,
are not syntax (RFC 4475 §3.3).
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from otus_sip.address cimport Address, is_white, read_address, value_end
from otus_sip.message cimport IN_BODY, IN_FIELDS, SipMessage
from otus_sip.scan cimport (
    CONTACT, CONTENT_LENGTH, CSEQ, DATE, FROM, MAX_FORWARDS, REQUEST, TO, VIA, Field, is_token, number, same_text,
)

cdef enum:
    CSEQ_MAX = 0x7FFFFFFF       # RFC 3261 §8.1.1.5: less than 2**31
    HOPS_MAX = 255              # RFC 3261 §20.22
    MISCOUNTED = 26             # bytes by which the Content-Length of RFC 5118 §4.5's own example says too much


# What may stand in a display name without quotes: the characters of tokens, and white space.
cdef uint8_t _in_display[256]


cdef void _fill() noexcept:
    cdef int c
    cdef uint8_t byte
    for c in range(256):
        byte = <uint8_t>c
        _in_display[c] = is_white(byte) or is_token(&byte, 1)


_fill()


cdef object verdict(SipMessage message):
    """Give the first thing that is wrong, or ``None``."""
    cdef const char *fault = fault_of(message)
    return None if fault == NULL else fault.decode("ascii")


cdef const char *fault_of(SipMessage message) except? NULL:
    """Give the first thing that is wrong as a text that lives for ever, or NULL.

    It is looked for once, and told to who counts.
    """
    if not message.is_judged:
        message.fault = _fault(message)
        if message.fault == NULL and message.holds_sdp():
            message.fault = _body(message)
        message.is_judged = True
        if message.fault != NULL and message.count_fault is not None:
            message.count_fault()
    return message.fault


cdef const char *_body(SipMessage message) except? NULL:
    """A body that cannot be decoded, or a session description that has no lines."""
    cdef const uint8_t *body = message.data + message.body_start
    cdef Py_ssize_t size = message.size - message.body_start
    if not message.is_plain_sdp():
        message.sdp_body()
        return message.body_fault
    # RFC 8866 §5: lines end in CRLF; those that end in LF alone are read too, those in CR alone by nobody
    if memchr(body, 10, size) == NULL and memchr(body, 13, size - 1) != NULL:
        return b"lines of the session description end in CR alone"
    return NULL


cdef const char *_fault(SipMessage message) noexcept nogil:
    """Give what is wrong with the start line and the header fields."""
    cdef const char *fault = message.trouble
    cdef Py_ssize_t i
    if message.cut == IN_FIELDS:
        return (
            b"cut by the capture within its header fields"
            if message.by_capture
            else b"no empty line behind the header fields"
        )
    if fault == NULL and message.line.kind == REQUEST:
        fault = _request_uri(message.data + message.line.uri, message.line.uri_len)
    if fault == NULL:
        fault = _cseq(message)
    if fault == NULL:
        fault = _lengths(message)
    i = 0
    while fault == NULL and i < message.count:
        fault = _field(message, i)
        i += 1
    return fault


cdef const char *_request_uri(const uint8_t *uri, Py_ssize_t size) noexcept nogil:
    cdef const uint8_t *at
    cdef const uint8_t *end = uri + size
    cdef int colons = 0
    cdef bint sip = (size > 4 and same_text(uri, b"sip:", 4)) or (size > 5 and same_text(uri, b"sips:", 5))
    if uri[0] == c"<" or memchr(uri, c">", size) != NULL:
        return b"Request-URI in angle brackets"      # RFC 4475 §3.1.2.7
    if memchr(uri, c":", size) == NULL:
        return b"Request-URI without a scheme"
    if not sip:
        return NULL
    at = <const uint8_t *>memchr(uri, c"@", size)
    at = <const uint8_t *>memchr(uri, c":", size) + 1 if at == NULL else at + 1
    if memchr(at, c"?", end - at) != NULL:           # a user may have one in its name: RFC 4475 §3.1.1.2
        return b"headers in the Request-URI"         # RFC 4475 §3.1.2.11
    if at < end and at[0] == c"[":
        return NULL
    while at < end and at[0] != c";":
        colons += at[0] == c":"
        at += 1
    if colons > 1:
        return b"IPv6 address without brackets"      # RFC 5118 §4.1
    return NULL


cdef const char *_cseq(SipMessage message) noexcept nogil:
    if message.first[CSEQ] < 0:
        return NULL
    if message.cseq_method == NULL:
        return b"malformed CSeq"
    if message.cseq_number < 0 or message.cseq_number > CSEQ_MAX:
        return b"CSeq number out of range"
    if message.line.kind == REQUEST and (
        message.cseq_method_len != message.line.method_len
        or memcmp(message.cseq_method, message.data, message.line.method_len) != 0
    ):
        return b"CSeq method is not the request's"   # RFC 4475 §3.1.2.17
    return NULL


cdef bint _whole_sdp(SipMessage message) noexcept nogil:
    """Whether the body is SDP of whole lines: nothing of it is missing, and its length was miscounted."""
    return message.is_plain_sdp() and message.size > message.body_start and message.data[message.size - 1] == 10


cdef const char *_lengths(SipMessage message) noexcept nogil:
    """Content-Length, the first one where there are several; Max-Forwards."""
    cdef const uint8_t *value = NULL
    cdef Py_ssize_t length = 0
    cdef Py_ssize_t n
    if message.value_of(CONTENT_LENGTH, &value, &length):
        n = number(value, length)
        if n < 0:
            return b"Content-Length is no number"    # RFC 4475 §3.1.2.3
        if message.cut == IN_BODY and message.by_capture:
            return b"cut by the capture within its body"
        if n > message.size - message.body_start + (MISCOUNTED if _whole_sdp(message) else 0):
            return b"Content-Length beyond the datagram"     # RFC 4475 §3.1.2.2
    if message.value_of(MAX_FORWARDS, &value, &length):
        n = number(value, length)
        if n < 0 or n > HOPS_MAX:
            return b"Max-Forwards out of range"
    return NULL


cdef const char *_field(SipMessage message, Py_ssize_t i) noexcept nogil:
    cdef Field *field = &message.fields[i]
    cdef const uint8_t *value = message.data + field.value
    cdef Py_ssize_t length = field.value_len
    if field.id == FROM or field.id == TO:
        if i == message.first[field.id]:
            return _sound(value, message.party(field.id))
        return _address(value, length)
    if field.id == CONTACT:
        return _contacts(value, length)
    if field.id == VIA:
        return _vias(value, length)
    if field.id == CONTENT_LENGTH and i != message.first[CONTENT_LENGTH]:
        return _second_length(message, value, length)
    if field.id == DATE and (length < 3 or memcmp(value + length - 3, b"GMT", 3) != 0):
        return b"Date is not in GMT"                 # RFC 4475 §3.1.2.12
    return NULL


cdef const char *_second_length(SipMessage message, const uint8_t *value, Py_ssize_t length) noexcept nogil:
    """RFC 3261 §20.14 has one Content-Length; two that differ tell two readers of two bodies."""
    cdef Field *first = &message.fields[message.first[CONTENT_LENGTH]]
    if number(value, length) != number(message.data + first.value, first.value_len):
        return b"two Content-Length fields that differ"
    return NULL


cdef const char *_address(const uint8_t *value, Py_ssize_t length) noexcept nogil:
    cdef Address found
    read_address(value, length, &found)
    return _sound(value, &found)


cdef const char *_sound(const uint8_t *value, const Address *found) noexcept nogil:
    """From, To, or one Contact."""
    cdef Py_ssize_t i
    cdef bint bracketed
    if found.error != NULL:
        return found.error
    bracketed = found.uri > value and (found.uri - 1)[0] == c"<"
    if bracketed and found.display_len > 0 and not found.quoted:
        for i in range(found.display_len):
            if not _in_display[found.display[i]]:
                return b"display name needs quotes"  # RFC 4475 §3.1.2.15
    if not _has_scheme(found.uri, found.uri_len):
        return b"address without a scheme"           # RFC 3261 §25.1 addr-spec
    if _has_white(found.uri, found.uri_len):
        return b"blank within an address"            # RFC 4475 §3.1.2.14
    if not bracketed and memchr(found.uri, c"?", found.uri_len) != NULL:
        return b"address with headers needs angle brackets"      # RFC 4475 §3.1.2.13
    if found.parameters_len > 0 and found.parameters[0] != c";":
        return b"text after an address"
    return _parameters(found.parameters, found.parameters_len)


cdef const char *_contacts(const uint8_t *value, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t step
    cdef const char *fault
    if length == 1 and value[0] == c"*":
        return NULL
    while at <= length:
        step = value_end(value + at, length - at)
        fault = _address(value + at, step)
        if fault != NULL:
            return fault
        at += step + 1
    return NULL


cdef const char *_vias(const uint8_t *value, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t step
    cdef const uint8_t *semicolon
    cdef const char *fault
    while at <= length:
        step = value_end(value + at, length - at)
        semicolon = <const uint8_t *>memchr(value + at, c";", step)
        if semicolon == value + at or _is_blank(value + at, step):
            return b"empty Via"                      # RFC 4475 §3.1.2.1
        if semicolon != NULL:
            fault = _parameters(semicolon, value + at + step - semicolon)
            if fault != NULL:
                return fault
        at += step + 1
    return NULL


cdef bint _has_scheme(const uint8_t *uri, Py_ssize_t size) noexcept nogil:
    """Whether it begins like ``sip:`` (RFC 3986 §3.1)."""
    cdef Py_ssize_t at = 0
    while at < size and (97 <= uri[at] | 32 <= 122 or 48 <= uri[at] <= 57 or 43 <= uri[at] <= 46 and uri[at] != 44):
        at += 1
    return 0 < at < size and uri[at] == c":" and 97 <= uri[0] | 32 <= 122


cdef bint _has_white(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    """Whether there is white space.

    Eight bytes at a time are seen to be above it; those that are not are looked at one by one.
    """
    cdef uint64_t word
    cdef Py_ssize_t at = 0
    while at < size:
        if size - at >= 8:
            memcpy(&word, text + at, 8)
            if ((word - 0x2121212121212121ULL) & ~word & 0x8080808080808080ULL) == 0:
                at += 8
                continue
        if is_white(text[at]):
            return True
        at += 1
    return False


cdef bint _is_blank(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        if not is_white(text[i]):
            return False
    return True


cdef const char *_parameters(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    """No parameter may be empty: ``;;`` (RFC 4475 §3.1.2.1).

    Most are seen to be sound by what follows each semicolon.
    """
    cdef const uint8_t *end = text + size
    cdef const uint8_t *semicolon = <const uint8_t *>memchr(text, c";", size)
    if memchr(text, 34, size) == NULL:
        while semicolon != NULL and semicolon + 1 < end and semicolon[1] > 32 and semicolon[1] != c";":
            semicolon = <const uint8_t *>memchr(semicolon + 1, c";", end - semicolon - 1)
        if semicolon == NULL:
            return NULL
    return _parameters_one_by_one(text, size)


cdef const char *_parameters_one_by_one(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at = 0
    cdef bint empty = False
    cdef bint quoted = False
    while at < size:
        if quoted:
            if text[at] == 92:
                at += 1
            elif text[at] == 34:
                quoted = False
        elif text[at] == 34:
            quoted = True
            empty = False
        elif text[at] == c";":
            if empty:
                return b"empty parameter"
            empty = True
        elif not is_white(text[at]):
            empty = False
        at += 1
    if empty:
        return b"empty parameter"
    return NULL
