"""Addresses and lists in header values: quoted text, angle brackets, parameters, commas (RFC 3261 §20, §25.1).

In: a header's value as it stands in the message, folds included. Out: pointers into it. Every step goes forward.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy

from otus_sip.scan cimport same_text


cdef inline Py_ssize_t _find_quote_end(const uint8_t *text, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Give where the quoted string that begins at ``at`` ends, after its quote, or -1."""
    cdef const uint8_t *quote
    at += 1
    quote = <const uint8_t *>memchr(text + at, 34, size - at) if at < size else NULL
    if quote == NULL:
        return -1
    if memchr(text + at, 92, quote - text - at) == NULL:
        return quote - text + 1
    while at < size:
        if text[at] == 92:
            at += 2
            continue
        if text[at] == 34:
            return at + 1
        at += 1
    return -1


cdef void read_address(const uint8_t *text, Py_ssize_t size, Address *found) noexcept nogil:
    """Take one address apart: ``"Display" <uri>;parameters`` or ``uri;parameters``.

    A faulty display name costs neither URI nor parameters.
    """
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end
    found.display = NULL
    found.display_len = 0
    found.uri = NULL
    found.uri_len = 0
    found.parameters = NULL
    found.parameters_len = 0
    found.error = NULL
    found.quoted = False
    while at < size and is_white(text[at]):
        at += 1
    if at < size and text[at] == 34:
        end = _find_quote_end(text, at, size)
        if end < 0:
            found.error = b"unterminated quoted string"
            _after_faulty_name(text, at, at, size, found)
            return
        found.display = text + at + 1
        found.display_len = end - at - 2
        found.quoted = True
        while end < size and is_white(text[end]):
            end += 1
        if end >= size or text[end] != c"<":
            found.error = b"display name without an address"
            _after_faulty_name(text, at, end, size, found)
            return
        _read_bracketed(text, end + 1, size, found)
        return
    end = at
    while end < size and text[end] != c"<" and text[end] != c";" and text[end] != c">":
        end += 1
    if end < size and text[end] == c"<":
        found.display = text + at
        found.display_len = _trim(text + at, end - at)
        _read_bracketed(text, end + 1, size, found)
    elif end < size and memchr(text + at, 34, end - at) != NULL:
        found.error = b"display name needs quotes"
        _after_faulty_name(text, at, end, size, found)
    else:
        _plain_address(text, at, end, size, found)


cdef void _after_faulty_name(
    const uint8_t *text, Py_ssize_t start, Py_ssize_t at, Py_ssize_t size, Address *found
) noexcept nogil:
    """Go on with the next bracket behind a display name that begins at ``start`` and is none; all before the bracket is
    shown as it is written.
    """
    cdef const uint8_t *bracket = <const uint8_t *>memchr(text + at, c"<", size - at) if at < size else NULL
    if bracket == NULL:
        return
    found.quoted = False
    found.display = text + start
    found.display_len = _trim(found.display, bracket - found.display)
    _read_bracketed(text, bracket - text + 1, size, found)


cdef void _read_bracketed(const uint8_t *text, Py_ssize_t at, Py_ssize_t size, Address *found) noexcept nogil:
    """Take ``uri>;parameters``.

    Where a bracket stands in the brackets the URI is in the innermost: ``<"Display" <uri>>``.
    """
    cdef const uint8_t *bracket = <const uint8_t *>memchr(text + at, c">", size - at)
    cdef const uint8_t *inner
    cdef Py_ssize_t end
    if bracket == NULL:
        if found.error == NULL:
            found.error = b"angle bracket is not closed"
        return
    end = bracket - text
    inner = <const uint8_t *>memchr(text + at, c"<", end - at)
    while inner != NULL:
        found.error = b"angle bracket within an address"
        at = inner - text + 1
        inner = <const uint8_t *>memchr(text + at, c"<", end - at)
    found.uri = text + at
    found.uri_len = end - at
    end += 1
    while found.error != NULL and end < size and text[end] == c">":
        end += 1
    _set_parameters(text, end, size, found)


cdef void _plain_address(
    const uint8_t *text, Py_ssize_t at, Py_ssize_t end, Py_ssize_t size, Address *found
) noexcept nogil:
    """An address without brackets: what follows the first ``;`` belongs to the header (RFC 3261 §20.10)."""
    found.uri = text + at
    found.uri_len = _trim(text + at, end - at)
    if found.uri_len == 0:
        found.error = b"no address"
    _set_parameters(text, end, size, found)


cdef inline Py_ssize_t _trim(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    while size and is_white(text[size - 1]):
        size -= 1
    return size


cdef inline void _set_parameters(const uint8_t *text, Py_ssize_t at, Py_ssize_t size, Address *found) noexcept nogil:
    while at < size and is_white(text[at]):
        at += 1
    found.parameters = text + at
    found.parameters_len = size - at


cdef Py_ssize_t parameter_end(const uint8_t *text, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Give where the value of a parameter ends that begins at ``at``."""
    cdef uint64_t word
    while size - at >= 8:
        memcpy(&word, text + at, 8)
        if _holds_mark(word):
            break
        at += 8
    while at < size and text[at] != c";" and text[at] != c"," and not is_white(text[at]):
        at += 1
    return at


cdef inline bint _holds_mark(uint64_t word) noexcept nogil:
    """Whether one of eight bytes is a semicolon, or below the hyphen, as commas and white space are; maybe also where
    one is beyond ASCII.
    """
    cdef uint64_t ones = <uint64_t>0x0101010101010101
    cdef uint64_t marked = word ^ ones * c";"
    return ((word - ones * c"-") | (marked - ones) | word) & (ones << 7) != 0


cdef bint find_parameter(const uint8_t *text, Py_ssize_t size, const char *name, Py_ssize_t name_len,
                         const uint8_t **value, Py_ssize_t *value_len) noexcept nogil:
    """Find ``;name=value`` (the name in lower case); a parameter without a value gives length 0."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t start
    cdef Py_ssize_t end
    start = name_len + 2
    # Nearly always it is the first one, written without blanks.
    if (
        size > start
        and text[0] == c";"
        and text[start - 1] == c"="
        and text[start] > 32
        and memcmp(text + 1, name, name_len) == 0
    ):
        value[0] = text + start
        value_len[0] = parameter_end(text, start, size) - start
        return True
    while at < size:
        if text[at] == 34:
            end = _find_quote_end(text, at, size)
            at = size if end < 0 else end
            continue
        if text[at] != c";":
            at += 1
            continue
        at += 1
        while at < size and is_white(text[at]):
            at += 1
        if size - at < name_len or not same_text(text + at, name, name_len):
            continue
        start = at + name_len
        while start < size and is_white(text[start]):
            start += 1
        if start < size and text[start] != c"=" and text[start] != c";":
            continue
        value[0] = text + start
        value_len[0] = 0
        if start < size and text[start] == c"=":
            start += 1
            while start < size and is_white(text[start]):
                start += 1
            value[0] = text + start
            value_len[0] = parameter_end(text, start, size) - start
        return True
    return False


cdef Py_ssize_t value_end(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    """Give where the first value of a comma list ends: commas in quotes and in angle brackets do not count."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end
    cdef bint bracket = False
    if memchr(text, c",", size) == NULL:
        return size
    while at < size:
        if text[at] == 34 and not bracket:
            end = _find_quote_end(text, at, size)
            if end < 0:
                return size
            at = end
            continue
        if text[at] == c"<":
            bracket = True
        elif text[at] == c">":
            bracket = False
        elif text[at] == c"," and not bracket:
            return at
        at += 1
    return size
