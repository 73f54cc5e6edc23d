from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef uint32_t shard_of(const uint8_t *frame, uint32_t size, uint16_t link_type, uint32_t shards) noexcept nogil
