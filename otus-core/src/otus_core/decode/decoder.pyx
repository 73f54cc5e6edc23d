"""One frame in, one described packet out, or a count of why not.

``Decoder.decode`` is a loop: each turn reads one layer (``link``, ``ip``, ``tunnel``, ``transport``), which says what
comes next, until there is a unit, a reason to drop the frame, or a fragment that has to wait for its siblings
(``reassembly``). Every IP packet of any protocol is a unit. A frame that is none becomes ``dropped{decode:REASON}``:

``not_ip``            what it carries is not IP, also inside a tunnel that is looked into
``truncated``         the frame ends before its innermost IP header does
``bad_header``        an IP header contradicts itself
``too_deep``          more tags, labels, extension headers, tunnels or layers than any real frame has
``unsupported_link``  the capture's link type is not one we read

A fragment that the capture cut short cannot be put together and is a unit by itself, decoded as far as it goes and
marked ``truncated``; so are all fragments when reassembly is off: the first has its ports, the others ``transport`` 0.

What frames hold that is not looked into is counted beside that, as ``hidden{KIND}`` (``hidden``): only of frames that
are no unit here, or that ``overlook`` is told of.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from otus_core.model.counter_names import name_of
from otus_core.decode.hidden cimport *
from otus_core.decode.ip cimport *
from otus_core.decode.link cimport *
from otus_core.decode.reassembly cimport Piece, Reassembly
from otus_core.decode.transport cimport tcp, udp
from otus_core.decode.tunnel cimport *
from otus_core.decode.walk cimport *
from otus_core.decode.wrapped cimport begin_step
from otus_core.model.accounts cimport Accounts
from otus_core.model.packet cimport OWN_MEMORY, DecodedPacket, Layers

from otus_core.decode.hep import inflate
from otus_core.decode.hidden import KINDS, LINKS, hidden_counters, hidden_name
from otus_core.decode.options import DecoderConfig
from otus_core.decode.reassembly import OUTCOMES

DECODE_REASONS = ("not_ip", "truncated", "bad_header", "too_deep", "unsupported_link")
COUNTERS = (
    "fragments_merged",
    "fragments_held",
    *(name_of("dropped", "decode", reason) for reason in DECODE_REASONS),
    *(name_of("dropped", "reassembly", outcome) for outcome in OUTCOMES),
    *hidden_counters(),
)
"""The counters that a decoder adds to."""


cdef inline void begin(Walk *w, const uint8_t *frame, Layers *at, bint reassemble) noexcept nogil:
    w.p = frame
    w.end = frame + at.capture_len
    w.beyond = at.orig_len - at.capture_len if at.orig_len > at.capture_len else 0
    w.scope = 0
    w.tunnels = w.tagged = 0
    w.reassemble = reassemble
    at.ethertype = 0
    at.vlan_count = at.has_ethernet = 0
    at.transport = at.tcp_flags = 0
    at.reassembled = at.tunnel = at.has_vni = at.outer_version = 0
    at.vni = at.seq = at.ack = 0
    at.src_port = at.dst_port = 0


cdef inline void put_tunnel_ports(Tunnels *tunnels, object ports, int step) except *:
    for port in ports:
        if tunnels.ports_count == 3 * PORTS_MAX:
            raise ValueError(f"more than {3 * PORTS_MAX} tunnel ports")
        tunnels.ports[tunnels.ports_count] = port
        tunnels.steps[tunnels.ports_count] = step
        tunnels.ports_count += 1


@cython.final
cdef class Decoder:
    """Decodes frames as ``options`` (a DecoderConfig) says and counts those that are no unit in ``accounts``."""

    def __init__(self, Accounts accounts not None, options=None):
        if options is None:
            options = DecoderConfig()
        self.accounts = accounts
        for i, reason in enumerate(DECODE_REASONS):
            self.reasons[i] = accounts.slot(name_of("dropped", "decode", reason))
        for i, kind in enumerate(KINDS):
            self.hidden[i] = accounts.slot(hidden_name(kind))
        self.links = {kind.partition(":")[2]: accounts.slot(hidden_name(kind)) for kind in LINKS}
        self._open_tunnels(options)
        limits = options.reassembly
        self.reassembly = None if limits is None else Reassembly(accounts, limits)

    cdef int _open_tunnels(self, object options) except -1:
        """Note which tunnels are looked into, and which are not."""
        memset(&self.tunnels, 0, sizeof(Tunnels))
        memset(&self.closed, 0, sizeof(Tunnels))
        self.tunnels.ipip = "ipip" in options.tunnels
        self.tunnels.gre = "gre" in options.tunnels
        self.tunnels.hep = "hep" in options.tunnels
        self.closed.ipip = not self.tunnels.ipip
        self.closed.gre = not self.tunnels.gre
        for name, ports, step in (("vxlan", options.vxlan_ports, STEP_VXLAN),
                                  ("geneve", options.geneve_ports, STEP_GENEVE),
                                  ("gtpu", options.gtpu_ports, STEP_GTPU)):
            put_tunnel_ports(&self.tunnels if name in options.tunnels else &self.closed, ports, step)
        return 0

    cdef int decode(self, const uint8_t *frame, Layers *at) except -1:
        """Decode one frame: 1 when ``at`` describes a unit, 0 when the frame is counted and done with."""
        cdef Walk w
        cdef int step
        cdef int layers = 0
        begin(&w, frame, at, self.reassembly is not None)
        if w.beyond:
            self.accounts.at[self.hidden[HIDDEN_TRUNCATED_FRAMES]] += 1
        step = begin_step(&w, at, at.link_type)
        while step > DROP_UNSUPPORTED_LINK:
            layers += 1
            if layers > LAYERS_MAX:
                step = DROP_TOO_DEEP
                break
            if step == STEP_UPPER:
                step = self._upper(&w, at)
                if step == STEP_UNIT:
                    return 1
            elif step == STEP_ETHERNET:
                step = ethernet(&w, at)
            elif step == STEP_IPV4:
                step = ipv4(&w, at)
            elif step == STEP_IPV6:
                step = ipv6(&w, at)
            elif step == STEP_EXTENSIONS:
                step = extensions(&w, at)
            elif step == STEP_FRAGMENT:
                step = self._fragment(&w, at)
                if step == -1:
                    return 0
                if step == STEP_UNIT:
                    return 1
            elif step == STEP_UNIT:
                return 1            # a cut chain of extension headers, or what was exported without headers
            elif step == STEP_IP:
                step = any_ip(&w)
            elif step == STEP_ERSPAN2:
                step = erspan2(&w)
            elif step == STEP_ERSPAN3:
                step = erspan3(&w)
            else:
                step = below_ip(&w, at, step)
        self.accounts.at[self.reasons[step]] += 1
        if step == DROP_UNSUPPORTED_LINK:
            self.accounts.at[<int>self.links.get(str(at.link_type), self.links["other"])] += 1
        return 0

    cdef void overlook(self, const Layers *at) noexcept:
        """Count what a unit may hide that no parser took."""
        cdef int kind = hidden_in(&self.closed, at)
        if kind != HIDDEN_NOTHING:
            self.accounts.at[self.hidden[kind]] += 1

    cpdef advance(self, int64_t now):
        """Move the packet clock, ns: fragments that have waited too long are dropped."""
        if self.reassembly is not None:
            self.reassembly.advance(now)

    cpdef finish(self):
        """The capture has ended: what is still held is dropped as incomplete."""
        if self.reassembly is not None:
            self.reassembly.finish()

    def decode_one(self, bytes frame not None, *, int64_t timestamp=0, int link_type=1, orig_len=None,
                   int interface_index=0):
        """Decode one frame, moving the packet clock to ``timestamp`` (ns).

        ``None`` when it is no unit; the accounts say why.
        """
        cdef DecodedPacket packet = DecodedPacket.__new__(DecodedPacket)
        cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(frame)
        self.advance(timestamp)
        packet.at.timestamp = timestamp
        packet.at.capture_len = <uint32_t>len(frame)
        packet.at.orig_len = <uint32_t>(len(frame) if orig_len is None else orig_len)
        packet.at.interface_index = interface_index
        packet.at.link_type = <uint16_t>link_type
        if not self.decode(start, &packet.at):
            return None
        packet.renew(frame, start, self.datagram if packet.at.reassembled & OWN_MEMORY else None)
        return packet

    cdef inline int _upper(self, Walk *w, Layers *at) noexcept:
        """Read what follows IP: a tunnel that is looked into, or the unit's own transport header."""
        cdef int step
        at.protocol = w.protocol
        if w.protocol == IP_UDP:
            udp(w, at)
            if self.tunnels.ports_count and at.transport:
                step = over_udp(&self.tunnels, at)
                if step == STEP_VXLAN:
                    step = vxlan(w, at)
                elif step == STEP_GENEVE:
                    step = geneve(w, at)
                elif step == STEP_GTPU:
                    step = gtpu(w, at)
                if step != STEP_UNIT:
                    return step
            if self.tunnels.hep and at.transport:
                step = self._hep(w, at)
                if step != STEP_UNIT:
                    return step
        elif w.protocol == IP_TCP:
            tcp(w, at)
        elif w.protocol == IP_GRE and self.tunnels.gre:
            step = gre(w, at)
            if step != STEP_UNIT:
                return step
        elif w.protocol == IP_IPV4 and self.tunnels.ipip:
            return enter(w, at, TUNNEL_IPIP, 0, 0, STEP_IPV4)
        elif w.protocol == IP_IPV6 and self.tunnels.ipip:
            return enter(w, at, TUNNEL_IPIP, 0, 0, STEP_IPV6)
        return unit(w, at)

    cdef int _hep(self, Walk *w, Layers *at) noexcept:
        """Read a packet of HEP over UDP. What cannot be read, or inflated, is a unit as it is."""
        cdef HepPacket found
        if not begins_hep(w, at) or read_hep(w.p, w.end - w.p, &found) != HEP_WHOLE:
            return STEP_UNIT
        if found.compressed:
            try:
                if not self._inflate(&found):
                    return STEP_UNIT
            except Exception:
                return STEP_UNIT
        return hep(w, at, &found)

    cdef int _inflate(self, HepPacket *found) except -1:
        """Have the payload inflated in ``datagram``; whether it could be."""
        payload = inflate(PyBytes_FromStringAndSize(<const char *>found.payload.start, found.payload.size))
        if payload is None:
            return False
        self.datagram = payload
        found.payload.start = <const uint8_t *>PyBytes_AS_STRING(payload)
        found.payload.size = <uint32_t>len(payload)
        return True

    cdef bint unwrap(self, DecodedPacket packet) except -1:
        """Turn a message from a stream that is a packet of HEP into the message that it carries; false where that
        cannot be read, and nothing has changed.
        """
        cdef Walk w
        cdef HepPacket found
        cdef bytes data = packet.payload
        cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(data)
        if read_hep(start, len(data), &found) != HEP_WHOLE or found.compressed and not self._inflate(&found):
            return False
        memset(&w, 0, sizeof(Walk))
        packet.at.reassembled = 0
        packet.at.tcp_flags = 0
        hep(&w, &packet.at, &found)
        data = PyBytes_FromStringAndSize(<const char *>found.payload.start, found.payload.size)
        packet.at.payload = <const uint8_t *>PyBytes_AS_STRING(data)
        packet.at.payload_len = found.payload.size
        packet.datagram = packet._payload = data
        packet._flow = None
        return True

    cdef int _fragment(self, Walk *w, Layers *at) except -2:
        """Put a fragment with its siblings: the next step when that makes a datagram, -1 when not, and it
        is counted.
        """
        cdef Piece piece
        if self.reassembly is None or w.beyond:
            if self.reassembly is None:
                self.accounts.at[self.hidden[HIDDEN_FRAGMENTS_APART]] += 1
            if w.fragment_offset == 0:
                return STEP_UPPER if at.ip_version == 4 and w.protocol != IP_AUTHENTICATION else STEP_EXTENSIONS
            return unit(w, at)
        memset(&piece.key, 0, sizeof(piece.key))
        if at.ip_version == 4:
            memcpy(piece.key.src, at.src, 4)
            memcpy(piece.key.dst, at.dst, 4)
            piece.head = <uint32_t>(w.p - w.ip)
            piece.key.rest = <uint64_t>w.protocol << 32
        else:
            # RFC 8200 §4.5: fragments are matched by addresses and id; the next header of the first one counts.
            memcpy(piece.key.src, at.src, 16)
            memcpy(piece.key.dst, at.dst, 16)
            piece.head = w.carried + <uint32_t>(w.p - w.ip) - 48
        piece.key.rest |= <uint64_t>at.ip_version << 40 | w.fragment_id
        piece.key.scope = w.scope
        piece.data = w.p
        piece.length = <uint32_t>(w.end - w.p)
        piece.offset = w.fragment_offset
        piece.more = w.fragment_more
        piece.protocol = w.protocol
        piece.ttl = at.ttl
        if not self.reassembly.add(&piece):
            return -1
        self.datagram = self.reassembly.datagram
        at.reassembled |= 1
        at.ttl = self.reassembly.ttl
        at.total_len = self.reassembly.head + <uint32_t>len(self.reassembly.datagram)
        if at.ip_version == 6:
            at.total_len += 40
        w.protocol = self.reassembly.protocol
        w.p = <const uint8_t *>PyBytes_AS_STRING(self.reassembly.datagram)
        w.end = w.p + len(self.reassembly.datagram)
        w.ip = w.p
        w.carried = 40 + self.reassembly.head
        return STEP_EXTENSIONS if at.ip_version == 6 or w.protocol == IP_AUTHENTICATION else STEP_UPPER


cdef inline int unit(Walk *w, Layers *at) noexcept nogil:
    at.payload = w.p
    at.payload_len = <uint32_t>(w.end - w.p)
    return STEP_UNIT
