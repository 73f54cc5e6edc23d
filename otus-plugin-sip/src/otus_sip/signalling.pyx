"""What tells the messages of calls apart, in one look: for those who follow calls and meet every message.

Bytes as they stand in the message, because they are compared and not shown.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memchr, memcpy

from otus_core.inline.signalling cimport (
    FIELD_VALUE_MAX, SIGNALLING_LINE_MAX, SIGNALLING_TEXT_MAX, FieldHead, Signalling, whole_letters,
)
from otus_core.inline.writer cimport Writer, keep, raw, room, take, written

from otus_sip.address cimport Address, find_parameter, value_end
from otus_sip.message cimport SipMessage
from otus_sip.scan cimport CALL_ID, FROM, REQUEST, TO, VIA, method_id, same_text

cdef enum:
    SELECTED_MAX = 32           # values of header fields that are given
    LENGTHS = 64                # names that are longer are not looked for
    SPREAD = 23                 # so that the header fields that most messages have seldom look like those asked for
    ASKED_MAX = 64              # sets of names that are remembered
    TEXTS = 6

# Few callers ask, each for the same names.
cdef dict _asked = {}
cdef Writer _kept


cdef tuple message_signalling(SipMessage message):
    """Give ``(Call-ID, From tag, To tag, branch of the newest Via, CSeq number, method, status code)``.

    The method is that of a request, and in a response that of its CSeq; the status code of a request is 0. What is not
    there is empty, the number -1. No text has more than ``SIGNALLING_TEXT_MAX`` bytes.
    """
    cdef const uint8_t *texts[TEXTS]
    cdef Signalling head
    _look_at(message, &head, texts)
    return (_bytes(texts[0], head.call_id), _bytes(texts[1], head.from_tag), _bytes(texts[2], head.to_tag),
            _bytes(texts[3], head.branch), message.cseq_number, _bytes(texts[4], head.method_name), head.status)


cdef bytes message_packed_signalling(SipMessage message):
    """Give the same and what the start line says, as ``otus_core.inline.signalling`` has them."""
    cdef const uint8_t *texts[TEXTS]
    cdef Signalling head
    cdef uint16_t *sizes = &head.call_id
    cdef Py_ssize_t total
    cdef bytes packed
    cdef char *at
    cdef int i
    _look_at(message, &head, texts)
    total = sizeof(Signalling)
    for i in range(TEXTS):
        total += sizes[i]
    packed = PyBytes_FromStringAndSize(NULL, total)
    at = PyBytes_AS_STRING(packed)
    memcpy(at, &head, sizeof(Signalling))
    at += sizeof(Signalling)
    for i in range(TEXTS):
        memcpy(at, texts[i], sizes[i])
        at += sizes[i]
    return packed


cdef bytes _bytes(const uint8_t *text, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<const char *>text, size)


cdef void _look_at(SipMessage message, Signalling *head, const uint8_t **texts) noexcept:
    """Fill in the head, and where its texts are in the message."""
    cdef const uint8_t *value = NULL
    cdef Py_ssize_t length = 0
    cdef Py_ssize_t sizes[TEXTS]
    cdef uint16_t *kept = &head.call_id
    cdef bint is_request = message.line.kind == REQUEST
    cdef int i
    for i in range(TEXTS):
        texts[i], sizes[i] = message.data, 0
    message.value_of(CALL_ID, &texts[0], &sizes[0])
    _find_tag(message, FROM, &texts[1], &sizes[1])
    _find_tag(message, TO, &texts[2], &sizes[2])
    if message.value_of(VIA, &value, &length):
        _find(value, length, b"branch", 6, &texts[3], &sizes[3])
    if is_request:
        sizes[4] = message.line.method_len
    elif message.cseq_method != NULL:
        texts[4], sizes[4] = message.cseq_method, message.cseq_method_len
    if is_request:
        texts[5], sizes[5] = message.data + message.line.uri, message.line.uri_len
    else:
        texts[5], sizes[5] = message.data + message.line.reason, message.line.reason_len
    head.cseq = <int32_t>(message.cseq_number & 0x7FFFFFFF) if message.cseq_number >= 0 else -1
    head.status = 0 if is_request else <uint16_t>message.line.status
    head.method = <uint16_t>method_id(texts[4], sizes[4])
    for i in range(TEXTS):
        kept[i] = <uint16_t>whole_letters(<const char *>texts[i], sizes[i],
                                          SIGNALLING_LINE_MAX if i == TEXTS - 1 else SIGNALLING_TEXT_MAX)


cdef void _find_tag(SipMessage message, int header, const uint8_t **value, Py_ssize_t *length) noexcept:
    cdef const Address *party = message.party(header)
    if party != NULL:
        _find(party.parameters, party.parameters_len, b"tag", 3, value, length)


cdef void _find(const uint8_t *text, Py_ssize_t size, const char *name, Py_ssize_t name_len, const uint8_t **value,
                Py_ssize_t *length) noexcept:
    """Find a parameter of the first value in a field."""
    cdef const uint8_t *found = NULL
    cdef Py_ssize_t its_length = 0
    cdef Py_ssize_t at = 0
    size = value_end(text, size)
    while at < size and text[at] != c";":
        at += 1
    if at < size and find_parameter(text + at, size - at, name, name_len, &found, &its_length) and its_length > 0:
        value[0], length[0] = found, its_length


cdef bytes message_packed_fields(SipMessage message, frozenset names):
    """Give the header fields that are named, as ``otus_core.inline.signalling`` has them: by their names in lower case,
    long or compact, as often as they are there, folds joined.
    """
    cdef Writer out
    cdef FieldHead head
    cdef Py_ssize_t i
    cdef Py_ssize_t left = SELECTED_MAX
    cdef Asked asked = _choose_fields(names)
    cdef const char *value
    cdef Py_ssize_t length
    cdef bytes its_name
    cdef bytes made
    take(&_kept, &out)
    for i in range(message.count):
        if not _looks_wanted(message, i, asked.looks):
            continue
        its_name = asked.find(message.data + message.fields[i].name, message.fields[i].name_len)
        if its_name is None:
            continue
        value, length = <const char *>message.data + message.fields[i].value, message.fields[i].value_len
        if memchr(value, 10, length) != NULL:
            made = message.value_text(&message.fields[i]).encode("utf-8", "surrogatepass")
            value, length = PyBytes_AS_STRING(made), PyBytes_GET_SIZE(made)
        head.name = <uint16_t>PyBytes_GET_SIZE(its_name)
        head.value = <uint16_t>whole_letters(value, length, FIELD_VALUE_MAX)
        raw(&out, <const char *>&head, sizeof(FieldHead))
        raw(&out, PyBytes_AS_STRING(its_name), head.name)
        raw(&out, value, head.value)
        left -= 1
        if not left:
            break
    made = PyBytes_FromStringAndSize(out.start, written(&out)) if out.start != NULL else b""
    keep(&_kept, &out)
    return made


cdef inline bint _looks_wanted(SipMessage message, Py_ssize_t i, uint64_t looks) noexcept:
    cdef Py_ssize_t length = message.fields[i].name_len
    return 0 < length < LENGTHS and (looks >> _look(length, message.data[message.fields[i].name])) & 1


cdef dict select_signalling(SipMessage message, frozenset names):
    """Give the value of each header field that is named, by its name as it was asked for: in lower case, long or
    compact, ``"session-expires"``. Several fields of a name are joined with a comma (RFC 3261 §7.3.1). A name that is
    not there is left out.
    """
    cdef dict found = {}
    cdef Py_ssize_t i
    cdef Py_ssize_t left = SELECTED_MAX
    cdef Asked asked = _choose_fields(names)
    cdef bytes known
    for i in range(message.count):
        if not _looks_wanted(message, i, asked.looks):
            continue
        known = asked.find(message.data + message.fields[i].name, message.fields[i].name_len)
        if known is None:
            continue
        its_name = known.decode("utf-8", "surrogatepass")
        value = message.value_text(&message.fields[i])
        found[its_name] = f"{found[its_name]}, {value}" if its_name in found else value
        left -= 1
        if not left:
            break
    return found


cdef inline int _look(Py_ssize_t length, uint8_t first) noexcept:
    """Give the bit for names of this length and first letter, whatever its case."""
    return (length + SPREAD * (first | 32)) & 63


@cython.final
cdef class Asked:
    """Names of header fields that somebody asks for, in lower case, the shorter ones first."""

    cdef uint64_t looks         # what they look like, by length and first letter, as bits
    cdef list names
    cdef int begin[LENGTHS + 1]     # where the names of a length begin

    def __init__(self, frozenset names):
        cdef bytes name
        cdef int i
        self.names = sorted((name.encode("utf-8", "surrogatepass") for name in names), key=len)
        self.names = [name for name in self.names if 0 < len(name) < LENGTHS]
        for name in self.names:
            self.looks |= <uint64_t>1 << _look(len(name), <uint8_t>name[0])
        for i in range(LENGTHS + 1):
            self.begin[i] = sum(1 for name in self.names if len(name) < i)

    cdef bytes find(self, const uint8_t *name, Py_ssize_t size):
        """Give the name that this is, whatever its case, ``None`` for one that is not asked for."""
        cdef int i
        for i in range(self.begin[size], self.begin[size + 1]):
            if same_text(name, PyBytes_AS_STRING(<bytes>self.names[i]), size):
                return <bytes>self.names[i]
        return None


cdef Asked _choose_fields(frozenset names):
    found = _asked.get(names)
    if found is None:
        if len(_asked) >= ASKED_MAX:
            _asked.clear()
        found = _asked[names] = Asked(names)
    return <Asked>found
