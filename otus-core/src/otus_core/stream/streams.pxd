from libc.stdint cimport int32_t, int64_t, uint32_t

from otus_core.model.accounts cimport Accounts
from otus_core.model.packet cimport DecodedPacket
from otus_core.stream.cutter cimport ENDED, GAP, LIMIT, MESSAGE, PASSED, RETRANSMISSION, TAKEN, Cutter
from otus_core.stream.table cimport Stream, StreamKey, Table


cdef class Streams(Cutter):
    cdef int64_t now
    cdef int64_t gap_timeout, timeout
    cdef uint32_t max_out_of_order

    cdef int add(self, DecodedPacket packet) except -1
    cdef int advance(self, int64_t now) except -1
    cdef int finish(self) except -1

    cdef int _upgrade(self, int verdict, StreamKey *key, uint32_t ack) except -1
    cdef int _segment(self, Stream *stream, DecodedPacket packet) except -1
    cdef bint _is_made_up(self, Stream *stream, DecodedPacket packet) except -1
    cdef int _early(self, Stream *stream, DecodedPacket packet, int32_t delta) except -1
    cdef int _begin(self, StreamKey *key, uint32_t bucket, DecodedPacket packet) except -1
    cdef int _opened(self, StreamKey *key, uint32_t bucket, DecodedPacket packet) except -1
    cdef int _reset(self, Stream *stream, StreamKey *key, DecodedPacket packet) except -1
    cdef int _drain(self, Stream *stream) except -1
    cdef int _give_up(self, Stream *stream) except -1
    cdef int _acknowledged(self, StreamKey *key, uint32_t ack) except -1
    cdef int _settle(self, Stream *stream) except -1
