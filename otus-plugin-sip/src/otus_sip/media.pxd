from libc.stdint cimport uint8_t, uint16_t

from otus_sip.description cimport Description, Text

cdef enum:
    KIND_MAX = 16           # "application" is the longest registered one (RFC 8866 §8.2.1)
    CODEC_MAX = 32


# What sessions keep of one m= line; 92 bytes. Addresses in network order, IPv4 in the first four bytes.
cdef struct Media:
    uint8_t version             # 4 or 6; 0 where the line names no RTP flow: a name, 0.0.0.0, port 0, or not RTP
    uint8_t rtcp_version
    uint8_t mux
    uint8_t kind_len
    uint8_t codec_len
    uint8_t over_tcp            # RFC 4571
    uint16_t port
    uint16_t rtcp_port
    uint16_t zero2
    uint8_t address[16]
    uint8_t rtcp_address[16]
    uint8_t kind[KIND_MAX]
    uint8_t codec[CODEC_MAX]


cdef bytes scan_media(const uint8_t *data, Py_ssize_t size, Description *found)
cdef bint is_rtp(const Text *protocol) noexcept nogil
cdef uint8_t read_ip(Text *text, uint8_t *address) noexcept nogil
