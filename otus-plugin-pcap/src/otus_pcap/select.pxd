from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

from otus_core.inline.layouts cimport FrameRecord

from otus_pcap.bpf cimport Program
from otus_pcap.chunk cimport Chunk


cdef class Selection:
    cdef readonly bytearray index
    cdef FrameRecord *records
    cdef readonly Py_ssize_t count
    cdef object _shard          # otus_core.Shard, None where there is one worker
    cdef object _compile
    cdef dict _programs

    cdef int check(self, uint16_t link_type) except -1
    cdef bint full(self) noexcept
    cdef void add(self, uint64_t offset, uint32_t capture_len, uint32_t orig_len, int64_t timestamp,
                  int32_t interface_index,
                  uint16_t link_type) noexcept
    cdef Program _program(self, uint16_t link_type)
    cdef int _filter(self, Chunk chunk) except -1
