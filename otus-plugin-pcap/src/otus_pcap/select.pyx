"""Which frames are given, and the index of those that are.

A frame is given when it belongs to this shard and the filter accepts it. Filters are compiled once for each link type.
"""

cimport cython

import struct

from otus_core import FRAME_INDEX_FORMAT

from otus_pcap.limits cimport RECORDS_MAX
from otus_pcap.peek cimport shard_of

assert struct.calcsize(FRAME_INDEX_FORMAT) == sizeof(Record) == 32


@cython.final
cdef class Selection:
    """The index of one batch, filled by a walker. ``compile`` gives the filter's program for a link type, or is ``None``."""

    def __init__(self, int shard=0, int shards=1, compile=None):
        if not 0 <= shard < shards:
            raise ValueError(f"there is no shard {shard} of {shards}")
        self.index = bytearray(RECORDS_MAX * sizeof(Record))
        self.records = <Record *><void *><uint8_t *>self.index
        self.shard = shard
        self.shards = shards
        self._compile = compile
        self._programs = {}

    def clear(self):
        """Begin a new batch."""
        self.count = 0

    cdef Program program(self, uint16_t link_type):
        """Give the filter for a link type. Raises BpfInvalid where libpcap knows no filter for it."""
        if self._compile is None:
            return None
        if link_type not in self._programs:
            self._programs[link_type] = Program(self._compile(link_type))
        return self._programs[link_type]

    cdef bint full(self) noexcept:
        return self.count >= RECORDS_MAX

    cdef void add(self, const uint8_t *base, uint64_t offset, uint32_t capture_len, uint32_t orig_len, int64_t timestamp,
                  int32_t interface_index, uint16_t link_type, Program program) noexcept:
        """Take a frame into the index if it is ours. The walker has asked ``full`` before."""
        cdef Record *record
        if self.shards > 1 and shard_of(base + offset, capture_len, link_type, self.shards) != self.shard:
            return
        if program is not None and program.run(base + offset, capture_len, orig_len) == 0:
            return
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
        record.reserved = 0
