"""The header of an RTP packet (RFC 3550 §5.1), and what else may come to the same port (RFC 5764 §5.1.2, RFC 7983)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from otus_rtp.stream cimport Arrival


cdef enum Looks:
    OTHER = 0
    RTP = 1
    RTCP = 2
    KEYS = 3                    # DTLS, or ZRTP (RFC 6189 §5): media are encrypted

cdef enum:
    HEAD = 12


cdef inline uint32_t load32(const uint8_t *at) noexcept nogil:
    return <uint32_t>at[0] << 24 | <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]


cdef inline Looks look(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Say what a datagram looks like by its first bytes."""
    if size < 8:
        return OTHER
    if data[0] >> 6 == 2:
        if 192 <= data[1] <= 223:   # RFC 5761 §4
            return RTCP
        return RTP if size >= HEAD else OTHER
    if 20 <= data[0] <= 63 and size >= 13 and data[1] == 254:
        return KEYS
    if data[0] == 0x10 and load32(data + 4) == 0x5A525450:
        return KEYS
    return OTHER


cdef inline bint read_header(const uint8_t *data, Py_ssize_t size, Arrival *one) noexcept nogil:
    """Read what ``look`` calls RTP; false where its lengths do not fit."""
    cdef Py_ssize_t head = HEAD + 4 * (data[0] & 15)
    cdef Py_ssize_t padding = 0
    if data[0] & 0x10:
        if size < head + 4:
            return False
        head += 4 + 4 * (<Py_ssize_t>data[head + 2] << 8 | data[head + 3])
    if size < head:
        return False
    if data[0] & 0x20:
        padding = data[size - 1]
        if padding > size - head:   # encrypted, or cut by the capture
            padding = 0
    one.marker = data[1] >> 7
    one.payload_type = data[1] & 127
    one.sequence = <uint16_t>(data[2] << 8 | data[3])
    one.timestamp = load32(data + 4)
    one.ssrc = load32(data + 8)
    one.payload = data + head
    one.payload_len = <uint32_t>(size - head - padding)
    one.size = <uint32_t>size
    return True
