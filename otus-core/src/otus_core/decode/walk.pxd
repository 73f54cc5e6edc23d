"""The cursor that all decoding shares: where the walk through a frame stands, how far it may read, and what comes next.

Every layer is one inline function ``layer(Walk *w, Layers *at) -> Step``: it reads from ``w.p``, never at or past
``w.end``, moves ``w.p`` past its header and says which layer comes next. No layer calls another, so nesting costs a
turn of one loop and no stack.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from otus_core.model.packet cimport Layers


cdef enum:
    # Turns of the loop, each at least one header. Eight tunnels of the costliest kind, Ethernet, IP, UDP and tunnel
    # header, fit.
    LAYERS_MAX = 64
    TUNNELS_MAX = 8         # deeper nesting than a mirrored overlay of overlays has no use on real wires
    TAGS_MAX = 8            # provider bridges stack two or three
    LABELS_MAX = 16         # more MPLS labels than any forwarding plane pushes
    EXTENSIONS_MAX = 32     # IPv6 extension headers in one packet


cdef enum Step:
    # Drops, in the order of DECODE_REASONS in decoder.pyx.
    DROP_NOT_IP = 0
    DROP_TRUNCATED = 1
    DROP_BAD_HEADER = 2
    DROP_TOO_DEEP = 3
    DROP_UNSUPPORTED_LINK = 4
    # Layers.
    STEP_ETHERNET = 5
    STEP_ETHERTYPE = 6
    STEP_LLC = 7
    STEP_MPLS = 8
    STEP_PPPOE = 9
    STEP_PPP = 10
    STEP_NLPID = 11
    STEP_IP = 12            # IPv4 or IPv6, told by the first nibble
    STEP_IPV4 = 13
    STEP_IPV6 = 14
    STEP_EXTENSIONS = 15
    STEP_UPPER = 16         # what follows IP: w.protocol
    STEP_FRAGMENT = 17
    STEP_VXLAN = 18
    STEP_GENEVE = 19
    STEP_GTPU = 20
    STEP_GRE = 21
    STEP_ERSPAN2 = 22
    STEP_ERSPAN3 = 23
    # A whole unit: at.payload and at.payload_len are set.
    STEP_UNIT = 24


cdef struct Walk:
    const uint8_t *p
    const uint8_t *end          # of the bytes that are there; p <= end always
    const uint8_t *ip           # innermost IP header, or the reassembled datagram behind it
    uint64_t scope              # what keeps equal addresses apart: VLAN ids, tunnel ids
    uint32_t beyond             # bytes after end that headers promise and the capture does not have
    uint32_t carried            # bytes of headers that belong before w.ip
    uint32_t fragment_id
    uint32_t fragment_offset
    uint16_t ethertype
    uint8_t protocol
    uint8_t fragment_more
    uint8_t tunnels             # entered so far
    uint8_t tagged              # the outermost Ethernet header's tags have been recorded
    uint8_t reassemble


cdef inline bint short_of(const Walk *w, Py_ssize_t n) noexcept nogil:
    """Say whether fewer than ``n`` bytes are there."""
    return w.end - w.p < n


cdef inline uint32_t be16(const uint8_t *p) noexcept nogil:
    return (<uint32_t>p[0] << 8) | p[1]


cdef inline uint32_t be24(const uint8_t *p) noexcept nogil:
    return (<uint32_t>p[0] << 16) | (<uint32_t>p[1] << 8) | p[2]


cdef inline uint32_t be32(const uint8_t *p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]


cdef inline void cut_to(Walk *w, uint32_t length) noexcept nogil:
    """Let the walk end ``length`` bytes on, as a header says; what is missing of them is remembered in ``beyond``."""
    cdef uint32_t there = <uint32_t>(w.end - w.p)
    if length <= there:
        w.end = w.p + length
        w.beyond = 0
    else:
        w.beyond = length - there


cdef inline void enter_scope(Walk *w, uint32_t number) noexcept nogil:
    """Tell apart what lies under this VLAN or tunnel id from the same addresses elsewhere."""
    w.scope = ((w.scope << 25) | (w.scope >> 39)) ^ (<uint64_t>number + 1)


cdef inline void whole_message(Layers *at, uint8_t protocol) noexcept nogil:
    """Say that the payload is a message, not a segment, whatever carried it."""
    at.protocol = protocol
    at.transport = 6 if protocol == 6 else 17
    if protocol == 6:
        at.reassembled |= 2
        at.end_timestamp = at.timestamp
