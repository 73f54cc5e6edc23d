"""What is kept of one SIP message while its call lasts: a few hundred bytes in the place of the message."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from otus_core.inline.hashing cimport fold, keyed_hash

cdef enum:
    METHOD_MAX = 32             # letters of a method that are kept

cdef dict _METHODS = {
    b"INVITE": INVITE, b"ACK": ACK, b"BYE": BYE, b"CANCEL": CANCEL, b"PRACK": PRACK, b"UPDATE": UPDATE, b"REFER": REFER,
    b"NOTIFY": NOTIFY, b"INFO": INFO, b"REGISTER": REGISTER,
}
cdef dict _NAMES = {method: method.decode("ascii") for method in (*_METHODS, b"OPTIONS", b"MESSAGE", b"SUBSCRIBE")}

# No secret: two workers must come to the same digest, and nothing is looked up by it.
cdef uint64_t _DIGEST_KEY[2]
_DIGEST_KEY[0] = <uint64_t>0x9E3779B97F4A7C15
_DIGEST_KEY[1] = <uint64_t>0xC2B2AE3D27D4EB4F


cdef uint64_t digest_of(bytes raw) noexcept:
    """Give a number that tells whether two messages are equal to the byte."""
    return keyed_hash(_DIGEST_KEY, PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw))


cdef int method_number(bytes method) except -1:
    """Give the ``Method`` of a name."""
    found = _METHODS.get(method)
    return OTHER_METHOD if found is None else <int>found


@cython.final
@cython.no_gc
@cython.freelist(1024)
cdef class Note:
    """One message. ``make_note`` makes it; nothing changes it but ``repeat``, when its call is looked at."""

    @property
    def from_caller(self):
        """Whether the request, or the request that this answers, is the caller's."""
        return self.by_caller != 0

    def __repr__(self):
        return f"<Note {self.method} {self.status or ''} {self.src} to {self.dst}>"


cdef Note make_note(int64_t time, object ends, uint8_t protocol, int16_t vlan, tuple signalling, object reason,
                    uint64_t digest, uint32_t size, dict fields, bytes body):
    """Make a note. ``ends`` is ``(src, sport, dst, dport)``; ``signalling`` is what ``SipMessage.signalling`` gives."""
    cdef Note note = Note.__new__(Note)
    cdef bytes method = <bytes>signalling[5]
    note.time = time
    note.src, note.sport, note.dst, note.dport = ends
    note.protocol = protocol
    note.vlan = vlan
    note.status = <int16_t>signalling[6]
    note.to_tag = <bytes>signalling[2]
    note.branch = <bytes>signalling[3]
    note.cseq = <int32_t>(<int64_t>signalling[4] & 0x7FFFFFFF) if signalling[4] >= 0 else -1
    note.method_id = <uint8_t>method_number(method)
    name = _NAMES.get(method)
    note.method = method[:METHOD_MAX].decode("utf-8", "replace") if name is None else name
    note.reason = reason
    note.digest = digest
    note.size = size
    note.fields = fields
    note.body = body
    note.ident = fold(
        <uint64_t>hash(note.branch) ^ (<uint64_t>note.status << 32 | <uint32_t>note.cseq),
        <uint64_t>hash(note.to_tag) ^ <uint64_t>hash(note.method),
    ) ^ fold(<uint64_t>hash(note.src) ^ note.sport, <uint64_t>hash(note.dst) ^ (<uint64_t>note.dport << 20) | 1)
    return note
