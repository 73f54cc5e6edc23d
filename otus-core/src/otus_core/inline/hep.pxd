"""HEP, in which Homer's agents send what they captured: one packet of version 1, 2 or 3, read within its bounds.

Version 3: HEP3 network protocol specification (sipcapture.org), rev. 12; later chunks are those that heplify sends.
Versions 1 and 2 have fixed headers, as Kamailio's modules siptrace and sipcapture have them.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset


cdef enum:
    # What becomes of a packet that is read.
    HEP_WHOLE = 0
    HEP_STRANGE = 1             # neither the magic of version 3 nor a header of version 1 or 2
    HEP_CUT = 2                 # it ends before it says
    HEP_CHUNK = 3               # a chunk whose length or value cannot be
    HEP_NO_ADDRESSES = 4        # not both of one IP version
    HEP_NO_PAYLOAD = 5


cdef enum:
    HEP3_HEAD = 6               # bytes: "HEP3" and the length of all
    CHUNK_HEAD = 6              # vendor, type, length with these six
    # Types of chunks of vendor 0.
    CHUNK_FAMILY = 1
    CHUNK_PROTOCOL = 2
    CHUNK_SRC4 = 3
    CHUNK_DST4 = 4
    CHUNK_SRC6 = 5
    CHUNK_DST6 = 6
    CHUNK_SRC_PORT = 7
    CHUNK_DST_PORT = 8
    CHUNK_SECONDS = 9
    CHUNK_MICROSECONDS = 10
    CHUNK_KIND = 11
    CHUNK_CAPTURE_ID = 12
    CHUNK_KEY = 14
    CHUNK_PAYLOAD = 15
    CHUNK_COMPRESSED = 16
    CHUNK_CORRELATION = 17
    CHUNK_VLAN = 18
    CHUNK_NODE = 19
    PROTOCOL_KAMAILIO_TLS = 22  # it has no number for TLS, and takes IDP's


cdef extern from *:
    """
    #define OTUS_MAPPED "\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\377\\377"
    """
    const char *MAPPED "OTUS_MAPPED"


cdef struct HepText:
    const uint8_t *start
    uint32_t size


# What one packet says. Texts and payload lie inside what was read.
cdef struct HepPacket:
    int64_t timestamp           # ns since 1970; -1 where there is none
    HepText payload
    HepText key
    HepText correlation
    HepText node
    uint32_t capture_id
    uint16_t src_port
    uint16_t dst_port
    uint16_t vlan               # 0 where there is none
    uint8_t version             # of HEP
    uint8_t kind                # of the payload; 1 is SIP, 5 RTCP as JSON
    uint8_t protocol            # IANA number
    uint8_t ip_version
    uint8_t compressed
    uint8_t has_capture_id
    uint8_t src[16]             # in network order, IPv4 in the first four bytes, the others 0
    uint8_t dst[16]


cdef inline bint is_hep3(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Whether it begins as version 3 does."""
    return size >= HEP3_HEAD and memcmp(data, b"HEP3", 4) == 0


cdef inline uint32_t hep3_size(const uint8_t *data) noexcept nogil:
    """Give how long version 3 says that it is, its head included."""
    return <uint32_t>data[4] << 8 | data[5]


cdef inline int64_t big_number(const uint8_t *at, uint32_t size) noexcept nogil:
    """Read a number of any size, the highest byte first; -1 where it has none or does not fit 32 bits."""
    cdef uint64_t value = 0
    cdef uint32_t i
    if size == 0 or size > 8:
        return -1
    for i in range(size):
        value = value << 8 | at[i]
    return -1 if value >> 32 else <int64_t>value


cdef inline int read_hep3(const uint8_t *data, Py_ssize_t size, HepPacket *found) noexcept nogil:
    """Read version 3. Of a chunk that comes twice the last one counts; those that are not known are skipped."""
    cdef const uint8_t *at = data + HEP3_HEAD
    cdef const uint8_t *end
    cdef const uint8_t *ends[4]
    cdef const uint8_t *body
    cdef uint32_t kind, length, offset
    cdef int64_t number
    cdef int64_t seconds = -1
    cdef int64_t microseconds = 0
    cdef int family = 0
    memset(found, 0, sizeof(HepPacket))
    memset(ends, 0, sizeof(ends))
    found.version = 3
    found.protocol = 17
    length = hep3_size(data)
    if <Py_ssize_t>length > size or length < HEP3_HEAD:
        return HEP_CUT
    end = data + length
    while at < end:
        if end - at < CHUNK_HEAD:
            return HEP_CHUNK
        length = <uint32_t>at[4] << 8 | at[5]
        if length < CHUNK_HEAD or length > end - at:
            return HEP_CHUNK
        body = at + CHUNK_HEAD
        kind = 0 if at[0] or at[1] else <uint32_t>at[2] << 8 | at[3]
        at += length
        length -= CHUNK_HEAD
        if kind == 0:
            continue
        if kind >= CHUNK_SRC4 and kind <= CHUNK_DST6:
            if kind <= CHUNK_DST4 and length == 16 and memcmp(body, MAPPED, 12) == 0:
                body += 12          # some agents in Go write IPv4 addresses like this (RFC 4291 §2.5.5.2)
            elif length != (4 if kind <= CHUNK_DST4 else 16):
                return HEP_CHUNK
            ends[kind - CHUNK_SRC4] = body
        elif kind <= CHUNK_CAPTURE_ID or kind == CHUNK_VLAN:
            number = big_number(body, length)
            if number < 0:
                return HEP_CHUNK
            if kind == CHUNK_SECONDS:
                seconds = number
            elif kind == CHUNK_MICROSECONDS:
                if number >= 1_000_000:
                    return HEP_CHUNK
                microseconds = number
            elif kind == CHUNK_CAPTURE_ID:
                found.capture_id = <uint32_t>number
                found.has_capture_id = 1
            elif number > (255 if kind <= CHUNK_PROTOCOL or kind == CHUNK_KIND else 65535):
                return HEP_CHUNK
            elif kind == CHUNK_FAMILY:
                family = <int>number
            elif kind == CHUNK_PROTOCOL:
                found.protocol = <uint8_t>number
            elif kind == CHUNK_SRC_PORT:
                found.src_port = <uint16_t>number
            elif kind == CHUNK_DST_PORT:
                found.dst_port = <uint16_t>number
            elif kind == CHUNK_KIND:
                found.kind = <uint8_t>number
            else:
                found.vlan = <uint16_t>number
        elif kind == CHUNK_PAYLOAD or kind == CHUNK_COMPRESSED:
            found.payload.start, found.payload.size = body, length
            found.compressed = kind == CHUNK_COMPRESSED
        elif kind == CHUNK_KEY:
            found.key.start, found.key.size = body, length
        elif kind == CHUNK_CORRELATION:
            found.correlation.start, found.correlation.size = body, length
        elif kind == CHUNK_NODE:
            found.node.start, found.node.size = body, length
    # AF_INET is 2 everywhere; AF_INET6 is the sender's (10 Linux, 28 FreeBSD, 30 macOS), so the chunks tell
    offset = 2 if ends[0] == NULL or ends[1] == NULL or (ends[2] != NULL and family != 2 and family != 0) else 0
    if ends[offset] == NULL or ends[offset + 1] == NULL:
        return HEP_NO_ADDRESSES
    found.ip_version = 6 if offset else 4
    memcpy(found.src, ends[offset], 16 if offset else 4)
    memcpy(found.dst, ends[offset + 1], 16 if offset else 4)
    found.timestamp = -1 if seconds < 0 else seconds * 1_000_000_000 + microseconds * 1000
    return HEP_WHOLE if found.payload.size else HEP_NO_PAYLOAD


cdef inline int read_hep2(const uint8_t *data, Py_ssize_t size, HepPacket *found) noexcept nogil:
    """Read version 1 or 2: version, length, family, protocol, ports, addresses; in version 2 then seconds,
    microseconds, the agent's id and two bytes of padding, with the lowest byte first.
    """
    cdef uint32_t width, at
    memset(found, 0, sizeof(HepPacket))
    if size < 8:
        return HEP_CUT
    found.version = data[0]
    found.kind = 1
    found.protocol = data[3]
    found.src_port = <uint16_t>data[4] << 8 | data[5]
    found.dst_port = <uint16_t>data[6] << 8 | data[7]
    width = 4 if data[2] == 2 else 16
    found.ip_version = 4 if width == 4 else 6
    at = 8 + 2 * width
    if size < at + (12 if found.version == 2 else 0):
        return HEP_CUT
    memcpy(found.src, data + 8, width)
    memcpy(found.dst, data + 8 + width, width)
    found.timestamp = -1
    if found.version == 2:
        found.timestamp = little(data + at) * <int64_t>1_000_000_000 + little(data + at + 4) * <int64_t>1000
        found.capture_id = data[at + 8] | <uint32_t>data[at + 9] << 8
        found.has_capture_id = 1
        at += 12
    found.payload.start = data + at
    found.payload.size = <uint32_t>(size - at)
    return HEP_WHOLE if found.payload.size else HEP_NO_PAYLOAD


cdef inline uint32_t little(const uint8_t *at) noexcept nogil:
    return at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24


cdef inline bint is_hep2(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Whether it may be of version 1 or 2: they have no magic, but few values in their first four bytes.

    The length is that of the header with addresses; some senders of version 2 count the time behind it too.
    """
    return (
        size >= 16 and (data[0] == 1 or data[0] == 2)
        and (data[1] == 16 or data[1] == 28 or data[1] == 40 or data[1] == 52)
        and (data[2] == 2 or data[2] == 10 or data[2] == 28 or data[2] == 30)
        and (data[3] == 6 or data[3] == 17 or data[3] == PROTOCOL_KAMAILIO_TLS or data[3] == 132)
    )


cdef inline int read_hep(const uint8_t *data, Py_ssize_t size, HepPacket *found) noexcept nogil:
    """Read one packet of ``size`` bytes; what follows the length of version 3 is ignored."""
    cdef int verdict = HEP_STRANGE
    if is_hep3(data, size):
        verdict = read_hep3(data, size, found)
    elif is_hep2(data, size):
        verdict = read_hep2(data, size, found)
    if verdict == HEP_WHOLE and found.protocol == PROTOCOL_KAMAILIO_TLS:
        found.protocol = 6
    return verdict
