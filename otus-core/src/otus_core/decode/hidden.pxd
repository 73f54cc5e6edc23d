"""Tells what a unit that no parser took may hide: a tunnel that is not looked into, by its IP protocol, or its port and
first bytes.

It is asked about such units alone. Numbers of ports and protocols are IANA's.
"""

from libc.stdint cimport uint8_t, uint32_t

from otus_core.decode.ip cimport IP_GRE, IP_IPV4, IP_IPV6, IP_TCP, IP_UDP
from otus_core.decode.tunnel cimport HEP_PORT, Tunnels, geneve, gre, gtpu, over_udp, vxlan
from otus_core.decode.walk cimport *
from otus_core.inline.hep cimport is_hep2, is_hep3
from otus_core.model.packet cimport TUNNEL_ERSPAN, Layers


cdef enum:
    # In the order of KINDS in hidden.py.
    HIDDEN_VXLAN = 0
    HIDDEN_GENEVE = 1
    HIDDEN_GTPU = 2
    HIDDEN_GRE = 3
    HIDDEN_ERSPAN = 4
    HIDDEN_IPIP = 5
    HIDDEN_VXLAN_PORT = 6
    HIDDEN_TEREDO = 7
    HIDDEN_L2TP = 8
    HIDDEN_ETHERIP = 9
    HIDDEN_TZSP = 10
    HIDDEN_HEP = 11
    HIDDEN_HEP_TCP = 12
    HIDDEN_ESP = 13
    HIDDEN_SCTP = 14
    HIDDEN_FRAGMENTS_WITHOUT_FIRST = 15
    HIDDEN_FRAGMENTS_APART = 16
    HIDDEN_TRUNCATED_FRAMES = 17
    HIDDEN_KINDS = 18
    HIDDEN_NOTHING = 18


cdef enum:
    IP_ESP = 50
    IP_ETHERIP = 97
    IP_L2TP = 115
    IP_SCTP = 132
    PORT_L2TP = 1701
    PORT_TEREDO = 3544
    PORT_ESP = 4500
    PORT_VXLAN = 4789
    PORT_VXLAN_GPE = 4790
    PORT_VXLAN_LINUX = 8472         # Linux's default until it is told otherwise
    PORT_TZSP = 37008


cdef inline int opened(const Layers *at, int step) noexcept nogil:
    """Read a tunnel's header as if the tunnel were looked into, and say which it is."""
    cdef Walk w
    cdef Layers inner = at[0]
    w.p = at.payload
    w.end = w.p + at.payload_len
    w.scope = 0
    w.beyond = 0
    w.tunnels = 0
    if step == STEP_VXLAN:
        return HIDDEN_VXLAN if vxlan(&w, &inner) != STEP_UNIT else HIDDEN_NOTHING
    elif step == STEP_GENEVE:
        return HIDDEN_GENEVE if geneve(&w, &inner) != STEP_UNIT else HIDDEN_NOTHING
    elif step == STEP_GTPU:
        return HIDDEN_GTPU if gtpu(&w, &inner) != STEP_UNIT else HIDDEN_NOTHING
    elif gre(&w, &inner) == STEP_UNIT:
        return HIDDEN_NOTHING
    return HIDDEN_ERSPAN if inner.tunnel == TUNNEL_ERSPAN else HIDDEN_GRE


cdef inline int over_port(uint32_t port, const uint8_t *p, uint32_t size) noexcept nogil:
    """Tell tunnels over UDP for which there is no option, by a port and what they begin with."""
    if port == PORT_TEREDO:
        # RFC 4380 §5.1.1: an IPv6 packet, perhaps behind an authentication (0001) or origin (0000) indication.
        if size >= 40 and (p[0] >> 4 == 6 or be16(p) <= 1):
            return HIDDEN_TEREDO
    elif port == PORT_L2TP:
        # RFC 2661 §3.1, RFC 3931 §4.1.2.1: T is 0 in data messages.
        if size >= 6 and not p[0] & 0x80 and (p[1] & 0x0F == 2 or p[1] & 0x0F == 3):
            return HIDDEN_L2TP
    elif port == PORT_ESP:
        if size > 8 and be32(p):        # RFC 3948 §2: IKE has four zeros there, a keep-alive is one byte
            return HIDDEN_ESP
    elif port == PORT_TZSP:
        if size >= 5 and p[0] == 1 and p[1] <= 1:
            return HIDDEN_TZSP
    return HIDDEN_NOTHING


cdef inline int hidden_in(const Tunnels *closed, const Layers *at) noexcept nogil:
    """Say what a unit hides. ``closed`` are the tunnels that are not looked into."""
    cdef int step
    if at.transport == IP_UDP:
        if at.payload_len == 0:
            return HIDDEN_NOTHING
        step = over_udp(closed, at)
        if step != STEP_UNIT:
            return opened(at, step)
        if is_hep3(at.payload, at.payload_len):
            return HIDDEN_HEP
        if (at.dst_port == HEP_PORT or at.src_port == HEP_PORT) and is_hep2(at.payload, at.payload_len):
            return HIDDEN_HEP
        if at.dst_port == PORT_VXLAN_LINUX or at.dst_port == PORT_VXLAN or at.dst_port == PORT_VXLAN_GPE:
            return HIDDEN_VXLAN_PORT if opened(at, STEP_VXLAN) == HIDDEN_VXLAN else HIDDEN_NOTHING
        step = over_port(at.dst_port, at.payload, at.payload_len)
        return step if step != HIDDEN_NOTHING else over_port(at.src_port, at.payload, at.payload_len)
    if at.transport == IP_TCP:
        return HIDDEN_HEP_TCP if is_hep3(at.payload, at.payload_len) else HIDDEN_NOTHING
    if at.protocol == IP_GRE:
        return opened(at, STEP_GRE) if closed.gre else HIDDEN_NOTHING
    elif at.protocol == IP_IPV4 or at.protocol == IP_IPV6:
        return HIDDEN_IPIP if closed.ipip else HIDDEN_NOTHING
    elif at.protocol == IP_ESP:
        return HIDDEN_ESP
    elif at.protocol == IP_SCTP:
        return HIDDEN_SCTP
    elif at.protocol == IP_ETHERIP:
        return HIDDEN_ETHERIP
    elif at.protocol == IP_L2TP and at.payload_len >= 4 and be32(at.payload):
        return HIDDEN_L2TP      # RFC 3931 §4.1.1.1: session 0 is control
    return HIDDEN_NOTHING
