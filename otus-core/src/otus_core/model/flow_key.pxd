from libc.stdint cimport uint8_t, uint16_t, uint64_t


# A directed 5-tuple as FLOW_KEY_FORMAT has it: 40 bytes, no padding, so that equal keys are equal bytes.
cdef struct Flow:
    uint8_t src[16]             # in network order, IPv4 in the first four bytes, the others 0
    uint8_t dst[16]
    uint16_t src_port
    uint16_t dst_port
    uint8_t version             # 4 or 6
    uint8_t protocol
    uint16_t zero


cdef class FlowKey:
    cdef Flow at
    cdef uint64_t hashed


cdef uint64_t flow_hash(const Flow *flow) noexcept nogil
cdef FlowKey make_flow_key(int version, const uint8_t *src, const uint8_t *dst, uint16_t src_port, uint16_t dst_port, uint8_t protocol)
cdef const Flow *packed_flows(object keys, Py_ssize_t *count, list holder) except NULL
