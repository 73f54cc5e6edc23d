"""A SIP message: scanned once into offsets, everything else made when it is asked for.

In: the bytes of one message, start line to end of body. Header names are compared without regard to case, compact forms are known, folded lines are joined with one blank
(RFC 3261 §7.3.1). Both CRLF and a bare LF end a line.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memset

from otus_core import ParseError

from otus_sip.address cimport Address, find_parameter, read_address, value_end
from otus_sip.json cimport message_json
from otus_sip.labels cimport message_label, message_labels
from otus_sip.scan cimport (
    CALL_ID, CONTACT, CONTENT_LENGTH, CONTENT_TYPE, CSEQ, FROM, MALFORMED, NOT_SIP, OTHER, REQUEST, TO, VIA,
    classify, header_id, is_token, number, same_text, skip_crlf,
)
from otus_sip.sdp cimport read_sdp
from otus_sip.verdict cimport verdict

cdef extern from *:
    """
    #define otus_ctzll __builtin_ctzll
    """
    int ctzll "otus_ctzll" (uint64_t word) nogil

LONG_NAMES = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition", "e": "content-encoding", "f": "from",
    "i": "call-id", "j": "reject-contact", "k": "supported", "l": "content-length", "m": "contact", "n": "identity-info", "o": "event",
    "r": "refer-to", "s": "subject", "t": "to", "u": "allow-events", "v": "via", "x": "session-expires", "y": "identity",
}
"""Compact forms and what they stand for, as IANA's registry of SIP header fields has them."""

cdef enum:
    FIELDS_AT_ONCE = 64
    FIELDS_KEPT = 1024      # no phone sends as many
    NAME_MAX = 65535

PARTS_MAX = 64
"""Parts of a multipart body that are looked at; calls have two or three."""


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
    if message.cseq_number > 0xFFFFFFFF:
        message.cseq_number = -1
    while at < length and _white(value[at]):
        at += 1
    if is_token(value + at, length - at):
        message.cseq_method = value + at
        message.cseq_method_len = length - at


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class SipMessage:
    """One SIP message, and the source of its labels. ``raw`` are its own bytes. Text is UTF-8; what is not becomes U+FFFD."""

    def __cinit__(self):
        memset(self.first, 0xFF, sizeof(self.first))

    def __init__(self):
        raise TypeError("use otus_sip.parse(data)")

    def __dealloc__(self):
        PyMem_Free(self.fields)

    def label(self, str name not None):
        """Give one of the labels ``sip.…``, ``None`` where it does not apply."""
        return message_label(self, name)

    def labels(self):
        """Give all labels that apply."""
        return message_labels(self)

    cdef str text(self, const uint8_t *start, Py_ssize_t length):
        return PyUnicode_DecodeUTF8(<const char *>start, length, b"replace")

    cdef str value_text(self, Field *field):
        """Give a field's value, folds joined with one blank."""
        cdef str value = self.text(self.data + field.value, field.value_len)
        if not field.folded:
            return value
        return " ".join([part.strip(" \t\r") for part in value.split("\n")]).strip()

    cdef bint value_of(self, int header, const uint8_t **value, Py_ssize_t *length) noexcept nogil:
        cdef int i = self.first[header]
        if i < 0:
            return False
        value[0] = self.data + self.fields[i].value
        length[0] = self.fields[i].value_len
        return True

    cdef bint holds_sdp(self) noexcept nogil:
        """Whether there is a body that says it is SDP, or holds one among its parts."""
        cdef const uint8_t *value = NULL
        cdef Py_ssize_t length = 0
        if self.body_start >= self.size or not self.value_of(CONTENT_TYPE, &value, &length):
            return False
        if length >= 15 and same_text(value, b"application/sdp", 15):
            return True
        return length >= 10 and same_text(value, b"multipart/", 10)

    cdef bint is_plain_sdp(self) noexcept nogil:
        """Whether the whole body is SDP."""
        cdef const uint8_t *value = NULL
        cdef Py_ssize_t length = 0
        return self.value_of(CONTENT_TYPE, &value, &length) and length >= 15 and same_text(value, b"application/sdp", 15)

    @property
    def is_request(self):
        return self.line.kind == REQUEST

    @property
    def method(self):
        """The method of a request, ``None`` for a response."""
        return self.text(self.data, self.line.method_len) if self.line.kind == REQUEST else None

    @property
    def request_uri(self):
        return self.text(self.data + self.line.uri, self.line.uri_len) if self.line.kind == REQUEST else None

    @property
    def status_code(self):
        """The status code of a response, ``None`` for a request."""
        return self.line.status if self.line.kind != REQUEST else None

    @property
    def reason(self):
        return self.text(self.data + self.line.reason, self.line.reason_len) if self.line.kind != REQUEST else None

    @property
    def version(self):
        return "SIP/2.0"

    @property
    def headers(self):
        """All header fields in order, as ``(name, value)``; names as they were written."""
        cdef Py_ssize_t i
        return [
            (self.text(self.data + self.fields[i].name, self.fields[i].name_len), self.value_text(&self.fields[i]))
            for i in range(self.count)
        ]

    def header_all(self, str name not None):
        """Give every value of a header field, compact forms included."""
        wanted = name.lower()
        wanted = LONG_NAMES.get(wanted, wanted)
        return [value for its_name, value in self.headers if LONG_NAMES.get(its_name.lower(), its_name.lower()) == wanted]

    def header(self, str name not None, default=None):
        """Give the first value of a header field, or ``default``."""
        values = self.header_all(name)
        return values[0] if values else default

    @property
    def call_id(self):
        return self.value_text(&self.fields[self.first[CALL_ID]]) if self.first[CALL_ID] >= 0 else None

    @property
    def cseq(self):
        """``(number, method)``, or ``None`` where there is no sound CSeq."""
        if self.cseq_number < 0 or self.cseq_method == NULL:
            return None
        return self.cseq_number, self.text(self.cseq_method, self.cseq_method_len)

    @property
    def from_(self):
        return self._party(FROM)

    @property
    def to(self):
        return self._party(TO)

    @property
    def contact(self):
        """Every Contact, as ``NameAddress``; ``*`` is one whose URI is ``*``."""
        return [_name_address(self, self.data + <Py_ssize_t>start, length) for start, length in self._values(CONTACT)]

    @property
    def via(self):
        """Every Via hop, comma lists split, the newest first."""
        return [self.text(self.data + <Py_ssize_t>start, length).strip() for start, length in self._values(VIA)]

    @property
    def content_type(self):
        return self.value_text(&self.fields[self.first[CONTENT_TYPE]]) if self.first[CONTENT_TYPE] >= 0 else None

    @property
    def content_length(self):
        """What Content-Length says, ``None`` where it is missing or no number."""
        cdef const uint8_t *value = NULL
        cdef Py_ssize_t length = 0
        if not self.value_of(CONTENT_LENGTH, &value, &length):
            return None
        length = number(value, length)
        return None if length < 0 else length

    @property
    def body(self):
        return self.raw[self.body_start:]

    @property
    def parts(self):
        """The parts of a multipart body (RFC 2046 §5.1) as ``(content type, body)``; of another body, that one."""
        return body_parts(self.content_type or "", self.body)

    @property
    def sdp(self):
        """The session description, ``None`` where there is none."""
        if self._sdp is None and self.holds_sdp():
            body = self.sdp_body()
            if body is not None:
                self._sdp = read_sdp(body)
        return self._sdp

    cdef object sdp_body(self):
        """Give the body that is SDP, or the first such part of a multipart body, ``None`` where there is none."""
        for kind, body in self.parts:
            if kind.lower().startswith("application/sdp"):
                return body
        return None

    @property
    def malformed(self):
        """What is wrong with the message, as short texts; empty for a sound one."""
        found = verdict(self)
        return [] if found is None else [found]

    def to_json(self):
        """Give the message as one JSON object, in ASCII."""
        return message_json(self)

    def __repr__(self):
        what = self.method or f"{self.status_code} {self.reason}"
        return f"<SipMessage {what!r}, {len(self.raw)} bytes>"

    def _party(self, int header):
        cdef const uint8_t *value = NULL
        cdef Py_ssize_t length = 0
        if not self.value_of(header, &value, &length):
            return None
        return _name_address(self, value, length)

    def _values(self, int header):
        """Give start and length of each value of a header field, comma lists split."""
        cdef Py_ssize_t i
        cdef Py_ssize_t at
        cdef Py_ssize_t end
        cdef Py_ssize_t step
        cdef list found = []
        for i in range(self.count):
            if self.fields[i].id != header:
                continue
            at = self.fields[i].value
            end = at + self.fields[i].value_len
            while at <= end:
                step = value_end(self.data + at, end - at)
                while step and _white(self.data[at]):
                    at += 1
                    step -= 1
                found.append((at, step))
                at += step + 1
        return found


@cython.final
cdef class NameAddress:
    """A party: ``display`` (empty where there is none), ``uri``, ``tag`` (or ``None``)."""

    cdef readonly str display
    cdef readonly str uri
    cdef readonly object tag

    def __repr__(self):
        return f"NameAddress(display={self.display!r}, uri={self.uri!r}, tag={self.tag!r})"


cdef NameAddress _name_address(SipMessage message, const uint8_t *value, Py_ssize_t length):
    cdef NameAddress party = NameAddress.__new__(NameAddress)
    cdef Address found
    cdef const uint8_t *tag = NULL
    cdef Py_ssize_t tag_len = 0
    read_address(value, length, &found)
    party.display = message.text(found.display, found.display_len).replace("\\\"", '"') if found.display_len > 0 else ""
    party.uri = message.text(found.uri, found.uri_len) if found.uri_len > 0 else ""
    party.tag = None
    if find_parameter(found.parameters, found.parameters_len, b"tag", 3, &tag, &tag_len):
        party.tag = message.text(tag, tag_len)
    return party


def body_parts(str content_type, bytes body):
    """Split a multipart body; bounded by ``PARTS_MAX``, linear in its size."""
    if not content_type.lower().startswith("multipart/"):
        return [(content_type, body)]
    _, found, boundary = content_type.partition("boundary=")
    boundary = boundary.split(";")[0].strip().strip('"')
    if not found or not boundary:
        return []
    parts = []
    for piece in body.split(b"--" + boundary.encode("utf-8", "replace"), PARTS_MAX + 1)[1:]:
        if piece.startswith(b"--"):
            break
        head, separator, content = piece.lstrip(b" \t").partition(b"\r\n\r\n")
        if not separator:
            head, separator, content = piece.partition(b"\n\n")
        kind = ""
        for line in head.splitlines():
            name, _, value = line.partition(b":")
            if name.strip().lower() in (b"content-type", b"c"):
                kind = value.strip().decode("utf-8", "replace")
        parts.append((kind, content.removesuffix(b"\n").removesuffix(b"\r")))
    return parts


def parse(data):
    """Parse one SIP message, as a datagram holds it. Raises ParseError for what is not SIP and for what RFC 4475 calls invalid."""
    cdef bytes raw = bytes(data)
    cdef SipMessage message = _parse(raw)
    found = verdict(message)
    if found is not None:
        raise ParseError(found)
    return message


cdef SipMessage _parse(bytes raw):
    cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(raw)
    cdef Py_ssize_t begin = skip_crlf(start, PyBytes_GET_SIZE(raw))
    cdef Py_ssize_t size = PyBytes_GET_SIZE(raw) - begin
    cdef Line line
    cdef int kind = classify(start + begin, size, &line)
    if kind == NOT_SIP or kind == MALFORMED:
        raise ParseError("not a SIP start line" if kind == NOT_SIP else "malformed start line")
    return read_message(raw, begin, -1, &line)
