from libc.stdint cimport int64_t, uint8_t

from otus_core.decode.hidden cimport HIDDEN_KINDS
from otus_core.decode.reassembly cimport Reassembly
from otus_core.decode.tunnel cimport Tunnels
from otus_core.decode.walk cimport Walk
from otus_core.inline.hep cimport HepPacket
from otus_core.model.accounts cimport Accounts
from otus_core.model.packet cimport DecodedPacket, Layers


cdef class Decoder:
    cdef readonly object datagram   # bytes that at.payload points into: a datagram in fragments, or what was inflated
    cdef Accounts accounts
    cdef int reasons[5]
    cdef int hidden[HIDDEN_KINDS]
    cdef dict links                 # counters of link types that are not read, by number as text
    cdef Tunnels tunnels            # looked into
    cdef Tunnels closed             # not looked into
    cdef Reassembly reassembly      # None when it is off

    cdef int decode(self, const uint8_t *frame, Layers *at) except -1
    cdef bint unwrap(self, DecodedPacket packet) except -1
    cdef void overlook(self, const Layers *at) noexcept
    cpdef advance(self, int64_t now)
    cpdef finish(self)

    cdef int _open_tunnels(self, object options) except -1
    cdef int _upper(self, Walk *w, Layers *at) noexcept
    cdef int _hep(self, Walk *w, Layers *at) noexcept
    cdef int _inflate(self, HepPacket *found) except -1
    cdef int _fragment(self, Walk *w, Layers *at) except -2
