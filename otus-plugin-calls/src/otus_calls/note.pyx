"""What is kept of one SIP message while its call lasts: a few hundred bytes in the place of the message.

``write_note`` writes them, ``tell_note`` makes an object of them when somebody wants to know.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from otus_core.inline.hashing cimport fold, keyed_hash
from otus_core.inline.signalling cimport INVITE, FieldHead, next_field, whole_letters
from otus_core.inline.text cimport ADDRESS_MAX, print_address

from otus_calls.fields import ALIKE, LONG, PROOFS, REQUEST_URI, VALUE_MAX, scheme_of

cdef enum:
    REASON_MAX = 128            # bytes
    FIELDS_MAX = 16384
    SHARED_MAX = 4096           # texts that what is told has in common

cdef tuple METHOD_NAMES = ("", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY",
                           "PUBLISH", "INFO", "REFER", "MESSAGE", "UPDATE")      # by Method
cdef dict _TRANSPORTS = {6: "TCP", 17: "UDP", 132: "SCTP"}      # IANA's protocol numbers
cdef dict _LONG = LONG
cdef frozenset _PROOFS = frozenset(PROOFS)
cdef frozenset _ALIKE = ALIKE
cdef dict _shared = {}

# No secret: two workers must come to the same digest, and nothing is looked up by it.
cdef uint64_t _DIGEST_KEY[2]
_DIGEST_KEY[0] = <uint64_t>0x9E3779B97F4A7C15
_DIGEST_KEY[1] = <uint64_t>0xC2B2AE3D27D4EB4F


cdef uint64_t digest_of(bytes raw) noexcept:
    """Give a number that tells whether two messages are equal to the byte: four words a step, each on its own, because
    a processor multiplies several numbers at a time. Whoever makes two messages with one number has one of them count
    as a copy instead of a retransmission, no more.
    """
    cdef const char *at = PyBytes_AS_STRING(raw)
    cdef Py_ssize_t left = PyBytes_GET_SIZE(raw)
    cdef uint64_t one
    cdef uint64_t two
    cdef uint64_t three
    cdef uint64_t four
    cdef uint64_t a = _DIGEST_KEY[0]
    cdef uint64_t b = _DIGEST_KEY[1]
    cdef uint64_t c = 1
    cdef uint64_t d = 2
    cdef uint64_t factor = _DIGEST_KEY[0] | 1
    while left >= 32:
        memcpy(&one, at, 8)
        memcpy(&two, at + 8, 8)
        memcpy(&three, at + 16, 8)
        memcpy(&four, at + 24, 8)
        a = (a ^ one) * factor          # an odd factor loses nothing
        b = (b ^ two) * factor
        c = (c ^ three) * factor
        d = (d ^ four) * factor
        at += 32
        left -= 32
    return fold(a ^ _DIGEST_KEY[1], b) ^ fold(c ^ _DIGEST_KEY[0], d) ^ keyed_hash(_DIGEST_KEY, at, left)


cdef Py_ssize_t note_size(const Heard *heard) noexcept:
    """Give how many bytes a note may take."""
    cdef const Signalling *said = heard.head
    cdef Py_ssize_t size = sizeof(Packed) + said.to_tag + said.branch + _line_size(said) + heard.body_len
    return (size + min(heard.fields_len, FIELDS_MAX) + 7) & ~7


cdef inline Py_ssize_t _line_size(const Signalling *said) noexcept:
    """Give how much of the start line is kept, at most."""
    if said.status:
        return min(said.line, REASON_MAX)
    return said.line if said.method == INVITE else 0


cdef void write_note(Packed *note, const Heard *heard, Py_ssize_t span) noexcept:
    """Write a note where there is room for ``span`` bytes, which ``note_size`` gave."""
    cdef const Signalling *said = heard.head
    cdef char *out = <char *>note + sizeof(Packed)
    note.time = heard.time
    note.digest = heard.digest
    note.flow = heard.flow[0]
    note.cseq = said.cseq
    note.size = heard.size
    note.span = <uint32_t>span
    note.vlan = heard.vlan
    note.status = said.status
    note.method = <uint8_t>said.method
    note.by_caller = note.repeat = 0
    note.described = heard.described
    note.to_tag = said.to_tag
    note.branch = said.branch
    note.line = <uint16_t>whole_letters(heard.texts[5], said.line, _line_size(said))
    note.fields = <uint16_t>min(heard.fields_len, FIELDS_MAX)
    note.body = <uint16_t>heard.body_len
    note.room = 0
    memcpy(out, heard.texts[2], said.to_tag)
    memcpy(out + said.to_tag, heard.texts[3], said.branch)
    note.ident = fold(
        keyed_hash(_DIGEST_KEY, out, said.to_tag + said.branch)
        ^ (<uint64_t>said.status << 32 | <uint32_t>said.cseq) ^ <uint64_t>said.method << 48,
        keyed_hash(_DIGEST_KEY, heard.flow, sizeof(Flow)) ^ said.to_tag,
    )
    out += said.to_tag + said.branch
    memcpy(out, heard.texts[5], note.line)
    out += note.line
    if note.fields:
        memcpy(out, heard.fields, note.fields)
        out += note.fields
    if note.body:
        memcpy(out, heard.body, note.body)


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Note:
    """One message, as it is told."""

    def __repr__(self):
        return f"<Note {self.method} {self.status or ''} {self.src} to {self.dst}>"


cdef Note tell_note(const Packed *kept):
    """Make a note of what is kept of a message."""
    cdef Note note = Note.__new__(Note)
    cdef const char *at = text_of(kept)
    note.time = kept.time
    note.src = _address(kept.flow.src, kept.flow.version)
    note.dst = _address(kept.flow.dst, kept.flow.version)
    note.sport, note.dport = kept.flow.src_port, kept.flow.dst_port
    note.protocol = kept.flow.protocol
    note.repeat = kept.repeat
    note.vlan = kept.vlan
    note.status = <int16_t>kept.status
    note.cseq = kept.cseq
    note.size = kept.size
    note.method = METHOD_NAMES[kept.method]
    note.to_tag = PyBytes_FromStringAndSize(at, kept.to_tag)
    note.branch = PyBytes_FromStringAndSize(at + kept.to_tag, kept.branch)
    line = (at + kept.to_tag + kept.branch)[:kept.line]
    note.reason = _share(line) if kept.status else None
    fields = tell_fields(fields_of(kept), kept.fields)
    if line and not kept.status:
        fields[REQUEST_URI] = line.decode("utf-8", "replace")
    note.fields = fields or None
    note.body = PyBytes_FromStringAndSize(body_of(kept), kept.body) if kept.described else None
    note.from_caller = kept.by_caller
    return note


cdef dict tell_fields(const char *at, Py_ssize_t size):
    """Make texts of header fields. Several of a name are joined with a comma (RFC 3261 §7.3.1)."""
    cdef const char *end = at + size
    cdef FieldHead head
    cdef dict kept = {}
    at = next_field(at, end, &head)
    while at != NULL:
        name = _share(at[:head.name])
        if name in _ALIKE:
            value = _share((at + head.name)[:head.value])
        else:
            value = (at + head.name)[:head.value].decode("utf-8", "replace")
        value = scheme_of(value) if name in _PROOFS else value[:VALUE_MAX]
        name = _LONG.get(name, name)
        kept[name] = f"{kept[name]}, {value}"[:VALUE_MAX] if name in kept else value
        at = next_field(at + head.name + head.value, end, &head)
    return kept


cdef str transport_of(int protocol):
    """Give the name of a transport, the number of one that SIP does not use."""
    found = _TRANSPORTS.get(protocol)
    return str(protocol) if found is None else <str>found


cdef str _address(const uint8_t *packed, int version):
    """Give an address as text, empty for none."""
    cdef char text[ADDRESS_MAX]
    return text[:print_address(text, packed, version) - text].decode("ascii") if version else ""


cdef str _share(bytes text):
    """Give a text, the same object for equal ones."""
    found = _shared.get(text)
    if found is None:
        if len(_shared) >= SHARED_MAX:
            _shared.clear()
        found = _shared[text] = text.decode("utf-8", "replace")
    return <str>found
