"""Which shard a frame belongs to: by the unordered pair of its outer IP addresses.

Both directions of a conversation and all fragments of a datagram have one pair, so they meet in one worker. What is not plainly IP behind the
usual link headers goes to shard 0, and so does what is cut off before its addresses: all of it together, so nothing is torn apart.
"""

from libc.string cimport memcpy

cdef enum:
    TAGS_MAX = 16           # of VLAN tags, and of MPLS labels: more than the decoder follows
    NOT_IP = 0
    IP_UNTOLD = 1           # told by the first nibble
    IPV4 = 4
    IPV6 = 6


cdef inline uint32_t be16(const uint8_t *p) noexcept nogil:
    return (<uint32_t>p[0] << 8) | p[1]


cdef struct Cursor:
    const uint8_t *p
    uint32_t left


cdef inline bint skip(Cursor *at, uint32_t size) noexcept nogil:
    if at.left < size:
        at.left = 0
        return False
    at.p += size
    at.left -= size
    return True


cdef inline bint is_tag(uint32_t ethertype) noexcept nogil:
    return ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100 or ethertype == 0x9200 or ethertype == 0x8926


cdef int after_ethertype(Cursor *at, uint32_t ethertype) noexcept nogil:
    """Follow tags, PPPoE and MPLS from an EtherType that has just been read."""
    cdef uint32_t tags = 0
    cdef uint32_t size
    while is_tag(ethertype):
        size = 6 if ethertype == 0x8926 else 4      # Cisco VN-Tag has four bytes of its own
        tags += 1
        if tags > TAGS_MAX or at.left < size:
            return NOT_IP
        ethertype = be16(at.p + size - 2)
        skip(at, size)
    if ethertype == 0x0800:
        return IPV4
    elif ethertype == 0x86DD:
        return IPV6
    elif ethertype == 0x8847 or ethertype == 0x8848:
        return after_labels(at)
    elif ethertype == 0x8864 and skip(at, 6):
        return after_ppp(at)
    elif ethertype == 0x880B:
        return after_ppp(at)
    return NOT_IP


cdef int after_labels(Cursor *at) noexcept nogil:
    cdef uint32_t labels = 0
    cdef uint8_t bottom = 0
    while not bottom:
        labels += 1
        if labels > TAGS_MAX or at.left < 4:
            return NOT_IP
        bottom = at.p[2] & 1
        skip(at, 4)
    # A pseudowire's MAC address may begin like an IP header: its length then is not to be believed (RFC 4928 §3).
    if at.left >= 6 and at.p[0] >> 4 == 4 and be16(at.p + 2) <= at.left:
        return IPV4
    if at.left >= 6 and at.p[0] >> 4 == 6 and be16(at.p + 4) + 40 <= at.left:
        return IPV6
    return NOT_IP


cdef int after_ppp(Cursor *at) noexcept nogil:
    if at.left >= 2 and at.p[0] == 0xFF and at.p[1] == 3:   # RFC 1662 §3.1: address and control may be left out
        skip(at, 2)
    cdef uint32_t size = 1 if at.left and at.p[0] & 1 else 2
    cdef uint32_t protocol
    if at.left < size:
        return NOT_IP
    protocol = at.p[0] if size == 1 else be16(at.p)
    skip(at, size)
    if protocol == 0x0021:
        return IPV4
    elif protocol == 0x0057:
        return IPV6
    elif protocol == 0x0281 or protocol == 0x0283:
        return after_labels(at)
    return NOT_IP


cdef int after_link(Cursor *at, uint16_t link_type) noexcept nogil:
    """Go past the link header and say what follows. Numbers: tcpdump.org/linktypes."""
    cdef uint32_t ethertype
    cdef uint32_t size
    cdef uint32_t place
    if link_type == 1:              # ETHERNET
        size, place = 14, 12
    elif link_type == 113:          # LINUX_SLL
        size, place = 16, 14
    elif link_type == 276:          # LINUX_SLL2
        size, place = 20, 0
    elif link_type == 104:          # C_HDLC
        size, place = 4, 2
    elif link_type == 0 or link_type == 108:    # NULL, LOOP: a 4-byte family
        return IP_UNTOLD if skip(at, 4) else NOT_IP
    elif link_type == 12 or link_type == 14 or link_type == 101 or link_type == 228 or link_type == 229:     # RAW, IPV4, IPV6
        return IP_UNTOLD
    elif link_type == 9 or link_type == 50:     # PPP, PPP_HDLC
        return after_ppp(at)
    elif link_type == 51:                       # PPP_ETHER
        return after_ppp(at) if skip(at, 6) else NOT_IP
    else:
        return NOT_IP
    if at.left < size:
        return NOT_IP
    ethertype = be16(at.p + place)
    skip(at, size)
    return after_ethertype(at, ethertype)


cdef inline uint64_t mixed(uint64_t h) noexcept nogil:
    """MurmurHash3's finalizer: every bit of the input moves half of the output."""
    h ^= h >> 33
    h *= <uint64_t>0xFF51AFD7ED558CCD
    h ^= h >> 33
    h *= <uint64_t>0xC4CEB9FE1A85EC53
    return h ^ (h >> 33)


cdef inline uint64_t hashed(const uint8_t *address, uint32_t size) noexcept nogil:
    cdef uint64_t words[2]
    words[0] = words[1] = 0
    memcpy(words, address, size)
    return mixed(words[0] ^ mixed(words[1]) if words[1] else words[0])


cdef uint32_t shard_of(const uint8_t *frame, uint32_t size, uint16_t link_type, uint32_t shards) noexcept nogil:
    """Give the shard, 0 to ``shards`` - 1."""
    cdef Cursor at
    cdef uint64_t a
    cdef uint64_t b
    at.p = frame
    at.left = size
    cdef int version = after_link(&at, link_type)
    if version == IP_UNTOLD:
        version = at.p[0] >> 4 if at.left else NOT_IP
    if version == IPV4 and at.left >= 20:
        a, b = hashed(at.p + 12, 4), hashed(at.p + 16, 4)
    elif version == IPV6 and at.left >= 40:
        a, b = hashed(at.p + 8, 16), hashed(at.p + 24, 16)
    else:
        return 0
    return <uint32_t>((a + b) % shards)     # a sum is the same in both directions


def shard_of_frame(const uint8_t[::1] frame, int link_type, int shards):
    """Give the shard of one frame."""
    if shards < 1:
        raise ValueError("there is at least one shard")
    return shard_of(&frame[0] if frame.shape[0] else NULL, <uint32_t>frame.shape[0], <uint16_t>link_type, shards)
