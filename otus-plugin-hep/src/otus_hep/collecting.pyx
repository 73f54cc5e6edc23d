"""From packets of HEP, as datagrams or as a stream, to frames.

In: bytes that agents sent. Out: ``FrameBatch`` of exported PDUs (LINKTYPE_WIRESHARK_UPPER_PDU): the message of each
packet, with the addresses, ports and protocol that HEP gives; its node, correlation id and VLAN as metadata. Each
packet that gives no frame is counted by its reason.
"""

import time
import zlib
from hmac import compare_digest

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from otus_core import FrameBatch, FrameMetadata

from otus_hep.plugin import PACKETS

from otus_core.inline.hep cimport *
from otus_core.inline.layouts cimport FrameRecord
from otus_core.inline.writer cimport Writer, raw, release, room, written

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <netinet/in.h>
    #include <sys/socket.h>
    #include <sys/uio.h>
    """
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct sockaddr_storage:
        unsigned short ss_family
    int recvmmsg(int sockfd, mmsghdr *msgvec, unsigned int vlen, int flags, void *timeout) noexcept nogil
    int MSG_DONTWAIT
    int AF_INET

cdef enum:
    AT_ONCE = 32                # datagrams of one system call
    # one more than a length of 16 bits can say: nothing is cut
    DATAGRAM_ROOM = 65536
    PAYLOAD_MAX = 65507         # of a message, also of one that was compressed
    SOURCES_MAX = 4096          # remembered; then the memory begins anew
    CACHED_MAX = 8192           # metadata
    SETS_MAX = 60000            # metadata of one batch, which has room for 65,535
    LINK_TYPE = 252             # tcpdump.org/linktypes: WIRESHARK_UPPER_PDU
    OUTCOMES = 11
    AF_INET_PORT = 4            # bytes before the address in struct sockaddr_in
    AF_INET6_ADDRESS = 8        # likewise in struct sockaddr_in6

REASONS = PACKETS
"""What becomes of packets: those that are given, and why the others are not. The first ones are in the order of
``otus_core.inline.hep``.
"""

cdef enum:
    REFUSED_SOURCE = 6
    REFUSED_KEY = 7
    OVER_RATE = 8
    TOO_LARGE = 9
    NOT_INFLATED = 10

assert len(REASONS) == OUTCOMES


@cython.final
cdef class Source:
    """One agent's address: whether it may send, and how many packets more at this moment."""

    cdef readonly bint allowed
    cdef double rate
    cdef double tokens
    cdef double filled_at

    def __init__(self, bint allowed, double rate):
        self.allowed = allowed
        self.rate = rate
        self.tokens = rate
        self.filled_at = time.monotonic()

    cdef bint take(self, double now) noexcept:
        """Say whether one more may come, and count it."""
        if self.rate <= 0:
            return True
        if now > self.filled_at:
            self.tokens = min(self.rate, self.tokens + (now - self.filled_at) * self.rate)
            self.filled_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def pause(self):
        """Give how many seconds it has to wait for its next packet."""
        if self.take(time.monotonic()):
            self.tokens += 1
            return 0.0
        return (1 - self.tokens) / self.rate


@cython.final
cdef class Collector:
    """Takes packets and gives frames.

    ``allows(address)`` says whether a source may send, by its address of 4 or 16 bytes; ``rate`` is how many packets a
    second each may, 0 for any number; ``key`` must be in each packet, unless it is empty.
    """

    cdef object allows
    cdef double rate
    cdef bytes key
    cdef dict sources
    cdef dict cached            # metadata by the bytes that they are made of
    cdef dict places            # of those in this batch
    cdef list sets
    cdef Writer out
    cdef Writer index
    cdef Py_ssize_t count
    cdef readonly int64_t given # frames since the beginning
    cdef int64_t counts[OUTCOMES]
    cdef uint8_t *room

    def __init__(self, allows, double rate, bytes key not None):
        self.allows = allows
        self.rate = rate
        self.key = key
        self.sources = {}
        self.cached = {}
        self.places = {}
        self.sets = []

    def __dealloc__(self):
        release(&self.out)
        release(&self.index)
        PyMem_Free(self.room)

    def source(self, bytes address not None):
        """Give the source of an address of 4 or 16 bytes; an IPv4 address within IPv6 (RFC 4291 §2.5.5.2) is one of
        IPv4.
        """
        cdef Source found
        # A socket for both families shows IPv4 agents so, and a rule for their network is to hold whichever socket they
        # use.
        if len(address) == 16 and address.startswith(b"\0\0\0\0\0\0\0\0\0\0\xff\xff"):
            address = address[12:]
        found = self.sources.get(address)
        if found is None:
            if len(self.sources) >= SOURCES_MAX:
                self.sources.clear()
            found = self.sources[address] = Source(self.allows(address), self.rate)
        return found

    def take_counts(self):
        """Give what was counted since the last time, by reason."""
        told = {REASONS[i]: self.counts[i] for i in range(OUTCOMES) if self.counts[i]}
        memset(self.counts, 0, sizeof(self.counts))
        return told

    def datagrams(self, int descriptor, int most):
        """Take up to ``most`` datagrams of a socket that does not block; gives how many there were."""
        cdef mmsghdr heads[AT_ONCE]
        cdef iovec parts[AT_ONCE]
        cdef sockaddr_storage names[AT_ONCE]
        cdef int64_t now = time.time_ns()
        cdef double clock = time.monotonic()
        cdef Source source
        cdef int i, n
        cdef int taken = 0
        if self.room == NULL:
            self.room = <uint8_t *>PyMem_Malloc(AT_ONCE * DATAGRAM_ROOM)
            if self.room == NULL:
                raise MemoryError
        while taken < most and len(self.sets) < SETS_MAX:
            memset(heads, 0, sizeof(heads))
            for i in range(AT_ONCE):
                parts[i].iov_base = self.room + i * DATAGRAM_ROOM
                parts[i].iov_len = DATAGRAM_ROOM
                heads[i].msg_hdr.msg_iov = &parts[i]
                heads[i].msg_hdr.msg_iovlen = 1
                heads[i].msg_hdr.msg_name = &names[i]
                heads[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
            n = recvmmsg(descriptor, heads, AT_ONCE, MSG_DONTWAIT, NULL)
            if n <= 0:
                if n < 0 and errno == EINTR:
                    continue
                break
            for i in range(n):
                source = self.source(_address(&names[i]))
                if not source.allowed:
                    self.counts[REFUSED_SOURCE] += 1
                elif not source.take(clock):
                    self.counts[OVER_RATE] += 1
                else:
                    self.add(self.room + i * DATAGRAM_ROOM, heads[i].msg_len, now)
            taken += n
            if n < AT_ONCE:
                break
        return taken

    def stream(self, bytes data not None, Source source not None):
        """Take the whole packets of version 3 at the beginning of ``data``; gives how many bytes they are, -1 where
        something else begins behind them.

        It stops early when the source has to pause.
        """
        cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t length
        cdef int64_t now = time.time_ns()
        cdef double clock = time.monotonic()
        while size - at >= HEP3_HEAD:
            if not is_hep3(start + at, size - at):
                self.counts[HEP_STRANGE] += 1
                return -1
            length = hep3_size(start + at)
            if length < HEP3_HEAD:
                self.counts[HEP_CUT] += 1
                return -1
            if length > size - at or len(self.sets) >= SETS_MAX or not source.take(clock):
                break
            self.add(start + at, length, now)
            at += length
        if size - at < HEP3_HEAD and memcmp(start + at, b"HEP3", min(size - at, 4)) != 0:
            self.counts[HEP_STRANGE] += 1
            return -1
        return at

    cdef int add(self, const uint8_t *data, Py_ssize_t size, int64_t now) except -1:
        """Take one packet."""
        cdef HepPacket found
        cdef int verdict = read_hep(data, size, &found)
        cdef bytes inflated = None
        if verdict == HEP_WHOLE and self.key:
            # Takes the same time wherever the two differ: an agent is not to find the key byte by byte.
            if not compare_digest(found.key.start[:found.key.size] if found.key.size else b"", self.key):
                verdict = REFUSED_KEY
        if verdict == HEP_WHOLE and found.compressed:
            inflated = _inflate(found.payload.start[:found.payload.size])
            if inflated is None:
                verdict = NOT_INFLATED
            else:
                found.payload.start = <const uint8_t *>PyBytes_AS_STRING(inflated)
                found.payload.size = <uint32_t>PyBytes_GET_SIZE(inflated)
        if verdict == HEP_WHOLE and found.payload.size > PAYLOAD_MAX:
            verdict = TOO_LARGE
        self.counts[verdict] += 1
        return self.give(&found, now) if verdict == HEP_WHOLE else 0

    cdef int give(self, HepPacket *found, int64_t now) except -1:
        """Write the frame of a packet, and its record in the index."""
        cdef FrameRecord record
        cdef char *at = room(&self.out, 96 + <Py_ssize_t>found.payload.size)
        cdef Py_ssize_t width = 4 if found.ip_version == 4 else 16
        record.offset = written(&self.out)
        at = _tag(at, 20 if width == 4 else 22, found.src, width)
        at = _tag(at, 21 if width == 4 else 23, found.dst, width)
        at = _number(at, 24, 2 if found.protocol == 6 else 1 if found.protocol == 132 else 3)
        at = _number(at, 25, found.src_port)
        at = _number(at, 26, found.dst_port)
        memset(at, 0, 4)
        at += 4
        memcpy(at, found.payload.start, found.payload.size)
        self.out.at = at + found.payload.size
        record.timestamp = found.timestamp if found.timestamp >= 0 else now
        record.capture_len = record.orig_len = <uint32_t>(written(&self.out) - record.offset)
        record.interface_index = 0
        record.link_type = LINK_TYPE
        record.metadata = self.place(found)
        raw(&self.index, <const char *>&record, sizeof(FrameRecord))
        self.count += 1
        self.given += 1
        return 0

    cdef uint16_t place(self, HepPacket *found) except? 65535:
        """Give the place of a packet's metadata in this batch, counted from 1; 0 where it has none."""
        cdef char head[12]
        cdef bytes made_of
        if not (found.node.size or found.correlation.size or found.vlan or found.has_capture_id):
            return 0
        memcpy(head, &found.node.size, 4)
        memcpy(head + 4, &found.capture_id, 4)
        memcpy(head + 8, &found.vlan, 2)
        head[10] = found.has_capture_id
        made_of = head[:11] + _text(&found.node) + _text(&found.correlation)
        known = self.places.get(made_of)
        if known is not None:
            return known
        metadata = self.cached.get(made_of)
        if metadata is None:
            if len(self.cached) >= CACHED_MAX:
                self.cached.clear()
            metadata = self.cached[made_of] = _metadata(found)
        self.sets.append(metadata)
        self.places[made_of] = len(self.sets)
        return <uint16_t>len(self.sets)

    def batch(self):
        """Give the frames since the last time."""
        made = FrameBatch(
            PyBytes_FromStringAndSize(self.out.start, written(&self.out)) if self.count else b"",
            PyBytes_FromStringAndSize(self.index.start, written(&self.index)) if self.count else b"",
            self.count, self.sets,
        )
        self.out.at, self.index.at, self.count = self.out.start, self.index.start, 0
        self.sets = []
        self.places.clear()
        return made


cdef bytes _address(const sockaddr_storage *name):
    cdef const uint8_t *start = <const uint8_t *>name
    if name.ss_family == AF_INET:
        return start[AF_INET_PORT:AF_INET_PORT + 4]
    return start[AF_INET6_ADDRESS:AF_INET6_ADDRESS + 16]


cdef inline char *_tag(char *at, int kind, const uint8_t *value, Py_ssize_t size) noexcept nogil:
    """Write a tag of an exported PDU: kind, length, value."""
    at[0] = at[2] = 0
    at[1] = <char>kind
    at[3] = <char>size
    memcpy(at + 4, value, size)
    return at + 4 + size


cdef inline char *_number(char *at, int kind, uint32_t value) noexcept nogil:
    cdef uint8_t[4] big = [<uint8_t>(value >> 24), <uint8_t>(value >> 16), <uint8_t>(value >> 8), <uint8_t>value]
    return _tag(at, kind, big, 4)


cdef bytes _text(HepText *text):
    return text.start[:text.size] if text.size else b""


cdef object _metadata(HepPacket *found):
    """Make the metadata of a packet; an agent without a name is known by its number."""
    node = _text(&found.node).decode("utf-8", "replace")
    if not node and found.has_capture_id:
        node = str(found.capture_id)
    return FrameMetadata({
        "node": node,
        "correlation_id": _text(&found.correlation).decode("utf-8", "replace"),
        "vlan": str(found.vlan) if found.vlan else "",
    })


cdef bytes _inflate(bytes data):
    """Give what gzip or zlib compressed, up to one byte more than a payload may have; ``None`` if it is neither."""
    inflater = zlib.decompressobj(wbits=47)     # zlib.h: either of both
    try:
        return inflater.decompress(data, PAYLOAD_MAX + 1) or None
    except zlib.error:
        return None
