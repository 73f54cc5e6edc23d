"""The index of one batch: a walker fills it with what it finds, and what is not given is taken out again.

A frame is given when it belongs to this shard and the filter accepts it. Filters are compiled once for each link type.
"""

cimport cython

import struct

from otus_core import FRAME_INDEX_FORMAT, Shard

from libc.stdint cimport uint8_t

from otus_pcap.limits cimport RECORDS_MAX

assert struct.calcsize(FRAME_INDEX_FORMAT) == sizeof(FrameRecord) == 32


@cython.final
cdef class Selection:
    """The index of one batch. ``compile`` gives the filter's program for a link type, or is ``None``."""

    def __init__(self, int shard=0, int shards=1, compile=None):
        self.index = bytearray(RECORDS_MAX * sizeof(FrameRecord))
        self.records = <FrameRecord *><void *><uint8_t *>self.index
        self._shard = Shard(shard, shards) if shards > 1 else None
        self._compile = compile
        self._programs = {}

    def clear(self):
        """Begin a new batch."""
        self.count = 0

    def narrow(self, Chunk chunk not None):
        """Take out what is not given. Says whether the index was full, so that more may lie in the chunk."""
        cdef bint was_full = self.full()
        if self.count and self._shard is not None:
            self.count = self._shard.select(chunk.buffer, self.index, self.count)
        if self.count and self._compile is not None:
            self._filter(chunk)
        return was_full

    cdef int check(self, uint16_t link_type) except -1:
        """Raise BpfInvalid where libpcap knows no filter for a link type."""
        self._program(link_type)
        return 0

    cdef Program _program(self, uint16_t link_type):
        if self._compile is None:
            return None
        if link_type not in self._programs:
            self._programs[link_type] = Program(self._compile(link_type))
        return self._programs[link_type]

    cdef int _filter(self, Chunk chunk) except -1:
        """Keep what the filter accepts, in order."""
        cdef Program program = None
        cdef uint16_t link_type = 0
        cdef Py_ssize_t kept = 0
        cdef Py_ssize_t i
        cdef FrameRecord *record
        for i in range(self.count):
            record = &self.records[i]
            if program is None or record.link_type != link_type:
                link_type = record.link_type
                program = self._program(link_type)
            if program.run(chunk.at + record.offset, record.capture_len, record.orig_len):
                self.records[kept] = record[0]
                kept += 1
        self.count = kept
        return 0

    cdef bint full(self) noexcept:
        return self.count >= RECORDS_MAX

    cdef void add(self, uint64_t offset, uint32_t capture_len, uint32_t orig_len, int64_t timestamp,
                  int32_t interface_index,
                  uint16_t link_type) noexcept:
        """Take a frame into the index. The walker has asked ``full`` before."""
        cdef FrameRecord *record
        if self.count >= RECORDS_MAX:
            return
        record = &self.records[self.count]
        self.count += 1
        record.timestamp = timestamp
        record.offset = offset
        record.capture_len = capture_len
        record.orig_len = orig_len
        record.interface_index = interface_index
        record.link_type = link_type
        record.metadata = 0
