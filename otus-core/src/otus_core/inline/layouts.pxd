"""What travels between core and plugins as bytes, as C structures: index records of frames, and packed flow keys."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy


# One record of a batch's index, as otus_core.FRAME_INDEX_FORMAT has it: 32 bytes, native order.
cdef struct FrameRecord:
    int64_t timestamp           # ns since 1970
    uint64_t offset             # of the frame in the batch's buffer
    uint32_t capture_len
    uint32_t orig_len
    int32_t interface_index
    uint16_t link_type          # LINKTYPE_ number
    uint16_t metadata           # which of the batch's metadata are those of the frame, counted from 1; 0 for none


# A directed 5-tuple as otus_core.FLOW_KEY_FORMAT has it: 40 bytes, no padding, so that equal keys are equal bytes.
cdef struct Flow:
    uint8_t src[16]             # in network order, IPv4 in the first four bytes, the others 0
    uint8_t dst[16]
    uint16_t src_port
    uint16_t dst_port
    uint8_t version             # 4 or 6
    uint8_t protocol
    uint16_t zero


cdef inline void fill_flow(
    Flow *flow, uint8_t version, uint8_t protocol, const uint8_t *src, uint16_t src_port, const uint8_t *dst,
    uint16_t dst_port
) noexcept nogil:
    """Fill in a flow; ``src`` and ``dst`` are 16 bytes each, those behind an IPv4 address 0."""
    memcpy(flow.src, src, 16)
    memcpy(flow.dst, dst, 16)
    flow.src_port = src_port
    flow.dst_port = dst_port
    flow.version = version
    flow.protocol = protocol
    flow.zero = 0
