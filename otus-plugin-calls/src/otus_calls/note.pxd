from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


# What is kept of one SIP message.
cdef class Note:
    cdef readonly int64_t time          # ns since 1970
    cdef readonly object src            # address as text, shared by the notes of a flow
    cdef readonly object dst
    cdef readonly uint16_t sport        # these in an order that leaves no gaps: 128 bytes a note
    cdef readonly uint16_t dport
    cdef readonly uint8_t protocol
    cdef readonly uint8_t method_id     # a Method
    cdef uint8_t by_caller              # the request, or the request that this answers, is the caller's
    cdef readonly uint8_t repeat        # a Repeat
    cdef readonly int16_t vlan          # the outermost, -1 where there is none
    cdef readonly int16_t status        # 0 for a request
    cdef readonly int32_t cseq
    cdef readonly uint32_t size
    cdef readonly object method         # text; of a response, that of its CSeq
    cdef readonly object reason         # text of a response, or None
    cdef readonly bytes to_tag
    cdef readonly bytes branch
    cdef readonly dict fields           # header fields that matter, of the messages that have them, or None
    cdef readonly bytes body            # the session description, or None
    cdef uint64_t ident                 # of everything that makes two messages the same one
    cdef uint64_t digest                # of the whole message


cdef enum Method:
    OTHER_METHOD = 0
    INVITE = 1
    ACK = 2
    BYE = 3
    CANCEL = 4
    PRACK = 5
    UPDATE = 6
    REFER = 7
    NOTIFY = 8
    INFO = 9
    REGISTER = 10


cdef enum Repeat:
    NO_REPEAT = 0
    RETRANSMISSION = 1
    DUPLICATE = 2


cdef Note make_note(int64_t time, object ends, uint8_t protocol, int16_t vlan, tuple signalling, object reason,
                    uint64_t digest, uint32_t size, dict fields, bytes body)
cdef int method_number(bytes method) except -1
cdef uint64_t digest_of(bytes raw) noexcept
