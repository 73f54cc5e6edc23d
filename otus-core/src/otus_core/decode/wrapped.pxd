"""Link types that put a header of the capturing machine before the packet: NFLOG, ENC, radiotap with 802.11, ERF,
exported PDUs.

As in ``link``: each function gives the step of what is inside, or the reason for which there is no IP packet. Numbers:
tcpdump.org/linktypes.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from otus_core.decode.link cimport first_step, loopback, serial, skip
from otus_core.decode.walk cimport *
from otus_core.model.packet cimport Layers


cdef inline int nflog(Walk *w) noexcept nogil:
    """Read the attributes up to the packet (LINKTYPE_NFLOG; linux/netfilter/nfnetlink_log.h): lengths and types in the
    byte order of whichever machine captured.
    """
    cdef uint32_t size, kind, padded
    cdef uint8_t family
    if short_of(w, 4):
        return DROP_TRUNCATED
    family = w.p[0]
    if w.p[1] != 0:                             # another version
        return DROP_BAD_HEADER
    w.p += 4
    while not short_of(w, 4):
        if w.p[3] == 0:                         # types lie below 256, so that one of their two bytes is 0
            size = w.p[0] | <uint32_t>w.p[1] << 8
            kind = w.p[2]
        else:
            size = be16(w.p)
            kind = w.p[3]
        if size < 4:
            return DROP_BAD_HEADER
        if kind == 9:                           # NFULA_PAYLOAD
            w.p += 4
            cut_to(w, size - 4)
            return STEP_IP if family == 2 or family == 10 else DROP_NOT_IP      # Linux's AF_INET, AF_INET6
        padded = (size + 3) & ~<uint32_t>3
        if short_of(w, padded):
            return DROP_TRUNCATED
        w.p += padded
    return DROP_NOT_IP if w.p == w.end and not w.beyond else DROP_TRUNCATED


cdef inline int enc(Walk *w) noexcept nogil:
    """Read OpenBSD's header of decapsulated IPsec: address family, SPI, flags (LINKTYPE_ENC)."""
    cdef int inside = loopback(w)
    return skip(w, 8, inside) if inside > DROP_UNSUPPORTED_LINK else inside


cdef inline int wireless(Walk *w, bint padded) noexcept nogil:
    """Read an IEEE 802.11 data frame; with ``padded`` its header fills whole words.

    What is encrypted, aggregated or a fragment of a frame is not read.
    """
    cdef uint32_t size = 24
    cdef uint8_t kind, flags
    if short_of(w, 24):
        return DROP_TRUNCATED
    kind, flags = w.p[0], w.p[1]
    # Type data, and a subtype that carries any; neither more fragments nor protected, and the first fragment.
    if kind & 0x4F != 0x08 or flags & 0x44 or w.p[22] & 0x0F:
        return DROP_NOT_IP
    if flags & 3 == 3:                          # to and from a distribution system: a fourth address
        size += 6
    if kind & 0x80:                             # QoS data: control field, and with the order bit HT control
        if short_of(w, size + 2):
            return DROP_TRUNCATED
        if w.p[size] & 0x80:                    # A-MSDU: several packets in one frame
            return DROP_NOT_IP
        size += 6 if flags & 0x80 else 2
    if padded:
        size = (size + 3) & ~<uint32_t>3
    return skip(w, size, STEP_LLC)


cdef inline int radiotap(Walk *w) noexcept nogil:
    """Step over a radiotap header (radiotap.org): only whether the 802.11 header behind it is padded matters."""
    cdef uint32_t size
    cdef uint32_t at = 8
    cdef bint padded = False
    if short_of(w, 8):
        return DROP_TRUNCATED
    size = w.p[2] | <uint32_t>w.p[3] << 8
    if w.p[0] != 0 or size < 8:
        return DROP_BAD_HEADER
    if short_of(w, size):
        return DROP_TRUNCATED
    if w.p[4] & 0x02:                           # flags are there, behind further words of presence and the 8-byte TSFT
        while at <= size and w.p[at - 1] & 0x80:
            at += 4
        if w.p[4] & 0x01:
            at = ((at + 7) & ~<uint32_t>7) + 8
        padded = at < size and w.p[at] & 0x20
    w.p += size
    return wireless(w, padded)


cdef inline int erf(Walk *w) noexcept nogil:
    """Read an Endace record header with its extension headers (LINKTYPE_ERF): Ethernet, HDLC and IP records."""
    cdef uint32_t size = 16
    cdef uint32_t kind
    cdef uint8_t more
    if short_of(w, 16):
        return DROP_TRUNCATED
    kind = w.p[8] & 0x7F
    more = w.p[8] & 0x80
    while more:                                 # each takes eight bytes of the frame
        if short_of(w, size + 8):
            return DROP_TRUNCATED
        more = w.p[size] & 0x80
        size += 8
    if kind == 2 or kind == 11 or kind == 16 or kind == 20:         # ETH, COLOR_ETH, DSM_COLOR_ETH, COLOR_HASH_ETH
        return skip(w, size + 2, STEP_ETHERNET)                     # an offset and a pad byte come first
    elif kind == 22 or kind == 23:                                  # IPV4, IPV6
        return skip(w, size, STEP_IP)
    elif kind == 1 or kind == 10 or kind == 15 or kind == 19:       # HDLC_POS and its coloured kin
        if short_of(w, size):
            return DROP_TRUNCATED
        w.p += size
        return serial(w)
    return DROP_NOT_IP


cdef inline int exported_pdu(Walk *w, Layers *at) noexcept nogil:
    """Read what Wireshark exports of an upper layer (epan/exported_pdu.h): addresses and ports in tags, then the
    payload, which is a unit. Without addresses it is none.
    """
    cdef uint32_t kind = 1
    cdef uint32_t size, port
    cdef uint32_t ports = 0
    cdef uint32_t sides = 0
    at.ip_version = 0
    while kind:
        if short_of(w, 4):
            return DROP_TRUNCATED
        kind = be16(w.p)
        size = be16(w.p + 2)
        w.p += 4
        if short_of(w, size):
            return DROP_TRUNCATED
        if (kind == 20 or kind == 21) and size == 4 or (kind == 22 or kind == 23) and size == 16:
            if at.ip_version and at.ip_version != (4 if size == 4 else 6):
                return DROP_BAD_HEADER
            at.ip_version = 4 if size == 4 else 6
            if kind & 1:
                memcpy(at.dst, w.p, size)
                sides |= 2
            else:
                memcpy(at.src, w.p, size)
                sides |= 1
        elif kind == 24 and size == 4:
            ports = be32(w.p)
        elif (kind == 25 or kind == 26) and size == 4:
            port = be32(w.p)
            if port > 65535:
                return DROP_BAD_HEADER
            if kind == 25:
                at.src_port = <uint16_t>port
            else:
                at.dst_port = <uint16_t>port
        w.p += size
    if sides != 3:
        return DROP_NOT_IP
    # Port types: 1 SCTP, 2 TCP, 3 UDP.
    whole_message(at, 6 if ports == 2 else 132 if ports == 1 else 17)
    at.ttl = 0
    at.truncated = w.beyond != 0
    at.payload = w.p
    at.payload_len = <uint32_t>(w.end - w.p)
    at.total_len = at.payload_len + w.beyond
    return STEP_UNIT


cdef inline int wrapped_step(Walk *w, Layers *at, uint32_t link_type) noexcept nogil:
    """Read the header of a link type that ``link`` does not know."""
    if link_type == 105:                                # IEEE802_11
        return wireless(w, False)
    elif link_type == 109:                              # ENC
        return enc(w)
    elif link_type == 127:                              # IEEE802_11_RADIOTAP
        return radiotap(w)
    elif link_type == 197:                              # ERF
        return erf(w)
    elif link_type == 239:                              # NFLOG
        return nflog(w)
    elif link_type == 252:                              # WIRESHARK_UPPER_PDU
        return exported_pdu(w, at)
    return DROP_UNSUPPORTED_LINK


cdef inline int begin_step(Walk *w, Layers *at, uint32_t link_type) noexcept nogil:
    """Read the link header of any link type, but for Ethernet's, whose step it gives."""
    cdef int step = STEP_ETHERNET if link_type == 1 else first_step(w, link_type)
    return wrapped_step(w, at, link_type) if step == DROP_UNSUPPORTED_LINK else step
