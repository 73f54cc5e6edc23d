"""What is kept of one SIP message while its call lasts: a few hundred bytes in the place of the message.

``write_note`` writes them, ``tell_note`` makes an object of them when somebody wants to know.
"""

from ipaddress import ip_address

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from otus_core.inline.hashing cimport fold, keyed_hash
from otus_core.inline.signalling cimport INVITE, FieldHead, next_field, whole_letters

from otus_calls.fields import ALIKE, LONG, PROOFS, REQUEST_URI, VALUE_MAX, scheme_of

cdef enum:
    REASON_MAX = 128            # bytes
    FIELDS_MAX = 16384
    SHARED_MAX = 4096           # addresses and texts that what is told has in common

cdef tuple _NAMES = ("", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY",
                     "PUBLISH", "INFO", "REFER", "MESSAGE", "UPDATE")      # by Method
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
    a processor multiplies several numbers at a time.
    """
    cdef const char *at = PyBytes_AS_STRING(raw)
    cdef Py_ssize_t left = PyBytes_GET_SIZE(raw)
    cdef uint64_t word[4]
    cdef uint64_t a = _DIGEST_KEY[0]
    cdef uint64_t b = _DIGEST_KEY[1]
    while left >= 32:
        memcpy(word, at, 32)
        a = fold(a ^ word[0], word[1] ^ _DIGEST_KEY[1])
        b = fold(b ^ word[2], word[3] ^ _DIGEST_KEY[0])
        at += 32
        left -= 32
    return fold(a, b ^ _DIGEST_KEY[0]) ^ keyed_hash(_DIGEST_KEY, at, left)


cdef Py_ssize_t note_size(const Signalling *said, bytes fields, bytes body) noexcept:
    """Give how many bytes a note may take."""
    cdef Py_ssize_t size = sizeof(Packed) + said.to_tag + said.branch + _line_size(said)
    if fields is not None:
        size += min(PyBytes_GET_SIZE(fields), FIELDS_MAX)
    if body is not None:
        size += PyBytes_GET_SIZE(body)
    return (size + 7) & ~7


cdef Py_ssize_t _line_size(const Signalling *said) noexcept:
    """Give how much of the start line is kept, at most."""
    if said.status:
        return min(said.line, REASON_MAX)
    return said.line if said.method == INVITE else 0


cdef void write_note(Packed *note, int64_t at, const Flow *flow, int16_t vlan, const Signalling *said, uint64_t digest,
                     uint32_t size, bytes fields, bytes body) noexcept:
    """Write a note where there is room for ``note_size`` bytes. The texts stand behind ``said``."""
    cdef const char *text = <const char *>said + sizeof(Signalling) + said.call_id + said.from_tag
    cdef const char *line = text + said.to_tag + said.branch + said.method_name
    cdef char *out = <char *>note + sizeof(Packed)
    note.time = at
    note.digest = digest
    note.flow = flow[0]
    note.cseq = said.cseq
    note.size = size
    note.span = <uint32_t>note_size(said, fields, body)
    note.vlan = vlan
    note.status = said.status
    note.method = <uint8_t>said.method
    note.by_caller = note.repeat = 0
    note.described = body is not None
    note.to_tag = said.to_tag
    note.branch = said.branch
    note.line = <uint16_t>whole_letters(line, said.line, _line_size(said))
    note.fields = 0 if fields is None else <uint16_t>min(PyBytes_GET_SIZE(fields), FIELDS_MAX)
    note.body = 0 if body is None else <uint16_t>PyBytes_GET_SIZE(body)
    note.room = 0
    memcpy(out, text, said.to_tag + said.branch)
    out += said.to_tag + said.branch
    memcpy(out, line, note.line)
    out += note.line
    if note.fields:
        memcpy(out, PyBytes_AS_STRING(fields), note.fields)
        out += note.fields
    if note.body:
        memcpy(out, PyBytes_AS_STRING(body), note.body)
    note.ident = fold(
        keyed_hash(_DIGEST_KEY, text, said.to_tag + said.branch)
        ^ (<uint64_t>said.status << 32 | <uint32_t>said.cseq) ^ <uint64_t>said.method << 48,
        keyed_hash(_DIGEST_KEY, flow, sizeof(Flow)) ^ said.to_tag,
    )


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
    note.method = _NAMES[kept.method]
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


cdef str _address(const uint8_t *packed, int version):
    """Give an address as text, the same object for equal ones."""
    cdef bytes key = PyBytes_FromStringAndSize(<const char *>packed, 4 if version == 4 else 16)
    found = _shared.get((version, key))
    if found is None:
        if len(_shared) >= SHARED_MAX:
            _shared.clear()
        found = _shared[version, key] = str(ip_address(key)) if version else ""
    return <str>found


cdef str _share(bytes text):
    """Give a text, the same object for equal ones."""
    found = _shared.get(text)
    if found is None:
        if len(_shared) >= SHARED_MAX:
            _shared.clear()
        found = _shared[text] = text.decode("utf-8", "replace")
    return <str>found
