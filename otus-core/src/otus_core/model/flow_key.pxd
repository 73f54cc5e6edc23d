from libc.stdint cimport uint8_t, uint16_t, uint64_t

from otus_core.inline.layouts cimport Flow


cdef class FlowKey:
    cdef Flow at
    cdef uint64_t hashed


cdef bytes packed_address(address)
cdef uint64_t flow_hash(const Flow *flow) noexcept nogil
cdef FlowKey make_flow_key(int version, const uint8_t *src, const uint8_t *dst, uint16_t src_port, uint16_t dst_port,
                           uint8_t protocol)
cdef const Flow *packed_flows(object keys, Py_ssize_t *count, list holder) except NULL
