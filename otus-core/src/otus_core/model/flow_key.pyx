"""Flows by 5-tuple: the key as an object, and as the bytes in which many keys travel."""

import os
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy, memset

from otus_core.inline.hashing cimport keyed_hash
from otus_core.model.packet cimport ip_object

FLOW_KEY_FORMAT = "=16s16sHHBBH"
"""``struct`` format of one packed key: source and destination address (IPv4 in the first four bytes), their ports, IP
version, protocol, 0.
"""

assert struct.calcsize(FLOW_KEY_FORMAT) == sizeof(Flow) == 40

cdef uint64_t _secret[2]
memcpy(_secret, <const char *>PyBytes_AS_STRING(os.urandom(16)), 16)


cdef uint64_t flow_hash(const Flow *flow) noexcept nogil:
    """Hash a flow: addresses and ports come from packets, so the hash is keyed."""
    return keyed_hash(_secret, flow, sizeof(Flow))


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class FlowKey:
    """A directed 5-tuple. Addresses are given as text, packed bytes or ``ipaddress`` objects; both are ``None`` in the
    flow of a record that has none.
    """

    def __init__(self, src_ip, int src_port, dst_ip, int dst_port, int protocol):
        cdef bint bare = src_ip is None and dst_ip is None
        cdef bytes src = bytes(16) if bare else packed_address(src_ip)
        cdef bytes dst = bytes(16) if bare else packed_address(dst_ip)
        if len(src) != len(dst):
            raise ValueError("src_ip and dst_ip are not of one IP version")
        if not (0 <= src_port <= 65535 and 0 <= dst_port <= 65535 and 0 <= protocol <= 255):
            raise ValueError("port or protocol out of range")
        _fill(self, 0 if bare else 4 if len(src) == 4 else 6, src, dst, src_port, dst_port, protocol)

    @staticmethod
    def endpoint(ip, int port, int protocol):
        """Give the key of an endpoint, which stands for flows from anywhere: its source is the unspecified address with
        port 0.
        """
        cdef bytes packed = packed_address(ip)
        return FlowKey(bytes(len(packed)), 0, packed, port, protocol)

    @property
    def src_ip(self):
        return ip_object(self.at.src, self.at.version)

    @property
    def dst_ip(self):
        return ip_object(self.at.dst, self.at.version)

    @property
    def src_port(self):
        return self.at.src_port

    @property
    def dst_port(self):
        return self.at.dst_port

    @property
    def protocol(self):
        return self.at.protocol

    def reversed(self):
        """Give the key of the other direction."""
        return make_flow_key(self.at.version, self.at.dst, self.at.src, self.at.dst_port, self.at.src_port,
                             self.at.protocol)

    def __hash__(self):
        return <Py_hash_t>(self.hashed >> 1)

    def __eq__(self, other):
        if type(other) is not FlowKey:
            return NotImplemented
        return self.hashed == (<FlowKey>other).hashed and memcmp(&self.at, &(<FlowKey>other).at, sizeof(Flow)) == 0

    def __reduce__(self):
        return FlowKey, (self.src_ip, self.at.src_port, self.dst_ip, self.at.dst_port, self.at.protocol)

    def parts(self):
        """Give ``(src_ip, src_port, dst_ip, dst_port, protocol)``, the addresses packed, or empty in a record."""
        cdef int size = 4 if self.at.version == 4 else 16 if self.at.version else 0
        return (PyBytes_FromStringAndSize(<const char *>self.at.src, size), self.at.src_port,
                PyBytes_FromStringAndSize(<const char *>self.at.dst, size), self.at.dst_port, self.at.protocol)

    def packed(self):
        """Give the key in ``FLOW_KEY_FORMAT``."""
        return PyBytes_FromStringAndSize(<const char *>&self.at, sizeof(Flow))

    def __repr__(self):
        if self.at.version == 0:
            return f"FlowKey(None, {self.src_port}, None, {self.dst_port}, {self.protocol})"
        if self.at.src_port == 0 and self == FlowKey.endpoint(self.dst_ip, self.at.dst_port, self.at.protocol):
            return f"FlowKey.endpoint('{self.dst_ip}', {self.at.dst_port}, {self.at.protocol})"
        return f"FlowKey('{self.src_ip}', {self.src_port}, '{self.dst_ip}', {self.dst_port}, {self.protocol})"


cdef bytes packed_address(address):
    """Give the 4 or 16 bytes of an address. Raises ValueError and TypeError for what is none."""
    if type(address) is bytes:
        if len(<bytes>address) not in (4, 16):
            raise ValueError("a packed address is 4 or 16 bytes")
        return <bytes>address
    if isinstance(address, str):
        address = ip_address(address)
    if not isinstance(address, (IPv4Address, IPv6Address)):
        raise TypeError(f"an address is {type(address).__name__}: give text, packed bytes or an ipaddress object")
    return address.packed


cdef inline void _fill(FlowKey key, int version, const uint8_t *src, const uint8_t *dst, uint16_t src_port,
                       uint16_t dst_port, uint8_t protocol) noexcept:
    cdef int size = 4 if version == 4 else 16
    memset(&key.at, 0, sizeof(Flow))
    memcpy(key.at.src, src, size)
    memcpy(key.at.dst, dst, size)
    key.at.src_port = src_port
    key.at.dst_port = dst_port
    key.at.version = <uint8_t>version
    key.at.protocol = protocol
    key.hashed = flow_hash(&key.at)


cdef FlowKey make_flow_key(int version, const uint8_t *src, const uint8_t *dst, uint16_t src_port, uint16_t dst_port,
                           uint8_t protocol):
    cdef FlowKey key = FlowKey.__new__(FlowKey)
    _fill(key, version, src, dst, src_port, dst_port, protocol)
    return key


cdef const Flow *packed_flows(object keys, Py_ssize_t *count, list holder) except NULL:
    """Give keys as packed ones, whether they come packed in one bytes object or as ``FlowKey``s; ``holder`` keeps the
    memory. Raises ValueError and TypeError.
    """
    cdef bytes packed
    cdef FlowKey key
    if type(keys) is bytes:
        packed = <bytes>keys
        if PyBytes_GET_SIZE(packed) % <Py_ssize_t>sizeof(Flow):
            raise ValueError(f"packed flow keys are {sizeof(Flow)} bytes each")
    else:
        parts = []
        for item in keys:
            key = item
            if key is None:
                raise TypeError("a flow key is None")
            parts.append(key.packed())
        packed = b"".join(parts)
    holder.append(packed)
    count[0] = PyBytes_GET_SIZE(packed) // <Py_ssize_t>sizeof(Flow)
    return <const Flow *>PyBytes_AS_STRING(packed)
