from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t


cdef class FlowKey:
    cdef uint8_t version
    cdef uint8_t _protocol
    cdef uint16_t _src_port
    cdef uint16_t _dst_port
    cdef uint8_t src[16]
    cdef uint8_t dst[16]
    cdef Py_hash_t _hash


cdef FlowKey make_flow_key(int version, const uint8_t *src, const uint8_t *dst, uint16_t src_port, uint16_t dst_port, uint8_t protocol)
