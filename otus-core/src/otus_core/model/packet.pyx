"""A frame after decoding: what the link, IP and transport headers say, and the payload.

A packet points into its frame as long as nobody else can see it; the pipeline calls ``detach`` on every packet that
somebody still holds before the frame's memory is used again, so a packet may be kept for ever.
"""

from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from otus_core.model.flow_key cimport make_flow_key
from otus_core.model.frames cimport FrameBatch

cdef object _NO_METADATA = MappingProxyType({})

TUNNEL_NAMES = (None, "vxlan", "gre", "erspan", "geneve", "ipip", "gtpu", "hep")

# Addresses seen lately, so that a busy peer's object is made once. Cleared when full: packets cannot make it grow.
cdef dict _ip_objects = {}
cdef enum:
    IP_CACHE_MAX = 16384


cdef object ip_object(const uint8_t *address, int version):
    """Give the ``ipaddress`` object of a packed address."""
    if version == 0:
        return None
    cdef bytes packed = PyBytes_FromStringAndSize(<const char *>address, 4 if version == 4 else 16)
    found = _ip_objects.get(packed)
    if found is None:
        if len(_ip_objects) >= IP_CACHE_MAX:
            _ip_objects.clear()
        found = IPv4Address(packed) if version == 4 else IPv6Address(packed)
        _ip_objects[packed] = found
    return found


cdef tuple _vlans(Layers *at):
    if at.vlan_count == 0:
        return ()
    if at.vlan_count == 1:
        return (at.vlans[0],)
    return (at.vlans[0], at.vlans[1])


@cython.final
cdef class Ethernet:
    """Ethernet header: ``src_mac`` and ``dst_mac`` (6 bytes), ``ethertype`` after tags, ``vlans`` (0 to 2 ids,
    outermost first).
    """

    cdef readonly bytes src_mac
    cdef readonly bytes dst_mac
    cdef readonly int ethertype
    cdef readonly tuple vlans

    def __repr__(self):
        return (f"Ethernet(src_mac={self.src_mac.hex(':')!r}, dst_mac={self.dst_mac.hex(':')!r}, "
                f"ethertype={self.ethertype:#06x}, vlans={self.vlans})")


@cython.final
cdef class IP:
    """IP header of the innermost packet; ``outer_src``, ``outer_dst`` and ``tunnel`` are ``None`` unless it was
    decapsulated. ``dscp`` is how routers are asked to treat it (RFC 2474), 0 to 63.
    """

    cdef readonly int version
    cdef readonly object src
    cdef readonly object dst
    cdef readonly int protocol
    cdef readonly int ttl
    cdef readonly int dscp
    cdef readonly int total_len
    cdef readonly object outer_src
    cdef readonly object outer_dst
    cdef readonly object tunnel
    cdef readonly object vni

    def __repr__(self):
        return f"IP(version={self.version}, src={self.src}, dst={self.dst}, protocol={self.protocol}, ttl={self.ttl})"


@cython.final
cdef class Transport:
    """UDP or TCP header: ports, and for TCP ``tcp_flags``, ``seq`` and ``ack`` (else 0)."""

    cdef readonly int protocol
    cdef readonly int src_port
    cdef readonly int dst_port
    cdef readonly int tcp_flags
    cdef readonly unsigned int seq
    cdef readonly unsigned int ack

    def __repr__(self):
        return f"Transport(protocol={self.protocol}, src_port={self.src_port}, dst_port={self.dst_port})"


@cython.final
@cython.freelist(64)
cdef class DecodedPacket:
    """One decoded packet.

    ``timestamp`` is in ns since 1970; addresses are of the innermost IP header. May be kept for ever. A message from a
    stream has the ``timestamp`` of the frame that holds its first byte and the ``end_timestamp`` of the one that holds
    its last; all else is of the latter.
    """

    def __init__(self):
        raise TypeError("packets come from the decoder; to make one in a test use otus_core.testing")

    cdef void renew(self, object owner, const uint8_t *frame_start, object datagram) noexcept:
        self.owner = owner
        self.frame_start = frame_start
        self.datagram = datagram
        self._payload = None
        self._flow = None

    cdef int detach(self) except -1:
        """Copy the frame, so that nothing points into memory that will be used again."""
        cdef bytes copy
        cdef const uint8_t *start
        if type(self.owner) is bytes:
            return 0
        if self.at.metadata:
            self.kept = self.captured()
        copy = PyBytes_FromStringAndSize(<const char *>self.frame_start, self.at.capture_len)
        start = <const uint8_t *>PyBytes_AS_STRING(copy)
        if self.datagram is None and self.at.payload != NULL:
            self.at.payload = start + (self.at.payload - self.frame_start)
        self.frame_start = start
        self.owner = copy
        return 0

    cdef FrameMetadata captured(self):
        """Give the frame's metadata, ``None`` where it has none."""
        if self.at.metadata == 0:
            return None
        if type(self.owner) is FrameBatch:
            return <FrameMetadata>(<FrameBatch>self.owner).metadata[<Py_ssize_t>self.at.metadata - 1]
        return self.kept

    @property
    def metadata(self):
        cdef FrameMetadata found = self.captured()
        return _NO_METADATA if found is None else found.fields

    @property
    def timestamp(self):
        return self.at.timestamp

    @property
    def end_timestamp(self):
        return self.at.end_timestamp if self.at.reassembled & 2 else self.at.timestamp

    @property
    def capture_len(self):
        return self.at.capture_len

    @property
    def orig_len(self):
        return self.at.orig_len

    @property
    def interface_index(self):
        return self.at.interface_index

    @property
    def link_type(self):
        return self.at.link_type

    @property
    def reassembled(self):
        return self.at.reassembled & 3 != 0

    @property
    def truncated(self):
        return self.at.truncated != 0

    @property
    def src_ip(self):
        return ip_object(self.at.src, self.at.ip_version)

    @property
    def dst_ip(self):
        return ip_object(self.at.dst, self.at.ip_version)

    @property
    def protocol(self):
        return self.at.protocol

    @property
    def dscp(self):
        return self.at.traffic_class >> 2

    @property
    def src_port(self):
        return self.at.src_port

    @property
    def dst_port(self):
        return self.at.dst_port

    @property
    def vlans(self):
        return _vlans(&self.at)

    @property
    def tunnel(self):
        return TUNNEL_NAMES[self.at.tunnel]

    @property
    def vni(self):
        return self.at.vni if self.at.has_vni else None

    @property
    def outer_src_ip(self):
        return ip_object(self.at.outer_src, self.at.outer_version)

    @property
    def outer_dst_ip(self):
        return ip_object(self.at.outer_dst, self.at.outer_version)

    @property
    def payload_len(self):
        return self.at.payload_len

    @property
    def payload(self):
        if self._payload is None:
            self._payload = b""
            if self.at.payload_len:
                self._payload = PyBytes_FromStringAndSize(<const char *>self.at.payload, self.at.payload_len)
        return self._payload

    @property
    def frame(self):
        return PyBytes_FromStringAndSize(<const char *>self.frame_start, self.at.capture_len)

    @property
    def flow(self):
        if self._flow is None:
            self._flow = make_flow_key(self.at.ip_version, self.at.src, self.at.dst, self.at.src_port, self.at.dst_port,
                                       self.at.protocol)
        return self._flow

    @property
    def ethernet(self):
        if not self.at.has_ethernet:
            return None
        cdef Ethernet header = Ethernet.__new__(Ethernet)
        header.src_mac = self.at.src_mac[:6]
        header.dst_mac = self.at.dst_mac[:6]
        header.ethertype = self.at.ethertype
        header.vlans = _vlans(&self.at)
        return header

    @property
    def ip(self):
        cdef IP header = IP.__new__(IP)
        header.version = self.at.ip_version
        header.src = self.src_ip
        header.dst = self.dst_ip
        header.protocol = self.at.protocol
        header.ttl = self.at.ttl
        header.dscp = self.at.traffic_class >> 2
        header.total_len = self.at.total_len
        header.outer_src = self.outer_src_ip
        header.outer_dst = self.outer_dst_ip
        header.tunnel = self.tunnel
        header.vni = self.vni
        return header

    @property
    def transport(self):
        if not self.at.transport:
            return None
        cdef Transport header = Transport.__new__(Transport)
        header.protocol = self.at.transport
        header.src_port = self.at.src_port
        header.dst_port = self.at.dst_port
        header.tcp_flags = self.at.tcp_flags
        header.seq = self.at.seq
        header.ack = self.at.ack
        return header

    def __repr__(self):
        return (f"DecodedPacket({self.src_ip}:{self.at.src_port} -> {self.dst_ip}:{self.at.dst_port}, "
                f"protocol={self.at.protocol}, payload_len={self.at.payload_len})")
