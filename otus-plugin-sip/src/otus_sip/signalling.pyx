"""What tells the messages of calls apart, in one look: for those who follow calls and meet every message.

Bytes as they stand in the message, because they are compared and not shown.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from otus_core.inline.signalling cimport (
    FIELD_VALUE_MAX, SIGNALLING_LINE_MAX, SIGNALLING_TEXT_MAX, SIGNALLING_TEXTS, SIGNALLING_VERSION, FieldHead,
    Signalling, SignallingEntry, pack_signalling, whole_letters,
)
from otus_core.inline.writer cimport Writer, keep, room, take, written

from otus_sip.address cimport Address, find_parameter, parameter_end, value_end
from otus_sip.message cimport SipMessage
from otus_sip.scan cimport CALL_ID, FROM, REQUEST, TO, VIA, Field, method_id, same_text

cdef enum:
    SELECTED_MAX = 32           # values of header fields that are given
    LENGTHS = 64                # names that are longer are not looked for
    SPREAD = 23                 # so that the header fields that most messages have seldom look like those asked for
    ASKED_MAX = 64              # sets of names that are remembered

# Few callers ask, each for the same names.
cdef dict _asked = {}
cdef Writer _kept


cdef tuple message_signalling(SipMessage message):
    """Give ``(Call-ID, From tag, To tag, branch of the newest Via, CSeq number, method, status code)``.

    The method is that of a request, and in a response that of its CSeq; the status code of a request is 0. What is not
    there is empty, the number -1. No text has more than ``SIGNALLING_TEXT_MAX`` bytes.
    """
    cdef const char *texts[SIGNALLING_TEXTS]
    cdef Signalling head
    _look_at(message, &head, texts)
    return (texts[0][:head.call_id], texts[1][:head.from_tag], texts[2][:head.to_tag], texts[3][:head.branch],
            message.cseq_number, texts[4][:head.method_name], head.status)


cdef bytes message_packed_signalling(SipMessage message):
    """Give the same and what the start line says, as ``otus_core.inline.signalling`` has them."""
    cdef const char *texts[SIGNALLING_TEXTS]
    cdef Signalling head
    _look_at(message, &head, texts)
    return pack_signalling(&head, texts)


cdef void _look(object message, Signalling *head, const char **texts) noexcept:
    _look_at(<SipMessage>message, head, texts)


cdef void _look_at(SipMessage message, Signalling *head, const char **found) noexcept:
    """Fill in the head, and where its texts are in the message."""
    cdef const uint8_t **texts = <const uint8_t **>found
    cdef const uint8_t *value = NULL
    cdef Py_ssize_t length = 0
    cdef Py_ssize_t sizes[SIGNALLING_TEXTS]
    cdef uint16_t *kept = &head.call_id
    cdef bint is_request = message.line.kind == REQUEST
    cdef int i
    for i in range(SIGNALLING_TEXTS):
        texts[i], sizes[i] = message.data, 0
    message.value_of(CALL_ID, &texts[0], &sizes[0])
    _find_tag(message, FROM, &texts[1], &sizes[1])
    _find_tag(message, TO, &texts[2], &sizes[2])
    if message.value_of(VIA, &value, &length):
        _find(value, length, b"branch", 6, &texts[3], &sizes[3])
    if is_request:
        sizes[4] = message.line.method_len
        head.method = message.line.known
    else:
        if message.cseq_method != NULL:
            texts[4], sizes[4] = message.cseq_method, message.cseq_method_len
        head.method = <uint16_t>method_id(texts[4], sizes[4])
    if is_request:
        texts[5], sizes[5] = message.data + message.line.uri, message.line.uri_len
    else:
        texts[5], sizes[5] = message.data + message.line.reason, message.line.reason_len
    head.cseq = <int32_t>(message.cseq_number & 0x7FFFFFFF) if message.cseq_number >= 0 else -1
    head.status = 0 if is_request else <uint16_t>message.line.status
    for i in range(SIGNALLING_TEXTS):
        kept[i] = <uint16_t>whole_letters(<const char *>texts[i], sizes[i],
                                          SIGNALLING_LINE_MAX if i == SIGNALLING_TEXTS - 1 else SIGNALLING_TEXT_MAX)


cdef void _find_tag(SipMessage message, int header, const uint8_t **value, Py_ssize_t *length) noexcept:
    cdef const Address *party
    cdef const uint8_t *text = NULL
    cdef const uint8_t *parameters
    cdef Py_ssize_t size = 0
    if not message.has_read[header == TO]:
        if not message.value_of(header, &text, &size):
            return
        parameters = _behind_brackets(text, size)
        if parameters != NULL:
            size -= parameters - text
            if size == 0:
                return
            # As in ``find_parameter``: nearly always it is the first one
            if size > 5 and memcmp(parameters, b";tag=", 5) == 0 and parameters[5] > 32:
                size = parameter_end(parameters, 5, size) - 5
                if size > 0:
                    value[0], length[0] = parameters + 5, size
                return
    party = message.party(header)
    if party != NULL:
        _find(party.parameters, party.parameters_len, b"tag", 3, value, length)


cdef const uint8_t *_behind_brackets(const uint8_t *text, Py_ssize_t size) noexcept:
    """Give where the parameters of a plain address begin, where ``read_address`` would find them too; NULL where it
    takes a closer look.
    """
    cdef const uint8_t *end = text + size
    cdef const uint8_t *quote
    if size and text[0] == 34:
        quote = <const uint8_t *>memchr(text + 1, 34, size - 1)
        if quote == NULL or memchr(text + 1, 92, quote - text - 1) != NULL:
            return NULL
        text = quote + 1
        while text < end and text[0] == 32:
            text += 1
        if text == end or text[0] != c"<":
            return NULL
    else:
        while text < end and text[0] != c"<":
            if text[0] == c";" or text[0] == c">" or text[0] == 34:
                return NULL
            text += 1
    text = <const uint8_t *>memchr(text, c">", end - text)
    return NULL if text == NULL else text + 1


cdef void _find(const uint8_t *text, Py_ssize_t size, const char *name, Py_ssize_t name_len, const uint8_t **value,
                Py_ssize_t *length) noexcept:
    """Find a parameter of the first value in a field."""
    cdef const uint8_t *found = NULL
    cdef const uint8_t *first
    cdef Py_ssize_t its_length = 0
    size = value_end(text, size)
    first = <const uint8_t *>memchr(text, c";", size)
    if first != NULL and find_parameter(first, text + size - first, name, name_len, &found, &its_length):
        if its_length > 0:
            value[0], length[0] = found, its_length


cdef bytes message_packed_fields(SipMessage message, frozenset names):
    """Give the header fields that are named, as ``otus_core.inline.signalling`` has them: by their names in lower case,
    long or compact, as often as they are there, folds joined.
    """
    cdef Writer out
    cdef bytes made
    take(&_kept, &out)
    try:
        _fields(message, _choose_fields(names), &out)
        made = PyBytes_FromStringAndSize(out.start, written(&out)) if out.start != NULL else b""
    finally:
        keep(&_kept, &out)
    return made


cdef int _fields(object what, object chosen, Writer *out) except -1:
    cdef SipMessage message = <SipMessage>what
    cdef Asked asked = <Asked>chosen
    cdef FieldHead head
    cdef Py_ssize_t i
    cdef Py_ssize_t left = SELECTED_MAX
    cdef const char *value
    cdef const Field *field
    cdef Py_ssize_t length
    cdef char *at
    cdef bytes its_name
    cdef bytes made
    for i in range(message.count):
        field = &message.fields[i]
        if not _looks_wanted(message, field, asked.looks):
            continue
        its_name = asked.find(message.data + field.name, field.name_len)
        if its_name is None:
            continue
        value, length = <const char *>message.data + field.value, field.value_len
        if field.folded:
            made = message.value_text(&message.fields[i]).encode("utf-8", "surrogatepass")
            value, length = PyBytes_AS_STRING(made), PyBytes_GET_SIZE(made)
        head.name = <uint16_t>PyBytes_GET_SIZE(its_name)
        head.value = <uint16_t>whole_letters(value, length, FIELD_VALUE_MAX)
        at = room(out, sizeof(FieldHead) + head.name + head.value)
        memcpy(at, &head, sizeof(FieldHead))
        at += sizeof(FieldHead)
        memcpy(at, PyBytes_AS_STRING(its_name), head.name)
        at += head.name
        memcpy(at, value, head.value)
        out.at = at + head.value
        left -= 1
        if not left:
            break
    return 0


cdef object _description(object what, const char **text, Py_ssize_t *size):
    """Find the session description; gives what holds its bytes, ``None`` where there is none."""
    cdef SipMessage message = <SipMessage>what
    cdef bytes body
    if not message.holds_sdp():
        return None
    if message.is_plain_sdp():
        text[0] = <const char *>message.data + message.body_start
        size[0] = message.size - message.body_start
        return message
    body = message.sdp_body()
    if body is not None:
        text[0], size[0] = PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body)
    return body


cdef inline bint _looks_wanted(SipMessage message, const Field *field, uint64_t looks) noexcept:
    cdef Py_ssize_t length = field.name_len
    return 0 < length < LENGTHS and (looks >> _seems(length, message.data[field.name])) & 1


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
        if not _looks_wanted(message, &message.fields[i], asked.looks):
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


cdef inline int _seems(Py_ssize_t length, uint8_t first) noexcept:
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
            self.looks |= <uint64_t>1 << _seems(len(name), <uint8_t>name[0])
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


cdef object _choose(object names):
    return _choose_fields(<frozenset?>names)


cdef SignallingEntry _entry
_entry.version = SIGNALLING_VERSION
_entry.look = _look
_entry.choose = _choose
_entry.fields = _fields
_entry.description = _description


cdef object signalling_capsule():
    """Give these functions as the class of messages has them for whoever is compiled."""
    return PyCapsule_New(&_entry, b"SIGNALLING", NULL)
