"""Tunnel headers: VXLAN, Geneve, GTP-U, GRE, ERSPAN, HEP. IP in IP needs none.

Each function gives the step of what is inside, or STEP_UNIT when this is no packet of that tunnel (another version, a
control message, a header that is not whole): then nothing has moved and the outer packet is the unit.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from otus_core.inline.hep cimport HEP_WHOLE, HepPacket, is_hep2, is_hep3, read_hep
from otus_core.decode.link cimport ETHERTYPE_ERSPAN2, ETHERTYPE_ERSPAN3, after_ethertype
from otus_core.decode.walk cimport *
from otus_core.model.packet cimport (
    TUNNEL_ERSPAN, TUNNEL_GENEVE, TUNNEL_GRE, TUNNEL_GTPU, TUNNEL_HEP, TUNNEL_IPIP, TUNNEL_NONE,
    TUNNEL_VXLAN, Layers,
)


cdef enum:
    PORTS_MAX = 8       # configured ports of one kind of tunnel
    VXLAN_GPE_PORT = 4790
    HEP_PORT = 9060


# Which tunnels are looked into, and where those over UDP are found.
cdef struct Tunnels:
    uint8_t ipip
    uint8_t gre
    uint8_t hep
    uint8_t ports_count
    uint16_t ports[3 * PORTS_MAX]
    uint8_t steps[3 * PORTS_MAX]


cdef inline int over_udp(const Tunnels *tunnels, const Layers *at) noexcept nogil:
    """Give the tunnel that the destination port tells, or STEP_UNIT.

    Some GTP-U gateways answer from the port, not to it.
    """
    cdef int i
    for i in range(tunnels.ports_count):
        if tunnels.ports[i] == at.dst_port or (tunnels.ports[i] == at.src_port and tunnels.steps[i] == STEP_GTPU):
            return tunnels.steps[i]
    return STEP_UNIT


cdef inline int enter(Walk *w, Layers *at, uint8_t tunnel, uint32_t number, uint32_t header, int inside) noexcept nogil:
    """Step over a tunnel header of ``header`` bytes: from here on the inner packet is the one that is described."""
    w.tunnels += 1
    if w.tunnels > TUNNELS_MAX:
        return DROP_TOO_DEEP
    if at.outer_version == 0:
        at.outer_version = at.ip_version
        memcpy(at.outer_src, at.src, 16)
        memcpy(at.outer_dst, at.dst, 16)
    at.tunnel = tunnel
    at.has_vni = 0
    at.vni = 0
    at.transport = 0
    at.src_port = at.dst_port = 0
    enter_scope(w, number ^ <uint32_t>tunnel << 28)
    w.p += header
    return inside


cdef inline int vxlan(Walk *w, Layers *at) noexcept nogil:
    """Read a VXLAN header (RFC 7348 §5), on its own port VXLAN-GPE, whose P flag announces what is inside
    (draft-ietf-nvo3-vxlan-gpe §3).
    """
    cdef int inside = STEP_ETHERNET
    cdef int step
    cdef uint32_t vni
    if short_of(w, 8) or not w.p[0] & 0x08:
        return STEP_UNIT
    if w.p[0] & 0x04 and at.dst_port == VXLAN_GPE_PORT:     # elsewhere a reserved bit, to be ignored
        if w.p[3] == 1:
            inside = STEP_IPV4
        elif w.p[3] == 2:
            inside = STEP_IPV6
        elif w.p[3] == 5:
            inside = STEP_MPLS
        elif w.p[3] != 3:
            inside = DROP_NOT_IP
    vni = be24(w.p + 4)
    step = enter(w, at, TUNNEL_VXLAN, vni, 8, inside)
    at.vni = vni
    at.has_vni = 1
    return step


cdef inline int geneve(Walk *w, Layers *at) noexcept nogil:
    """Read a Geneve header with its options (RFC 8926 §3.4)."""
    cdef uint32_t size, vni
    cdef int step
    if short_of(w, 8) or w.p[0] >> 6 != 0:
        return STEP_UNIT
    size = 8 + ((<uint32_t>w.p[0] & 0x3F) << 2)
    if short_of(w, size):
        return STEP_UNIT
    vni = be24(w.p + 4)
    step = enter(w, at, TUNNEL_GENEVE, vni, size, after_ethertype(be16(w.p + 2)))
    at.vni = vni
    at.has_vni = 1
    return step


cdef inline int gtpu(Walk *w, Layers *at) noexcept nogil:
    """Read a GTP-U header that carries a user's packet (3GPP TS 29.281 §5: G-PDU), with its extension headers."""
    cdef uint32_t size = 8
    cdef uint32_t extension
    cdef const uint8_t *header = w.p
    if short_of(w, 8) or w.p[0] >> 5 != 1 or not w.p[0] & 0x10 or w.p[1] != 255:
        return STEP_UNIT
    if w.p[0] & 0x07:
        size = 12
        if short_of(w, 12):
            return STEP_UNIT
        if w.p[0] & 0x04:
            extension = w.p[11]
            while extension:
                # Each is a multiple of four bytes, at least four, so that this ends with the packet.
                if short_of(w, size + 1) or w.p[size] == 0 or short_of(w, size + (<uint32_t>w.p[size] << 2)):
                    return STEP_UNIT
                size += <uint32_t>w.p[size] << 2
                extension = w.p[size - 1]
    return enter(w, at, TUNNEL_GTPU, be32(header + 4), size, STEP_IP)


cdef inline int gre(Walk *w, Layers *at) noexcept nogil:
    """Read a GRE header: RFC 2784 with the key and sequence number of RFC 2890, or version 1 of RFC 2637.

    Source routes are not read.
    """
    cdef uint32_t flags, protocol
    cdef uint32_t size = 4
    cdef uint32_t key = 0
    cdef int inside
    if short_of(w, 4):
        return STEP_UNIT
    flags = be16(w.p)
    protocol = be16(w.p + 2)
    if flags & 0x4000 or flags & 7 > 1:
        return STEP_UNIT
    if flags & 0x8000:
        size += 4
    if flags & 0x2000:
        if short_of(w, size + 4):
            return STEP_UNIT
        key = be32(w.p + size)
        if flags & 7 == 1:
            key &= 0xFFFF                       # RFC 2637 §4.1: payload length, call id
        size += 4
    if flags & 0x1000:
        size += 4
    if flags & 7 == 1 and flags & 0x80:         # acknowledgment number
        size += 4
    if short_of(w, size):
        return STEP_UNIT
    if protocol == ETHERTYPE_ERSPAN2:
        # Type I has neither sequence number nor header of its own.
        inside = STEP_ERSPAN2 if flags & 0x1000 else STEP_ETHERNET
        return enter(w, at, TUNNEL_ERSPAN, key, size, inside)
    if protocol == ETHERTYPE_ERSPAN3:
        return enter(w, at, TUNNEL_ERSPAN, key, size, STEP_ERSPAN3)
    return enter(w, at, TUNNEL_GRE, key, size, after_ethertype(protocol))


cdef inline int erspan2(Walk *w) noexcept nogil:
    """Read an ERSPAN type II header (draft-foschiano-erspan §4.2)."""
    if short_of(w, 8):
        return DROP_TRUNCATED
    enter_scope(w, be16(w.p + 2) & 0x03FF)
    w.p += 8
    return STEP_ETHERNET


cdef inline int erspan3(Walk *w) noexcept nogil:
    """Read an ERSPAN type III header (draft-foschiano-erspan §4.3), with its platform-specific part when the O bit says
    so.
    """
    cdef uint32_t kind, size
    if short_of(w, 12):
        return DROP_TRUNCATED
    kind = be16(w.p + 10) >> 10 & 0x1F          # frame type: 0 Ethernet, 2 IP
    size = 20 if w.p[11] & 1 else 12
    if short_of(w, size):
        return DROP_TRUNCATED
    enter_scope(w, be16(w.p + 2) & 0x03FF)
    w.p += size
    if kind == 0:
        return STEP_ETHERNET
    return STEP_IP if kind == 2 else DROP_NOT_IP


cdef inline bint begins_hep(const Walk *w, const Layers *at) noexcept nogil:
    """Whether a datagram may be HEP: versions 1 and 2, which have no magic, on their port alone."""
    return is_hep3(w.p, w.end - w.p) or (
        (at.dst_port == HEP_PORT or at.src_port == HEP_PORT) and is_hep2(w.p, w.end - w.p)
    )


cdef inline int hep(Walk *w, Layers *at, const HepPacket *found) noexcept nogil:
    """Step into a packet of HEP that has been read.

    It holds no packet but a message, with the addresses and the time of its capture; both take the place of the
    packet's own.
    """
    if enter(w, at, TUNNEL_HEP, 0, 0, STEP_UNIT) != STEP_UNIT:
        return DROP_TOO_DEEP
    at.ip_version = found.ip_version
    memcpy(at.src, found.src, 16)
    memcpy(at.dst, found.dst, 16)
    at.src_port = found.src_port
    at.dst_port = found.dst_port
    at.ttl = 0
    if found.compressed:
        at.reassembled |= 4
    whole_message(at, found.protocol)
    if found.timestamp >= 0:
        at.timestamp = at.end_timestamp = found.timestamp
    w.p = found.payload.start
    w.end = w.p + found.payload.size
    at.total_len = found.payload.size
    return STEP_UNIT
