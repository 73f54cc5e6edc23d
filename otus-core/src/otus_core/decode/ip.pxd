"""IPv4 and IPv6 headers, IPv6 extension headers, and what they say about fragments.

Lengths: the packet ends where its IP header says, so padding never reaches a payload. A total length of 0 is what
segmentation offload leaves in captures: then the packet is the rest of the frame. What the capture cut off is counted
in ``w.beyond`` and marked.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from otus_core.decode.walk cimport *
from otus_core.model.packet cimport Layers


cdef enum Protocol:
    IP_HOP_BY_HOP = 0
    IP_IPV4 = 4
    IP_TCP = 6
    IP_UDP = 17
    IP_IPV6 = 41
    IP_ROUTING = 43
    IP_FRAGMENT = 44
    IP_GRE = 47
    IP_AUTHENTICATION = 51
    IP_NONE = 59
    IP_DESTINATION = 60


cdef inline int any_ip(Walk *w) noexcept nogil:
    """Tell IPv4 from IPv6 by the first nibble."""
    if short_of(w, 1):
        return DROP_TRUNCATED
    if w.p[0] >> 4 == 4:
        return STEP_IPV4
    return STEP_IPV6 if w.p[0] >> 4 == 6 else DROP_NOT_IP


cdef inline int ipv4(Walk *w, Layers *at) noexcept nogil:
    """Read an IPv4 header (RFC 791 §3.1), options included."""
    cdef const uint8_t *p = w.p
    cdef uint32_t size, total, field
    if short_of(w, 20):
        return DROP_TRUNCATED
    size = (p[0] & 0x0F) << 2
    if p[0] >> 4 != 4 or size < 20:
        return DROP_BAD_HEADER
    total = be16(p + 2)
    if total == 0:
        total = <uint32_t>(w.end - p) + w.beyond
    if size > total:
        return DROP_BAD_HEADER
    cut_to(w, total)
    if short_of(w, size):
        return DROP_TRUNCATED
    at.ip_version = 4
    at.truncated = w.beyond != 0
    at.total_len = total
    at.ttl = p[8]
    at.traffic_class = p[1]
    at.protocol = p[9]
    memcpy(at.src, p + 12, 4)
    memcpy(at.dst, p + 16, 4)
    w.ip = p
    w.carried = 0
    w.p = p + size
    w.protocol = p[9]
    field = be16(p + 6)
    if field & 0x3FFF:
        w.fragment_id = be16(p + 4)
        w.fragment_offset = (field & 0x1FFF) << 3
        w.fragment_more = field >> 13 & 1
        return STEP_FRAGMENT
    return STEP_EXTENSIONS if w.protocol == IP_AUTHENTICATION else STEP_UPPER


cdef inline uint32_t jumbo_length(const Walk *w) noexcept nogil:
    """Find the jumbo payload option (RFC 2675 §2) in the hop-by-hop header after the fixed header at ``w.p``; 0 when
    there is none.
    """
    cdef uint32_t at = 42
    cdef uint32_t end
    if short_of(w, 48):
        return 0
    end = min(48 + (<uint32_t>w.p[41] << 3), <uint32_t>(w.end - w.p))
    while at + 2 <= end:
        if w.p[at] == 0:                        # Pad1
            at += 1
        elif w.p[at] == 0xC2 and w.p[at + 1] == 4 and at + 6 <= end:
            return be32(w.p + at + 2)
        else:
            at += 2 + w.p[at + 1]
    return 0


cdef inline int ipv6(Walk *w, Layers *at) noexcept nogil:
    """Read the fixed IPv6 header (RFC 8200 §3)."""
    cdef const uint8_t *p = w.p
    cdef uint32_t length, rest
    if short_of(w, 40):
        return DROP_TRUNCATED
    if p[0] >> 4 != 6:
        return DROP_BAD_HEADER
    length = be16(p + 4)
    rest = <uint32_t>(w.end - p) - 40 + w.beyond
    if length == 0:
        if p[6] == IP_HOP_BY_HOP:
            length = jumbo_length(w)
            # RFC 2675 §3: a jumbo length of 65,535 or less is an error. Its sum with the fixed header must fit our 32
            # bits.
            if length <= 65535 or length > <uint32_t>0xFFFFFFFF - 40:
                return DROP_BAD_HEADER
        elif p[6] != IP_NONE:
            length = rest
    at.ip_version = 6
    at.total_len = length + 40
    at.protocol = p[6]
    at.ttl = p[7]
    at.traffic_class = <uint8_t>(p[0] << 4 | p[1] >> 4)
    memcpy(at.src, p + 8, 32)
    memcpy(at.dst, p + 24, 16)
    w.ip = p
    w.carried = 0
    w.p = p + 40
    w.protocol = p[6]
    cut_to(w, length)
    at.truncated = w.beyond != 0
    return STEP_UPPER if w.protocol == IP_UDP or w.protocol == IP_TCP else STEP_EXTENSIONS


cdef inline int extensions(Walk *w, Layers *at) noexcept nogil:
    """Walk the chain of extension headers (RFC 8200 §4; those that Linux's ``ipv6_ext_hdr`` names); in IPv4 only AH is
    one.
    """
    cdef uint32_t count = 0
    cdef uint32_t size
    while True:
        at.protocol = w.protocol
        if w.protocol == IP_AUTHENTICATION:
            if short_of(w, 2):
                break
            size = (<uint32_t>w.p[1] + 2) << 2  # RFC 4302 §2.2: in words, minus two
        elif at.ip_version == 4:
            return STEP_UPPER
        elif w.protocol == IP_HOP_BY_HOP or w.protocol == IP_ROUTING or w.protocol == IP_DESTINATION:
            if short_of(w, 2):
                break
            size = (<uint32_t>w.p[1] + 1) << 3
        elif w.protocol == IP_FRAGMENT:
            size = 8
        else:
            return STEP_UPPER
        if short_of(w, size):
            break
        count += 1
        if count > EXTENSIONS_MAX:
            return DROP_TOO_DEEP
        if w.protocol == IP_FRAGMENT:
            w.fragment_offset = be16(w.p + 2) & 0xFFF8
            w.fragment_more = w.p[3] & 1
            w.fragment_id = be32(w.p + 4)
            w.protocol = w.p[0]
            w.p += 8
            if w.fragment_offset or w.fragment_more:
                at.protocol = w.protocol
                return STEP_FRAGMENT
            continue                            # RFC 6946: an atomic fragment is a whole packet
        w.protocol = w.p[0]
        w.p += size
    # The chain runs past the end: of the capture, or of the packet itself.
    if not w.beyond:
        return DROP_BAD_HEADER
    at.payload = w.p
    at.payload_len = <uint32_t>(w.end - w.p)
    return STEP_UNIT
