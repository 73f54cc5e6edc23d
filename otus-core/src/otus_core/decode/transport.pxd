"""UDP and TCP headers.

A packet whose header is not whole, or is neither UDP nor TCP, is a unit all the same: ``transport`` 0, ports 0, and the
payload is what follows IP.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from otus_core.decode.walk cimport *
from otus_core.model.packet cimport Layers


cdef inline void udp(Walk *w, Layers *at) noexcept nogil:
    """Read a UDP header (RFC 768).

    Length 0 means the rest of the packet (RFC 2675 §4), 1 to 7 is no length at all: no payload.
    """
    cdef uint32_t length, rest
    if short_of(w, 8):
        return
    at.transport = 17
    at.src_port = <uint16_t>be16(w.p)
    at.dst_port = <uint16_t>be16(w.p + 2)
    length = be16(w.p + 4)
    w.p += 8
    rest = <uint32_t>(w.end - w.p)
    if length == 0:
        return
    length = length - 8 if length >= 8 else 0
    if length < rest:
        w.end = w.p + length
        w.beyond = 0


cdef inline void tcp(Walk *w, Layers *at) noexcept nogil:
    """Read a TCP header (RFC 9293 §3.1). With an impossible data offset nothing after the fixed header is believed."""
    cdef uint32_t size
    if short_of(w, 20):
        return
    at.transport = 6
    at.src_port = <uint16_t>be16(w.p)
    at.dst_port = <uint16_t>be16(w.p + 2)
    at.seq = be32(w.p + 4)
    at.ack = be32(w.p + 8)
    at.tcp_flags = w.p[13]
    size = (w.p[12] >> 4) << 2
    w.p = w.p + size if size >= 20 and not short_of(w, size) else w.end
