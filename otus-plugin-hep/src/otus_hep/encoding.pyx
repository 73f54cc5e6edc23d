"""From outputs to packets of HEP version 3, one behind the other in one buffer, and from there to a socket.

In: a batch of outputs. Out: ``Packets``: those that HEP can carry in the order of their times, and why the others
cannot go. Everything that may be foreign code is called before anything of its message is written.
"""

import zlib

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from otus_core import encode_json

from otus_hep.rtcp import homer_json

from otus_core.inline.hep cimport *
from otus_core.inline.layouts cimport Flow
from otus_core.inline.writer cimport Writer, release, room, written

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/socket.h>
    #include <sys/uio.h>
    """
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int sendmmsg(int sockfd, mmsghdr *msgvec, unsigned int vlen, int flags) noexcept nogil
    int MSG_DONTWAIT, MSG_NOSIGNAL

cdef enum:
    KIND_SIP = 1                # of the payload, as HEP numbers them
    KIND_RTCP = 5
    SIZE_MAX = 65535            # its length has 16 bits
    AT_ONCE = 256               # datagrams of one system call
    # head, family, protocol, addresses, ports, times, kind, capture id, VLAN
    FIXED_MAX = 6 + 7 + 7 + 2 * 22 + 2 * 8 + 2 * 10 + 7 + 10 + 8

cdef int64_t SECOND = 1_000_000_000


cdef inline char *chunk(char *at, uint32_t kind, uint32_t size) noexcept nogil:
    """Write the head of a chunk with ``size`` bytes behind it."""
    size += CHUNK_HEAD
    at[0] = at[1] = at[2] = 0
    at[3] = <char>kind
    at[4] = <char>(size >> 8)
    at[5] = <char>(size & 255)
    return at + CHUNK_HEAD


cdef inline char *put8(char *at, uint32_t kind, uint8_t value) noexcept nogil:
    at = chunk(at, kind, 1)
    at[0] = <char>value
    return at + 1


cdef inline char *put16(char *at, uint32_t kind, uint16_t value) noexcept nogil:
    at = chunk(at, kind, 2)
    at[0] = <char>(value >> 8)
    at[1] = <char>(value & 255)
    return at + 2


cdef inline char *put32(char *at, uint32_t kind, uint32_t value) noexcept nogil:
    at = chunk(at, kind, 4)
    at[0] = <char>(value >> 24)
    at[1] = <char>(value >> 16 & 255)
    at[2] = <char>(value >> 8 & 255)
    at[3] = <char>(value & 255)
    return at + 4


cdef inline char *put(char *at, uint32_t kind, const char *data, Py_ssize_t size) noexcept nogil:
    at = chunk(at, kind, <uint32_t>size)
    memcpy(at, data, size)
    return at + size


cdef inline char *put_bytes(char *at, uint32_t kind, bytes data):
    return put(at, kind, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


cdef inline Py_ssize_t room_of(bytes data):
    """Give how many bytes a chunk takes, 0 for none."""
    return 0 if data is None else CHUNK_HEAD + PyBytes_GET_SIZE(data)


@cython.final
cdef class Packets:
    """Packets of HEP one behind the other.

    ``places`` are the places of their outputs in the batch; ``failed`` has the places of the others, by reason.
    """

    cdef Writer out
    cdef uint32_t *ends         # where each packet ends
    cdef readonly Py_ssize_t count
    cdef readonly list places
    cdef readonly dict failed

    def __cinit__(self, Py_ssize_t most):
        self.ends = <uint32_t *>PyMem_Malloc(max(most, 1) * sizeof(uint32_t))
        if self.ends == NULL:
            raise MemoryError
        self.places = []
        self.failed = {}

    def __dealloc__(self):
        release(&self.out)
        PyMem_Free(self.ends)

    cdef int fail(self, str reason, object place) except -1:
        self.failed.setdefault(reason, []).append(place)
        return 0

    cdef inline uint32_t begin(self, Py_ssize_t number) noexcept nogil:
        return 0 if number == 0 else self.ends[number - 1]

    def stream(self):
        """Give all packets in one piece."""
        return PyBytes_FromStringAndSize(self.out.start, written(&self.out)) if self.count else b""

    def __len__(self):
        return self.count

    def __getitem__(self, Py_ssize_t number):
        if not 0 <= number < self.count:
            raise IndexError(number)
        return PyBytes_FromStringAndSize(self.out.start + self.begin(number),
                                         self.ends[number] - self.begin(number))

    def send(self, int descriptor, Py_ssize_t first):
        """Send packets from the number ``first`` on as datagrams over a connected socket that does not block.

        Gives how many went, and the error number that stopped it, 0 where all went.
        """
        cdef mmsghdr heads[AT_ONCE]
        cdef iovec parts[AT_ONCE]
        cdef Py_ssize_t at = first
        cdef int n, i, sent
        cdef int error = 0
        if first < 0:
            raise IndexError(first)
        with nogil:
            memset(heads, 0, sizeof(heads))
            while at < self.count and error == 0:
                n = <int>min(self.count - at, <Py_ssize_t>AT_ONCE)
                for i in range(n):
                    parts[i].iov_base = self.out.start + self.begin(at + i)
                    parts[i].iov_len = self.ends[at + i] - self.begin(at + i)
                    heads[i].msg_hdr.msg_iov = &parts[i]
                    heads[i].msg_hdr.msg_iovlen = 1
                sent = sendmmsg(descriptor, heads, <unsigned int>n, MSG_DONTWAIT | MSG_NOSIGNAL)
                if sent > 0:
                    at += sent
                elif errno != EINTR:
                    error = errno
        return at - first, error


@cython.final
cdef class Encoder:
    """Makes packets as ``config`` (a ``HepReporterConfig``) says.

    ``node`` and ``key`` are bytes, empty for none. ``call_labels`` names by payload type the label that tells calls
    apart.
    """

    cdef dict kinds
    cdef dict call_labels
    cdef bytes node
    cdef bytes key
    cdef uint32_t capture_id
    cdef Py_ssize_t largest
    cdef object squeeze         # compresses a payload, or None
    cdef object payload_type    # of the last output, and what belongs to it
    cdef object call_label
    cdef int kind

    def __init__(self, config, bytes node not None, bytes key not None, call_labels):
        self.kinds = {"sip": KIND_SIP, "rtcp": KIND_RTCP}
        for name in config.records:
            self.kinds[name] = -config.record_kind
        self.call_labels = dict(call_labels)
        self.node = node or None
        self.key = key or None
        self.capture_id = config.capture_id
        self.largest = min(config.max_size, SIZE_MAX)
        self.squeeze = {"none": None, "gzip": _gzip, "zlib": zlib.compress}[config.compression]

    def encode(self, batch):
        """Give the packets of a batch."""
        cdef Py_ssize_t count = len(batch)
        cdef Packets made = Packets.__new__(Packets, count)
        cdef Py_ssize_t place
        cdef int64_t before = -SECOND
        cdef int64_t now
        order = range(count)
        for output in batch:
            now = output.timestamp
            if now < before:
                times = [output.timestamp for output in batch]
                order = sorted(order, key=times.__getitem__)
                break
            before = now
        if count:
            room(&made.out, count * 512)
        for place in order:
            self.add(made, batch[place], place)
        return made

    cdef int add(self, Packets made, object output, Py_ssize_t place) except -1:
        """Write the packet of one output, or note why it has none."""
        cdef bytes payload, correlation, packed
        cdef bint compressed = False
        try:
            self.know(output.payload_type)
            if self.kind == 0:
                return made.fail("left_out", place)
            payload = self.payload(output)
            correlation = self.correlation(output)
            flow = output.flow
            packed = bytes(sizeof(Flow)) if flow is None else flow.packed()
            vlans = output.vlans
        except Exception:       # a payload's own to_json, or a label that is no text: this message alone is lost
            return made.fail("encode", place)
        if self.squeeze is not None and PyBytes_GET_SIZE(payload):
            smaller = self.squeeze(payload)
            if len(smaller) < len(payload):
                payload, compressed = smaller, True
        return self.write(made, place, output.timestamp, packed, vlans[0] if vlans else 0, payload, correlation,
                          compressed)

    cdef int know(self, object payload_type) except -1:
        """Have what belongs to a payload type."""
        if payload_type is not self.payload_type:
            self.kind = self.kinds.get(payload_type, 0)
            self.call_label = self.call_labels.get(payload_type)
            self.payload_type = payload_type
        return 0

    cdef bytes payload(self, object output):
        if self.kind == KIND_SIP:
            return output.raw_payload
        if self.kind == KIND_RTCP:
            return homer_json(output.raw_payload, encrypted=output.label("rtp.encrypted") == "true")
        return encode_json(output)

    cdef bytes correlation(self, object output):
        """Give what tells calls apart, ``None`` where nothing does."""
        found = output.key
        if found is None and self.call_label is not None:
            found = output.label(self.call_label)
        return None if not found else (<str?>found).encode("utf-8", "replace")

    cdef int write(self, Packets made, Py_ssize_t place, int64_t timestamp, bytes packed, uint16_t vlan, bytes payload,
                   bytes correlation, bint compressed) except -1:
        cdef const Flow *flow = <const Flow *>PyBytes_AS_STRING(packed)
        cdef Py_ssize_t most = (FIXED_MAX + room_of(self.node) + room_of(self.key) + room_of(correlation)
                                + room_of(payload))
        cdef char *start
        cdef char *at
        cdef Py_ssize_t size
        cdef bint six = flow.version == 6
        if timestamp < 0 or timestamp // SECOND >> 32:
            return made.fail("encode", place)       # HEP's seconds have 32 bits
        if most > SIZE_MAX + FIXED_MAX:
            return made.fail("too_large", place)
        start = room(&made.out, most)
        at = start + HEP3_HEAD
        at = put8(at, CHUNK_FAMILY, 10 if six else 2)       # Linux's AF_INET6, whatever machine this is
        at = put8(at, CHUNK_PROTOCOL, flow.protocol)
        at = put(at, CHUNK_SRC6 if six else CHUNK_SRC4, <const char *>flow.src, 16 if six else 4)
        at = put(at, CHUNK_DST6 if six else CHUNK_DST4, <const char *>flow.dst, 16 if six else 4)
        at = put16(at, CHUNK_SRC_PORT, flow.src_port)
        at = put16(at, CHUNK_DST_PORT, flow.dst_port)
        at = put32(at, CHUNK_SECONDS, <uint32_t>(timestamp // SECOND))
        at = put32(at, CHUNK_MICROSECONDS, <uint32_t>(timestamp % SECOND // 1000))
        at = put8(at, CHUNK_KIND, <uint8_t>abs(self.kind))
        at = put32(at, CHUNK_CAPTURE_ID, self.capture_id)
        if vlan:
            at = put16(at, CHUNK_VLAN, vlan)
        if self.node is not None:
            at = put_bytes(at, CHUNK_NODE, self.node)
        if self.key is not None:
            at = put_bytes(at, CHUNK_KEY, self.key)
        if correlation is not None:
            at = put_bytes(at, CHUNK_CORRELATION, correlation)
        at = put_bytes(at, CHUNK_COMPRESSED if compressed else CHUNK_PAYLOAD, payload)
        size = at - start
        if size > self.largest:
            return made.fail("too_large", place)
        memcpy(start, b"HEP3", 4)
        start[4] = <char>(size >> 8)
        start[5] = <char>(size & 255)
        made.out.at = at
        made.ends[made.count] = <uint32_t>written(&made.out)
        made.count += 1
        made.places.append(place)
        return 0


def _gzip(data):
    squeezer = zlib.compressobj(wbits=31)
    return squeezer.compress(data) + squeezer.flush()
