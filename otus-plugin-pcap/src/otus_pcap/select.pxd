from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from otus_pcap.bpf cimport Program


# One record of a batch's index, as otus_core.FRAME_INDEX_FORMAT has it.
cdef struct Record:
    int64_t timestamp
    uint64_t offset
    uint32_t capture_len
    uint32_t orig_len
    int32_t interface_index
    uint16_t link_type
    uint16_t reserved


cdef class Selection:
    cdef readonly bytearray index
    cdef Record *records
    cdef readonly Py_ssize_t count
    cdef uint32_t shard
    cdef uint32_t shards
    cdef object _compile
    cdef dict _programs

    cdef Program program(self, uint16_t link_type)
    cdef bint full(self) noexcept
    cdef void add(self, const uint8_t *base, uint64_t offset, uint32_t capture_len, uint32_t orig_len, int64_t timestamp,
                  int32_t interface_index, uint16_t link_type, Program program) noexcept
