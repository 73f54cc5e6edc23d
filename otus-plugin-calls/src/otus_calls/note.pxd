from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

from otus_core.inline.layouts cimport Flow
from otus_core.inline.signalling cimport SIGNALLING_TEXTS, Signalling


# What is kept of one SIP message, in this order behind it: To tag, branch, line, header fields, session description.
# A call holds them each in a piece of memory of its own: growing one piece moved all of it again and again.
cdef struct Packed:
    int64_t time            # ns since 1970
    uint64_t ident          # of everything that makes two messages the same one
    uint64_t digest         # of the whole message
    Flow flow
    int32_t cseq
    uint32_t size           # of the message
    uint32_t span           # bytes of the note
    int16_t vlan            # the outermost, -1 where there is none
    uint16_t status         # 0 for a request
    uint8_t method          # a Method
    uint8_t by_caller       # the request, or the request that this answers, is the caller's
    uint8_t repeat          # a Repeat
    uint8_t described       # there is a session description, maybe an empty one
    uint16_t to_tag         # this and the following are sizes in bytes
    uint16_t branch
    uint16_t line           # the reason phrase of a response, the Request-URI of an INVITE
    uint16_t fields         # as ``otus_core.inline.signalling`` has them
    uint16_t body
    uint16_t room


# A message as it is taken, with what is to be kept of it where it stands.
cdef struct Heard:
    int64_t time
    const Flow *flow
    const Signalling *head
    const char *texts[SIGNALLING_TEXTS]     # in the order of their sizes in the head
    const char *fields          # as ``otus_core.inline.signalling`` has them
    const char *body
    uint64_t digest
    uint32_t size               # of the message
    uint32_t fields_len
    uint32_t body_len
    int16_t vlan
    bint described


cdef extern from *:
    void prefetch "__builtin_prefetch" (const void *at) noexcept nogil


cdef enum Repeat:
    NO_REPEAT = 0
    RETRANSMISSION = 1
    DUPLICATE = 2


cdef enum:
    ADDRESS = 16                # bytes of an address; those of IPv4 have zeros behind them
    SIDE = 24                   # bytes of an end: address, port, IP version


# A note as it is told.
cdef class Note:
    cdef readonly int64_t time
    cdef readonly object src            # address as text
    cdef readonly object dst
    cdef readonly uint16_t sport
    cdef readonly uint16_t dport
    cdef readonly uint8_t protocol
    cdef readonly uint8_t repeat
    cdef readonly int16_t vlan
    cdef readonly int16_t status
    cdef readonly int32_t cseq
    cdef readonly uint32_t size
    cdef readonly object method         # text; of a response, that of its CSeq
    cdef readonly object reason         # text of a response, or None
    cdef readonly bytes to_tag
    cdef readonly bytes branch
    cdef readonly dict fields           # header fields that matter, of the messages that have them, or None
    cdef readonly bytes body            # the session description, or None
    cdef readonly bint from_caller      # the request, or the request that this answers, is the caller's


cdef tuple METHOD_NAMES         # by Method


cdef Note tell_note(const Packed *note)
cdef str transport_of(int protocol)
cdef dict tell_fields(const char *at, Py_ssize_t size)
cdef uint64_t digest_of(bytes raw) noexcept


cdef inline const char *text_of(const Packed *note) noexcept nogil:
    return <const char *>note + sizeof(Packed)


cdef inline const char *fields_of(const Packed *note) noexcept nogil:
    return text_of(note) + note.to_tag + note.branch + note.line


cdef inline const char *body_of(const Packed *note) noexcept nogil:
    return fields_of(note) + note.fields


cdef inline bint is_from(const Packed *note, const Flow *other) noexcept nogil:
    """Whether a message is from where a flow begins."""
    return note.flow.src_port == other.src_port and _same(note.flow.src, other.src)


cdef inline bint is_to(const Packed *note, const Flow *other) noexcept nogil:
    """Whether a message goes where a flow begins."""
    return note.flow.dst_port == other.src_port and _same(note.flow.dst, other.src)


cdef inline bint _same(const uint8_t *one, const uint8_t *other) noexcept nogil:
    # Not as two numbers of eight bytes: in a Flow the addresses are not aligned to that (C11 6.3.2.3).
    return memcmp(one, other, ADDRESS) == 0


cdef Py_ssize_t note_size(const Heard *heard) noexcept
cdef void write_note(Packed *note, const Heard *heard, Py_ssize_t span) noexcept
