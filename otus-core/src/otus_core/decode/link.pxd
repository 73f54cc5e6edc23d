"""Everything below IP: link types of capture files, Ethernet, VLAN tags, LLC/SNAP, MPLS, PPP and PPPoE.

Comes in: a frame and its LINKTYPE number. Goes out: the step of the next header, or the reason for which there is no IP
packet.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from otus_core.decode.walk cimport *
from otus_core.model.packet cimport Layers


cdef enum EtherType:
    ETHERTYPE_LENGTH_MAX = 1500     # IEEE 802.3: up to here the field is a length
    ETHERTYPE_MIN = 1536
    ETHERTYPE_IPV4 = 0x0800
    ETHERTYPE_BRIDGED = 0x6558      # transparent Ethernet bridging
    ETHERTYPE_VLAN = 0x8100
    ETHERTYPE_IPV6 = 0x86DD
    ETHERTYPE_MPLS = 0x8847
    ETHERTYPE_MPLS_UPSTREAM = 0x8848
    ETHERTYPE_PPPOE = 0x8864
    ETHERTYPE_PPP = 0x880B
    ETHERTYPE_QINQ = 0x88A8
    ETHERTYPE_ERSPAN2 = 0x88BE
    ETHERTYPE_ERSPAN3 = 0x22EB
    ETHERTYPE_VNTAG = 0x8926
    ETHERTYPE_QINQ_OLD = 0x9100
    ETHERTYPE_QINQ_OLD2 = 0x9200


cdef inline int after_ethertype(uint32_t ethertype) noexcept nogil:
    """Give the step that reads what ``ethertype`` announces."""
    if ethertype == ETHERTYPE_IPV4:
        return STEP_IPV4
    elif ethertype == ETHERTYPE_IPV6:
        return STEP_IPV6
    elif ethertype == ETHERTYPE_MPLS or ethertype == ETHERTYPE_MPLS_UPSTREAM:
        return STEP_MPLS
    elif ethertype == ETHERTYPE_PPPOE:
        return STEP_PPPOE
    elif ethertype == ETHERTYPE_BRIDGED:
        return STEP_ETHERNET
    elif ethertype == ETHERTYPE_PPP:
        return STEP_PPP
    return DROP_NOT_IP


cdef inline bint is_tag(uint32_t ethertype) noexcept nogil:
    return (ethertype == ETHERTYPE_VLAN or ethertype == ETHERTYPE_QINQ or ethertype == ETHERTYPE_QINQ_OLD
            or ethertype == ETHERTYPE_QINQ_OLD2 or ethertype == ETHERTYPE_VNTAG)


cdef inline int typed(Walk *w, Layers *at) noexcept nogil:
    """Read tags, if any, after an EtherType that is in ``w.ethertype``.

    The outermost two ids of the outermost header are recorded.
    """
    cdef uint32_t ethertype = w.ethertype
    cdef uint32_t tags = 0
    while is_tag(ethertype):
        tags += 1
        if tags > TAGS_MAX:
            return DROP_TOO_DEEP
        if ethertype == ETHERTYPE_VNTAG:
            # Cisco VN-Tag (pre-standard 802.1Qbh): four bytes of interface ids, no VLAN.
            if short_of(w, 6):
                return DROP_TRUNCATED
            ethertype = be16(w.p + 4)
            w.p += 6
            continue
        if short_of(w, 4):
            return DROP_TRUNCATED
        if not w.tagged and at.vlan_count < 2:
            at.vlans[at.vlan_count] = be16(w.p) & 0x0FFF
            at.vlan_count += 1
        enter_scope(w, be16(w.p) & 0x0FFF)
        ethertype = be16(w.p + 2)
        w.p += 4
    if not w.tagged:
        w.tagged = 1
        at.ethertype = <uint16_t>ethertype
    if ethertype >= ETHERTYPE_MIN:
        return after_ethertype(ethertype)
    if ethertype > ETHERTYPE_LENGTH_MAX:
        return DROP_NOT_IP
    cut_to(w, min(ethertype, <uint32_t>(w.end - w.p) + w.beyond))
    return STEP_LLC


cdef inline int ethernet(Walk *w, Layers *at) noexcept nogil:
    """Read an Ethernet header; addresses and tags of the outermost one are recorded."""
    if short_of(w, 14):
        return DROP_TRUNCATED
    if not w.tagged:
        at.has_ethernet = 1
        memcpy(at.dst_mac, w.p, 12)
        memcpy(at.src_mac, w.p + 6, 6)
    w.ethertype = <uint16_t>be16(w.p + 12)
    w.p += 14
    if w.ethertype == ETHERTYPE_IPV4 and not w.tagged:
        w.tagged = 1
        at.ethertype = ETHERTYPE_IPV4
        return STEP_IPV4
    return typed(w, at)


cdef inline int nlpid(Walk *w) noexcept nogil:
    """Read an OSI network layer protocol id (ISO/IEC TR 9577), as frame relay and ATM use it: RFC 2427 §4."""
    if short_of(w, 1):
        return DROP_TRUNCATED
    cdef uint32_t protocol = w.p[0]
    w.p += 1
    if protocol == 0xCC:
        return STEP_IPV4
    elif protocol == 0x8E:
        return STEP_IPV6
    elif protocol == 0xCF:
        return STEP_PPP
    elif protocol == 0x80:
        return snap(w)
    return DROP_NOT_IP


cdef inline int snap(Walk *w) noexcept nogil:
    """Read a SNAP header: OUI and protocol (RFC 1042; RFC 2684 §5.2 for bridged Ethernet)."""
    if short_of(w, 5):
        return DROP_TRUNCATED
    cdef uint32_t oui = be24(w.p)
    w.ethertype = <uint16_t>be16(w.p + 3)
    w.p += 5
    if oui == 0 or oui == 0x0000F8:             # 0000f8: 802.1H tunnelled EtherTypes
        return STEP_ETHERTYPE if w.ethertype >= ETHERTYPE_MIN else DROP_NOT_IP
    if oui == 0x0080C2 and (w.ethertype == 1 or w.ethertype == 7):
        return STEP_ETHERNET
    return DROP_NOT_IP


cdef inline int llc(Walk *w) noexcept nogil:
    """Read an 802.2 header."""
    if short_of(w, 3):
        return DROP_TRUNCATED if w.beyond else DROP_NOT_IP
    cdef uint32_t saps = be16(w.p)
    if w.p[2] & 0xEF != 3:                      # unnumbered information, poll bit ignored
        return DROP_NOT_IP
    w.p += 3
    if saps == 0xAAAA:
        return snap(w)
    elif saps == 0x0606:                        # IEEE 802.2: DoD IP
        return STEP_IPV4
    elif saps == 0xFEFE:
        return nlpid(w)
    return DROP_NOT_IP


cdef inline bint ethernet_at(const Walk *w, Py_ssize_t offset) noexcept nogil:
    """Say whether an Ethernet header that leads to something we read may lie ``offset`` bytes on."""
    if short_of(w, offset + 14):
        return False
    cdef uint32_t ethertype = be16(w.p + offset + 12)
    return is_tag(ethertype) or after_ethertype(ethertype) != DROP_NOT_IP


cdef inline int mpls(Walk *w) noexcept nogil:
    """Read a label stack.

    What is inside is not said: RFC 4928 §3 tells IP by its first nibble, 0 is a control word (RFC 4385 §3).
    """
    cdef uint32_t labels = 0
    cdef uint32_t bottom = 0
    cdef uint32_t nibble
    while not bottom:
        labels += 1
        if labels > LABELS_MAX:
            return DROP_TOO_DEEP
        if short_of(w, 4):
            return DROP_TRUNCATED
        bottom = w.p[2] & 1
        w.p += 4
    if short_of(w, 1):
        return DROP_TRUNCATED
    nibble = w.p[0] >> 4
    if nibble == 4 and w.p[0] & 0x0F >= 5:
        # A pseudowire's first MAC address may begin like an IPv4 header: believe the length.
        if not short_of(w, 4) and be16(w.p + 2) > <uint32_t>(w.end - w.p) + w.beyond and ethernet_at(w, 0):
            return STEP_ETHERNET
        return STEP_IPV4
    if nibble == 6:
        if not short_of(w, 6) and be16(w.p + 4) + 40 > <uint32_t>(w.end - w.p) + w.beyond and ethernet_at(w, 0):
            return STEP_ETHERNET
        return STEP_IPV6
    if nibble == 0 and ethernet_at(w, 4):
        w.p += 4
        return STEP_ETHERNET
    if ethernet_at(w, 0):
        return STEP_ETHERNET
    return DROP_NOT_IP


cdef inline int ppp(Walk *w) noexcept nogil:
    """Read a PPP header, with or without address and control bytes (RFC 1662 §3.1), protocol perhaps in one byte (RFC
    1661 §6.5).
    """
    cdef uint32_t protocol
    if not short_of(w, 2) and w.p[0] == 0xFF and w.p[1] == 3:
        w.p += 2
    if short_of(w, 1):
        return DROP_TRUNCATED
    protocol = w.p[0]
    if protocol & 1:
        w.p += 1
    else:
        if short_of(w, 2):
            return DROP_TRUNCATED
        protocol = be16(w.p)
        w.p += 2
    if protocol == 0x0021:
        return STEP_IPV4
    elif protocol == 0x0057:
        return STEP_IPV6
    elif protocol == 0x0281 or protocol == 0x0283:
        return STEP_MPLS
    return DROP_NOT_IP


cdef inline int pppoe(Walk *w) noexcept nogil:
    """Read a PPPoE session header (RFC 2516 §4); its length cuts Ethernet padding."""
    if short_of(w, 6):
        return DROP_TRUNCATED
    if w.p[0] != 0x11 or w.p[1] != 0:
        return DROP_NOT_IP
    cdef uint32_t length = be16(w.p + 4)
    w.p += 6
    cut_to(w, min(length, <uint32_t>(w.end - w.p) + w.beyond))
    return STEP_PPP


cdef inline int frame_relay(Walk *w) noexcept nogil:
    """Read a Q.922 address of 2 to 4 bytes, then RFC 2427 or Cisco encapsulation."""
    cdef Py_ssize_t size = 2
    while size <= 4:
        if short_of(w, size):
            return DROP_TRUNCATED
        if w.p[size - 1] & 1:
            break
        size += 1
    else:
        return DROP_BAD_HEADER
    w.p += size
    if short_of(w, 2):
        return DROP_TRUNCATED
    if w.p[0] != 3:
        w.ethertype = <uint16_t>be16(w.p)
        w.p += 2
        return STEP_ETHERTYPE
    w.p += 1
    if w.p[0] == 0:                             # pad
        w.p += 1
    return STEP_NLPID


cdef inline int loopback(Walk *w) noexcept nogil:
    """Read the 4-byte address family of the BSDs, in the byte order of whichever machine captured."""
    cdef uint32_t family
    if short_of(w, 4):
        return DROP_TRUNCATED
    family = w.p[0] | w.p[1] | w.p[2] | w.p[3]  # all families lie below 256: one byte is set, at one end or the other
    w.p += 4
    if family == 2:
        return STEP_IPV4
    elif family == 10 or family == 24 or family == 28 or family == 30:  # AF_INET6 of Linux, NetBSD, FreeBSD, macOS
        return STEP_IPV6
    return DROP_NOT_IP


cdef inline int ethertype_at(Walk *w, Py_ssize_t offset, Py_ssize_t size) noexcept nogil:
    """Read an EtherType inside a link header of ``size`` bytes."""
    if short_of(w, size):
        return DROP_TRUNCATED
    w.ethertype = <uint16_t>be16(w.p + offset)
    w.p += size
    return STEP_ETHERTYPE


cdef inline int cooked(Walk *w, Py_ssize_t offset, Py_ssize_t size) noexcept nogil:
    """Read a Linux cooked header; 4 is 802.2 there (tcpdump.org/linktypes/LINKTYPE_LINUX_SLL)."""
    cdef int step = ethertype_at(w, offset, size)
    if step == STEP_ETHERTYPE and w.ethertype < ETHERTYPE_MIN:
        return STEP_LLC if w.ethertype == 4 else DROP_NOT_IP
    return step


cdef inline int serial(Walk *w) noexcept nogil:
    """Tell PPP in HDLC-like framing from Cisco HDLC (LINKTYPE_PPP_HDLC)."""
    if short_of(w, 4):
        return DROP_TRUNCATED
    if w.p[0] == 0x0F or w.p[0] == 0x8F:
        return ethertype_at(w, 2, 4)
    return STEP_PPP


cdef inline int skip(Walk *w, Py_ssize_t size, int step) noexcept nogil:
    if short_of(w, size):
        return DROP_TRUNCATED
    w.p += size
    return step


cdef inline int first_step(Walk *w, uint32_t link_type) noexcept nogil:
    """Read the link header of any link type but Ethernet. Numbers: tcpdump.org/linktypes."""
    if link_type == 0 or link_type == 108:              # NULL, LOOP
        return loopback(w)
    elif link_type == 9:                                # PPP
        return STEP_PPP
    elif link_type == 11 or link_type == 100:           # ATM_RFC1483
        return STEP_LLC
    elif link_type == 12 or link_type == 14 or link_type == 101:        # RAW, in some systems' own numbers too
        return STEP_IP
    elif link_type == 228 or link_type == 229:          # IPV4, IPV6
        return STEP_IP
    elif link_type == 50:                               # PPP_HDLC
        return serial(w)
    elif link_type == 51:                               # PPP_ETHER
        return STEP_PPPOE
    elif link_type == 104:                              # C_HDLC
        return ethertype_at(w, 2, 4)
    elif link_type == 107:                              # FRELAY
        return frame_relay(w)
    elif link_type == 113:                              # LINUX_SLL
        return cooked(w, 14, 16)
    elif link_type == 123:                              # SUNATM
        return skip(w, 4, STEP_LLC)
    elif link_type == 138:                              # APPLE_IP_OVER_IEEE1394
        return ethertype_at(w, 16, 18)
    elif link_type == 166 or link_type == 204:          # PPP_PPPD, PPP_WITH_DIR
        return skip(w, 1, STEP_PPP)
    elif link_type == 242:                              # IPOIB (RFC 4391 §6): EtherType behind the route header
        return ethertype_at(w, 40, 44)
    elif link_type == 276:                              # LINUX_SLL2
        return cooked(w, 0, 20)
    return DROP_UNSUPPORTED_LINK


cdef inline int below_ip(Walk *w, Layers *at, int step) noexcept nogil:
    """Read one layer below IP, which a step names."""
    if step == STEP_ETHERNET:
        return ethernet(w, at)
    elif step == STEP_ETHERTYPE:
        return typed(w, at)
    elif step == STEP_LLC:
        return llc(w)
    elif step == STEP_NLPID:
        return nlpid(w)
    elif step == STEP_MPLS:
        return mpls(w)
    elif step == STEP_PPPOE:
        return pppoe(w)
    elif step == STEP_PPP:
        return ppp(w)
    return DROP_NOT_IP
