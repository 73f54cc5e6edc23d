from libc.stdint cimport int64_t, uint32_t, uint64_t

from otus_core.model.accounts cimport Accounts
from otus_core.model.packet cimport DecodedPacket
from otus_core.stream.framer cimport Framer
from otus_core.stream.table cimport Stream, Table


# What became of a segment.
cdef enum:
    PASSED = 0                  # no parser's stream: it is a packet as any other
    TAKEN = 1                   # counted; its messages, if it made any whole, are in ``ready``
    MESSAGE = 2                 # it is a message itself, of the framer ``owner``

# Places in OUTCOMES.
cdef enum:
    GAP = 0
    RETRANSMISSION = 1
    NO_MESSAGE = 2
    TOO_LARGE = 3
    LIMIT = 4
    ENDED = 5
    CONTROL = 6
    COMPRESSED = 7
    OUTCOMES_COUNT = 8
    # What ``_choose`` gives where it cannot tell yet: the answer to a handshake may begin here.
    UNDECIDED = -3


cdef class Cutter:
    cdef Accounts accounts
    cdef Table table
    cdef readonly tuple framers
    cdef list ready             # packets that are messages, each with its ``claimed``
    cdef int owner
    cdef bint has_sockets       # some parser's messages also travel over WebSocket
    cdef int upgraded           # whose the connection is whose handshake has just been answered, or NO_OWNER
    cdef uint64_t max_bytes
    cdef uint32_t max_streams, max_message
    cdef int held, merged, added, running, cut, compressed
    cdef int outcomes[OUTCOMES_COUNT]

    cdef int _absorb(self, Stream *stream, DecodedPacket packet, bytes segment) except -1
    cdef int _cut(self, Stream *stream, DecodedPacket packet, bytes data, uint32_t before, Py_ssize_t known) except -1
    cdef int _itself(self, Stream *stream, DecodedPacket packet, bytes data) noexcept
    cdef int _message(self, Stream *stream, DecodedPacket packet, bytes data, Py_ssize_t at, Py_ssize_t size,
                      uint32_t before, int found) except -1
    cdef int _rest(self, Stream *stream, DecodedPacket packet, bytes data, Py_ssize_t at, uint32_t before,
                   Py_ssize_t size, int found) except -1
    cdef int _nothing(self, Stream *stream, uint32_t before, int outcome) except -1
    cdef int _hold(self, Stream *stream) noexcept
    cdef int _go_on(self, Stream *stream, DecodedPacket packet, bytes segment, uint32_t before) except -1
    cdef int _still_lost(self, Stream *stream) except -1
    cdef int _choose(self, Stream *stream, bytes data, DecodedPacket packet, Py_ssize_t *known) except -1
    cdef int _choose_socket(self, Stream *stream, bytes data) except -1
    cdef bint _begins_in_frame(self, int owner, bytes data) except -1
    cdef int _join_socket(self, Stream *stream, int owner, int begin) except -1
    cdef bytes _unframed(self, Stream *stream, bytes data, Py_ssize_t at, Py_ssize_t size)
    cdef Py_ssize_t _ask(self, int owner, bytes data, Py_ssize_t at) except -2
    cdef Py_ssize_t _size(self, Stream *stream, bytes data, Py_ssize_t at) except -2
    cdef Py_ssize_t _search(self, Stream *stream, bytes data, Py_ssize_t at) except -2
    cdef int _make_room(self, Stream *stream, uint64_t more) except -1
    cdef int _drop_data(self, Stream *stream, int outcome) except -1
    cdef int _drop(self, Stream *stream, int outcome) except -1
    cdef void _count(self, int outcome, uint32_t frames) noexcept
