"""A SIP message: scanned once into offsets, everything else made when it is asked for.

In: the bytes of one message, start line to end of body. Header names are compared without regard to case, compact forms
are known, folded lines are joined with one blank (RFC 3261 §7.3.1). Both CRLF and a bare LF end a line.
"""

import re

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memset

from otus_core import ParseError
from otus_sip.body import DAMAGED, TOO_DEEP, TOO_LARGE, UNKNOWN_CODING, Bodies

from otus_sip.address cimport Address, find_parameter, is_white, read_address, value_end
from otus_sip.json cimport message_json
from otus_sip.labels cimport message_label, message_labels
from otus_sip.line cimport message_line
from otus_sip.packed cimport message_packed_labels
from otus_sip.reading cimport read_message
from otus_sip.scan cimport (
    CALL_ID, CONTACT, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, FROM, MALFORMED, NOT_SIP,
    REQUEST, TO, VIA, classify, is_sdp, number, same_text, skip_crlf,
)
from otus_sip.sdp cimport read_sdp
from otus_sip.signalling cimport message_packed_fields, message_packed_signalling, signalling_capsule
from otus_sip.verdict cimport verdict
from otus_sip.folds cimport unfold

LONG_NAMES = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition", "e": "content-encoding",
    "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported", "l": "content-length", "m": "contact",
    "n": "identity-info", "o": "event", "r": "refer-to", "s": "subject", "t": "to", "u": "allow-events", "v": "via",
    "x": "session-expires", "y": "identity",
}
"""Compact forms and what they stand for, as IANA's registry of SIP header fields has them."""

cdef object _PAIR = re.compile(r"\\(.)", re.DOTALL)

# Faults of bodies as constant texts: a message keeps a pointer.
cdef dict _BODY_FAULTS = {text: text.encode("ascii") for text in (DAMAGED, TOO_DEEP, TOO_LARGE, UNKNOWN_CODING)}


@cython.final
@cython.no_gc
@cython.freelist(512)
cdef class SipMessage:
    """One SIP message, and the source of its labels.

    ``raw`` are its bytes, and those that a datagram has behind it. Text is UTF-8; what is not becomes U+FFFD.
    """

    SIGNALLING = signalling_capsule()

    def __init__(self):
        raise TypeError("use otus_sip.parse(data)")

    def __cinit__(self):
        memset(self.first, 0xFF, sizeof(self.first))

    def __dealloc__(self):
        PyMem_Free(self.fields)

    def label(self, str name not None):
        """Give one of the labels ``sip.…``, ``None`` where it does not apply."""
        return message_label(self, name)

    def labels(self):
        """Give all labels that apply."""
        return message_labels(self)

    def packed_labels(self):
        """Give all labels that apply, as ``otus_core.packed_labels`` has them."""
        return message_packed_labels(self)

    def packed_signalling(self):
        """Give what tells the messages of calls apart, as ``otus_core/inline/signalling.pxd`` has it."""
        return message_packed_signalling(self)

    def packed_fields(self, frozenset names not None):
        """Give the header fields of these names, which are in lower case, as ``signalling.pxd`` has them."""
        return message_packed_fields(self, names)

    @property
    def description(self):
        """The bytes of the session description, content coding undone, or ``None``."""
        return self.sdp_body() if self.holds_sdp() else None

    cdef str text(self, const uint8_t *start, Py_ssize_t length):
        """Give a piece of the message, folds joined with one blank (RFC 3261 §7.3.1)."""
        cdef str value = PyUnicode_DecodeUTF8(<const char *>start, length, b"replace")
        return value if memchr(start, 10, length) == NULL else unfold(value)

    cdef str value_text(self, Field *field):
        """Give a field's value."""
        return self.text(self.data + field.value, field.value_len)

    cdef str field_text(self, int header):
        """Give the value of the first such field, empty where there is none."""
        return self.value_text(&self.fields[self.first[header]]) if self.first[header] >= 0 else ""

    cdef bint is_named(self, Field *field, str name):
        """Whether a field has this name (in lower case), in its long or compact form."""
        cdef str its_name
        if field.name_len != 1 and field.name_len != len(name):
            return False
        its_name = self.text(self.data + field.name, field.name_len).lower()
        return its_name == name or LONG_NAMES.get(its_name) == name

    cdef str display_text(self, const Address *found):
        """Give a display name, quoted pairs undone (RFC 3261 §25.1)."""
        cdef str name = self.text(found.display, found.display_len) if found.display_len > 0 else ""
        return _PAIR.sub(r"\1", name) if found.quoted and "\\" in name else name

    cdef bint value_of(self, int header, const uint8_t **value, Py_ssize_t *length) noexcept nogil:
        cdef int i = self.first[header]
        if i < 0:
            return False
        value[0] = self.data + self.fields[i].value
        length[0] = self.fields[i].value_len
        return True

    cdef const Address *party(self, int header) noexcept nogil:
        """Give the address in From or To, NULL where there is no such field."""
        cdef const uint8_t *value = NULL
        cdef Py_ssize_t length = 0
        cdef int which = header == TO
        if not self.has_read[which]:
            if not self.value_of(header, &value, &length):
                return NULL
            read_address(value, length, &self.parties[which])
            self.has_read[which] = True
        return &self.parties[which]

    cdef bint holds_sdp(self) noexcept nogil:
        """Whether there is a body that says it is SDP, or holds one among its parts."""
        cdef const uint8_t *value = NULL
        cdef Py_ssize_t length = 0
        if self.body_start >= self.size or not self.value_of(CONTENT_TYPE, &value, &length):
            return False
        return is_sdp(value, length) or (length >= 10 and same_text(value, b"multipart/", 10))

    cdef bint is_plain_sdp(self) noexcept nogil:
        """Whether the whole body is the session's SDP, as it is."""
        cdef const uint8_t *value = NULL
        cdef Py_ssize_t length = 0
        if self.first[CONTENT_ENCODING] >= 0 or self.first[CONTENT_DISPOSITION] >= 0:
            return False
        return self.value_of(CONTENT_TYPE, &value, &length) and is_sdp(value, length)

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
        return [value for its_name,
                value in self.headers if LONG_NAMES.get(its_name.lower(), its_name.lower()) == wanted]

    def header(self, str name not None, default=None):
        """Give the first value of a header field, or ``default``."""
        cdef Py_ssize_t i
        cdef str wanted = name.lower()
        wanted = LONG_NAMES.get(wanted, wanted)
        for i in range(self.count):
            if self.is_named(&self.fields[i], wanted):
                return self.value_text(&self.fields[i])
        return default

    @property
    def call_id(self):
        return self.field_text(CALL_ID) if self.first[CALL_ID] >= 0 else None

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
        cdef Address found
        cdef list contacts = []
        for start, length in self._values(CONTACT):
            read_address(self.data + <Py_ssize_t>start, length, &found)
            contacts.append(_name_address(self, &found))
        return contacts

    @property
    def via(self):
        """Every Via hop, comma lists split, the newest first."""
        return [self.text(self.data + <Py_ssize_t>start, length) for start, length in self._values(VIA)]

    @property
    def content_type(self):
        return self.field_text(CONTENT_TYPE) if self.first[CONTENT_TYPE] >= 0 else None

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
        return self.raw[self.body_start:self.size]

    @property
    def trailing(self):
        """What a datagram has behind the body (RFC 3261 §18.3: it is no part of the message)."""
        return self.raw[self.size:]

    cdef Py_ssize_t trailing_size(self) noexcept:
        """Give how many bytes a datagram has behind the body, 0 where they are line ends alone, which
        some phones add.
        """
        cdef Py_ssize_t i
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.raw) - self.size
        for i in range(size):
            if self.data[self.size + i] != 13 and self.data[self.size + i] != 10:
                return size
        return 0

    @property
    def parts(self):
        """Every body as ``(content type, body)``: those of a multipart body (RFC 2046 §5.1) in order, nested ones in
        their place, content codings undone.
        """
        return [(part.kind, part.content) for part in self._bodies().parts]

    @property
    def sdp(self):
        """The description of the session, ``None`` where there is none."""
        if self._sdp is None and self.holds_sdp():
            body = self.sdp_body()
            if body is not None:
                self._sdp = read_sdp(body)
        return self._sdp

    cdef object sdp_body(self):
        """Give the body that describes the session, or the first such part of a multipart body, ``None`` where there is
        none.
        """
        if self.is_plain_sdp():
            return self.body
        if not self.has_bodies:
            bodies = self._bodies()
            self.session_body = bodies.session()
            if bodies.fault is not None:
                self.body_fault = PyBytes_AS_STRING(_BODY_FAULTS[bodies.fault])
            self.has_bodies = True
        return self.session_body

    def _bodies(self):
        return Bodies(self.content_type or "", self.field_text(CONTENT_ENCODING), self.field_text(CONTENT_DISPOSITION),
                      self.body)

    @property
    def malformed(self):
        """What is wrong with the message, as short texts; empty for a sound one."""
        found = verdict(self)
        return [] if found is None else [found]

    def to_json(self):
        """Give the message as one JSON object, in ASCII."""
        return message_json(self)

    def to_line(self, Py_ssize_t columns=0):
        """Give the message in a line of UTF-8, not escaped, for ``columns`` columns, 0 for any number."""
        return message_line(self, columns)

    def __repr__(self):
        what = self.method or f"{self.status_code} {self.reason}"
        return f"<SipMessage {what!r}, {len(self.raw)} bytes>"

    def _party(self, int header):
        cdef const Address *found = self.party(header)
        return None if found == NULL else _name_address(self, found)

    def _values(self, int header):
        """Give start and length of each value of a header field, comma lists split."""
        cdef Py_ssize_t i
        cdef Py_ssize_t at
        cdef Py_ssize_t end
        cdef Py_ssize_t step
        cdef Py_ssize_t size
        cdef list found = []
        for i in range(self.count):
            if self.fields[i].id != header:
                continue
            at = self.fields[i].value
            end = at + self.fields[i].value_len
            while at <= end:
                step = value_end(self.data + at, end - at)
                size = step
                while size and is_white(self.data[at]):
                    at += 1
                    size -= 1
                    step -= 1
                while size and is_white(self.data[at + size - 1]):
                    size -= 1
                found.append((at, size))
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


cdef NameAddress _name_address(SipMessage message, const Address *found):
    cdef NameAddress party = NameAddress.__new__(NameAddress)
    cdef const uint8_t *tag = NULL
    cdef Py_ssize_t tag_len = 0
    party.display = message.display_text(found)
    party.uri = message.text(found.uri, found.uri_len) if found.uri_len > 0 else ""
    party.tag = None
    if find_parameter(found.parameters, found.parameters_len, b"tag", 3, &tag, &tag_len):
        party.tag = message.text(tag, tag_len)
    return party


def parse(data):
    """Parse one SIP message. Raises ParseError for what is not SIP and for what RFC 4475 calls invalid."""
    cdef bytes raw = bytes(memoryview(data))    # not bytes(data): of a number that makes as many zeros
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
    return read_message(raw, begin, -1, &line, False)
