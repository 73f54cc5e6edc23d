"""What tells the messages of calls apart, in one look: for those who follow calls and meet every message.

Bytes as they stand in the message, because they are compared and not shown.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t

from otus_sip.address cimport Address, find_parameter, value_end
from otus_sip.message cimport SipMessage
from otus_sip.scan cimport CALL_ID, FROM, REQUEST, TO, VIA

cdef enum:
    SELECTED_MAX = 32           # values of header fields that are given
    LENGTHS = 64                # names that are longer are not looked for
    SPREAD = 23                 # so that the header fields that most messages have seldom look like those asked for
    ASKED_MAX = 64              # sets of names that are remembered

# What the names of a set look like, by length and first letter, as bits: few callers ask, each for the same names.
cdef dict _asked = {}


cdef tuple message_signalling(SipMessage message):
    """Give ``(Call-ID, From tag, To tag, branch of the newest Via, CSeq number, method, status code)``.

    The method is that of a request, and in a response that of its CSeq; the status code of a request is 0. What is not
    there is empty, the number -1.
    """
    cdef const uint8_t *value = NULL
    cdef Py_ssize_t length = 0
    cdef bytes call_id = b""
    cdef bytes method = b""
    cdef bytes branch = b""
    cdef bint is_request = message.line.kind == REQUEST
    if message.value_of(CALL_ID, &value, &length):
        call_id = PyBytes_FromStringAndSize(<const char *>value, length)
    if is_request:
        method = PyBytes_FromStringAndSize(<const char *>message.data, message.line.method_len)
    elif message.cseq_method != NULL:
        method = PyBytes_FromStringAndSize(<const char *>message.cseq_method, message.cseq_method_len)
    if message.value_of(VIA, &value, &length):
        branch = _parameter(value, length, b"branch", 6)
    return (call_id, _tag(message, FROM), _tag(message, TO), branch, message.cseq_number, method,
            0 if is_request else message.line.status)


cdef bytes _tag(SipMessage message, int header):
    cdef const Address *party = message.party(header)
    if party == NULL:
        return b""
    return _parameter(party.parameters, party.parameters_len, b"tag", 3)


cdef bytes _parameter(const uint8_t *text, Py_ssize_t size, const char *name, Py_ssize_t name_len):
    """Give a parameter of the first value in a field."""
    cdef const uint8_t *value = NULL
    cdef Py_ssize_t length = 0
    cdef Py_ssize_t at = 0
    size = value_end(text, size)
    while at < size and text[at] != c";":
        at += 1
    if at == size or not find_parameter(text + at, size - at, name, name_len, &value, &length) or length <= 0:
        return b""
    return PyBytes_FromStringAndSize(<const char *>value, length)


cdef dict message_selected(SipMessage message, frozenset names):
    """Give the value of each header field that is named, by its name as it was asked for: in lower case, long or
    compact, ``"session-expires"``. Several fields of a name are joined with a comma (RFC 3261 §7.3.1). A name that is
    not there is left out.
    """
    cdef dict found = {}
    cdef Py_ssize_t i
    cdef Py_ssize_t left = SELECTED_MAX
    cdef str its_name
    cdef uint64_t looks = _looks_of(names)
    cdef Py_ssize_t length
    for i in range(message.count):
        length = message.fields[i].name_len
        if length >= LENGTHS or not length or not (looks >> _look(length, message.data[message.fields[i].name])) & 1:
            continue
        its_name = message.text(message.data + message.fields[i].name, message.fields[i].name_len).lower()
        if its_name not in names:
            continue
        value = message.value_text(&message.fields[i])
        found[its_name] = f"{found[its_name]}, {value}" if its_name in found else value
        left -= 1
        if not left:
            break
    return found


cdef inline int _look(Py_ssize_t length, uint8_t first) noexcept:
    """Give the bit for names of this length and first letter, whatever its case."""
    return (length + SPREAD * (first | 32)) & 63


cdef uint64_t _looks_of(frozenset names) except? 0:
    cdef uint64_t looks = 0
    cdef bytes written
    known = _asked.get(names)
    if known is not None:
        return known
    for name in names:
        written = (<str>name).encode("utf-8", "surrogatepass")
        if 0 < len(written) < LENGTHS:
            looks |= <uint64_t>1 << _look(len(written), written[0])
    if len(_asked) >= ASKED_MAX:
        _asked.clear()
    _asked[names] = looks
    return looks
