"""WebSocket (RFC 6455) as a capture shows it: how long the frames of one message are, and what is in them.

In: the bytes of one direction of a connection. Out: sizes, and messages unmasked, joined and, with permessage-deflate
(RFC 7692), inflated. Control frames (§5.5) may stand between the frames of a message and are skipped.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    FIN = 0x80
    RSV1 = 0x40                 # compressed (RFC 7692 §6)
    RSV2_3 = 0x30
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CONTROL = 8                 # and above
    PONG = 10
    MASKED = 0x80
    PAYLOAD_SHOWN = 1024        # of a first frame, to find out whose it is
    INFLATERS_MAX = 1024        # at a time, with 48 KiB of memory each
    HANDSHAKE_MAX = 8192        # bytes of an answer's header; servers send some hundred

cdef bytes ANSWER = b"HTTP/1.1 101"

cdef Py_ssize_t FRAME_MAX = <Py_ssize_t>1 << 40

# One frame: its header's parts.
cdef struct Head:
    uint8_t opcode
    uint8_t final
    uint8_t compressed
    Py_ssize_t length           # of the payload
    Py_ssize_t begin            # where it begins
    const uint8_t *mask         # NULL without

cdef int _inflaters = 0


cdef int _read_head(const uint8_t *data, Py_ssize_t size, Head *head) noexcept nogil:
    """Read a frame's header (§5.2): 1, 0 when it is not all there, or -1 for what is none."""
    cdef uint64_t length = 0
    cdef Py_ssize_t at = 2
    cdef int i
    if size < 2:
        return 0
    head.opcode = data[0] & 15
    head.final = data[0] & FIN
    head.compressed = data[0] & RSV1
    length = data[1] & 0x7F
    if data[0] & RSV2_3 or BINARY < head.opcode < CONTROL or head.opcode > PONG:
        return -1
    if head.opcode >= CONTROL and (not head.final or head.compressed or length > 125):
        return -1
    if length >= 126:
        at = 4 if length == 126 else 10
        if size < at:
            return 0
        length = 0
        for i in range(2, at):
            length = length << 8 | data[i]
    head.length = <Py_ssize_t>min(length, <uint64_t>FRAME_MAX)
    head.mask = NULL
    if data[1] & MASKED:
        head.mask = data + at
        at += 4
    head.begin = at
    return 1 if size >= at else 0


cdef Py_ssize_t frames_size(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Give the size of the frames of one message, or of one control frame before it, as ``frame`` of a parser does."""
    cdef Head head
    cdef Py_ssize_t at = 0
    cdef int there
    while True:
        there = _read_head(data + at, size - at, &head)
        if there <= 0:
            return there
        if head.opcode < CONTROL and (head.opcode == CONTINUATION) != (at > 0):
            return -1
        if at == 0 and head.opcode >= CONTROL:
            return head.begin + head.length
        at += head.begin + head.length
        if head.final and head.opcode < CONTROL:
            return at
        if at >= size:
            return 0


cdef inline void _unmask(uint8_t *out, const uint8_t *data, Py_ssize_t size, const uint8_t *mask) noexcept nogil:
    """Copy a payload without its mask (§5.3)."""
    cdef Py_ssize_t i
    if mask == NULL:
        memcpy(out, data, size)
        return
    for i in range(size):
        out[i] = data[i] ^ mask[i & 3]


cdef bytes first_payload(const uint8_t *data, Py_ssize_t size):
    """Give the beginning of what may be a message's first frame, or ``None``."""
    cdef Head head
    cdef Py_ssize_t shown
    cdef bytes out
    if _read_head(data, size, &head) <= 0 or head.compressed or not TEXT <= head.opcode <= BINARY:
        return None
    shown = min(head.length, size - head.begin, PAYLOAD_SHOWN)
    out = PyBytes_FromStringAndSize(NULL, shown)
    _unmask(<uint8_t *>PyBytes_AS_STRING(out), data + head.begin, shown, head.mask)
    return out


@cython.final
cdef class Socket:
    """One direction of a connection; ``failure`` says why ``read`` gave nothing."""

    def __dealloc__(self):
        self._forget()

    cdef bytes read(self, const uint8_t *data, Py_ssize_t size, Py_ssize_t most):
        """Give the message in these frames, of at most ``most`` bytes when it is inflated."""
        cdef Head head
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t end = 0
        cdef bint compressed = False
        cdef bytes out = PyBytes_FromStringAndSize(NULL, size)
        cdef uint8_t *into = <uint8_t *>PyBytes_AS_STRING(out)
        self.failure = CONTROL_FRAME
        while at < size and _read_head(data + at, size - at, &head) > 0:
            if head.opcode < CONTROL:
                self.failure = 0
                compressed = compressed or head.compressed
                _unmask(into + end, data + at + head.begin, min(head.length, size - at - head.begin), head.mask)
                end += min(head.length, size - at - head.begin)
            at += head.begin + head.length
        if self.failure:
            return None
        out = out[:end]
        return self._inflate_data(out, most) if compressed else out

    cdef bytes _inflate_data(self, bytes data, Py_ssize_t most):
        """Inflate a message (RFC 7692 §7.2.2). One inflater serves with and without context takeover: what a message
        does not refer to does no harm.
        """
        global _inflaters
        import zlib             # rarely needed
        self.failure = NOT_INFLATED
        if self.inflater is None:
            if _inflaters >= INFLATERS_MAX:
                return None
            self.inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            _inflaters += 1
        try:
            out = self.inflater.decompress(data + b"\0\0\xff\xff", most + 1)
        except zlib.error:      # its context is from before the capture
            self._forget()
            return None
        if self.inflater.unconsumed_tail or len(out) > most:
            self.failure = INFLATES_TOO_FAR
            self._forget()
            return None
        self.failure = 0
        return out

    cdef void _forget(self) noexcept:
        global _inflaters
        if self.inflater is not None:
            self.inflater = None
            _inflaters -= 1


cdef Py_ssize_t handshake_end(bytes data) except -2:
    """Give where the header of an answer to a handshake (§4.2.2) ends, 0 for what may become one, or -1."""
    if not ANSWER.startswith(data[:len(ANSWER)]):
        return -1
    end = data.find(b"\r\n\r\n")
    if end >= 0:
        return <Py_ssize_t>end + 4
    return 0 if len(data) < HANDSHAKE_MAX else -1


cdef tuple handshake_protocols(bytes data, Py_ssize_t end):
    """Give the subprotocols that an answer to a handshake names, which is one."""
    names = []
    for line in data[:end].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"sec-websocket-protocol":
            names += [one.strip().decode("latin-1").lower() for one in value.split(b",")]
    return tuple(names)
