from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from otus_core.model.metadata cimport FrameMetadata


cdef enum:
    OWN_MEMORY = 1 | 4          # bits of Layers.reassembled


cdef enum Tunnel:
    TUNNEL_NONE = 0
    TUNNEL_VXLAN = 1
    TUNNEL_GRE = 2
    TUNNEL_ERSPAN = 3
    TUNNEL_GENEVE = 4
    TUNNEL_IPIP = 5
    TUNNEL_GTPU = 6
    TUNNEL_HEP = 7


# What the decoder finds in one frame. Addresses are in network order, IPv4 in the first four bytes; numbers in host
# order.
cdef struct Layers:
    int64_t timestamp           # ns since 1970; of a message from a stream, that of its first byte
    int64_t end_timestamp       # of its last byte; meaningful with bit 2 of reassembled
    uint32_t capture_len
    uint32_t orig_len
    int32_t interface_index
    uint16_t link_type          # LINKTYPE_ number
    uint16_t metadata           # as in the frame's index record
    uint16_t ethertype          # after tags; of the outermost Ethernet header
    uint16_t vlans[2]           # outermost first; of the outermost Ethernet header
    uint8_t vlan_count          # 0 to 2
    uint8_t has_ethernet
    uint8_t dst_mac[6]
    uint8_t src_mac[6]
    uint8_t ip_version          # 4 or 6, of the innermost IP header
    uint8_t protocol            # IANA number, after IPv6 extension headers
    uint8_t ttl
    uint8_t traffic_class       # DSCP and ECN (RFC 2474 §3)
    uint8_t transport           # 17, 6, or 0 when the packet has neither header whole
    uint8_t tcp_flags
    uint8_t reassembled         # bits: 1 from IP fragments; 2 a whole message of a stream; 4 inflated
    uint8_t truncated           # the capture cut the packet short
    uint8_t tunnel              # innermost tunnel, a Tunnel
    uint8_t has_vni
    uint8_t outer_version       # 4 or 6 of the outermost IP header when decapsulated, else 0
    uint8_t src[16]
    uint8_t dst[16]
    uint8_t outer_src[16]
    uint8_t outer_dst[16]
    uint32_t vni
    uint32_t total_len          # IP packet in bytes, headers included
    uint32_t seq
    uint32_t ack
    uint16_t src_port
    uint16_t dst_port
    uint32_t payload_len
    const uint8_t *payload      # inside the frame, or inside ``datagram``


cdef class DecodedPacket:
    cdef Layers at
    cdef const uint8_t *frame_start
    cdef object owner           # keeps the memory of frame and payload: a FrameBatch, or bytes
    cdef object datagram        # bytes that payload points into where the frame has none such, or None
    cdef object _payload
    cdef object _flow
    cdef int claimed            # of what waits in stream.Streams: whose message it is
    cdef FrameMetadata kept     # the metadata of a packet that outlives its batch

    cdef void renew(self, object owner, const uint8_t *frame_start, object datagram) noexcept
    cdef int detach(self) except -1
    cdef FrameMetadata captured(self)


cdef object ip_object(const uint8_t *address, int version)
cdef tuple _vlans(Layers *at)
