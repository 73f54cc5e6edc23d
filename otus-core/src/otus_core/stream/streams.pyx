"""TCP segments in, messages out: the bytes of each direction in order, cut where a parser says that messages end.

``add`` takes one segment and says what became of it. A message that is one whole segment is that segment's packet, and
no byte of it is copied; all others are packets of their own in ``ready``. A segment whose first byte is none of a
message (the parser's ``frame`` says -1) is left to the other parsers, as is one without a payload.

Every segment ends in exactly one counter. ``segments_held`` counts those that wait. When a message is whole they move
to ``segments_merged``, all but the segment that completed it, which is the unit; each further message that it
completes is one of ``messages_added``. What does not get there is ``dropped{reassembly:OUTCOME}``:

``gap``                bytes before or between them are missing, and were waited for
``retransmission``     the segment has nothing that was not there before
``no_message``         they waited, and are no message after all
``message_too_large``  their message is larger than ``max_message``
``stream_limit``       a bound was reached: the stream that is idle longest gives way
``control``            control frames of WebSocket
``compressed``         a message in compressed frames of WebSocket that refers to what was not captured
``stream_end``         the connection or the capture ended, or nothing came for long, before the message was whole

Where that is a part of a segment which is counted already, because it completed a message, the part is counted there
and in ``messages_added``.

Of bytes that are there twice the first ones count. The cost of a segment is that of its bytes: a framer is shown an
unfinished message again and again only up to a bound (``_is_worth_asking``).
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.string cimport memcpy, memset

from otus_core.stream.cutter cimport UNDECIDED
from otus_core.stream.table cimport (
    CHUNK_COST, CHUNKS_MAX, HOLES_ACKNOWLEDGED, HOLES_OPEN, LISTS, NO_HOLE, NO_OWNER, Chunk, copy_of, fill_key,
    oldest_of, turn_key,
)

from otus_core.model.counter_names import name_of
from otus_core.stream.cutter import OUTCOMES

COUNTERS = ("segments_merged", "segments_held", *(name_of("dropped", "reassembly", outcome) for outcome in OUTCOMES))
"""The counters that streams add to."""

cdef enum:
    FIN = 1
    SYN = 2
    RST = 4
    ACK = 16
    # Sequence numbers further apart than this are those of another connection (the largest window is 1 GiB, RFC 7323
    # §2.3, but nobody fills it in one message's time).
    FAR = 1 << 24
    # A reset counts within a window without scaling (RFC 5961 §3.2 asks even more of it).
    NEAR = 1 << 16

cdef int64_t ACKNOWLEDGED_NS = 100_000_000      # the two directions of a capture may be out of step


@cython.final
cdef class Streams(Cutter):
    """Puts streams together for ``framers``, within the limits of ``options`` (a StreamsConfig)."""

    def __init__(self, Accounts accounts not None, options, framers):
        super().__init__(accounts, options, framers)
        self.gap_timeout = <int64_t>(options.gap_timeout * 1e9)
        self.timeout = <int64_t>(options.timeout * 1e9)
        self.max_out_of_order = options.max_out_of_order

    def __len__(self):
        return self.table.count

    @property
    def bytes_held(self):
        """Bytes that are held, and what they cost beside."""
        return self.table.bytes

    cdef int add(self, DecodedPacket packet) except -1:
        """Take one segment."""
        cdef StreamKey key
        cdef Stream *stream
        cdef uint32_t bucket
        cdef int verdict
        fill_key(&key, &packet.at)
        if self.table.holes and packet.at.tcp_flags & ACK:
            self._acknowledged(&key, packet.at.ack)
        bucket = self.table.bucket(&key)
        stream = self.table.find(&key, bucket)
        if packet.at.tcp_flags & (SYN | RST):
            if packet.at.tcp_flags & RST:
                return self._reset(stream, &key, packet)
            if stream == NULL or not stream.has_isn or packet.at.seq != stream.isn:
                if stream != NULL:
                    self._drop(stream, ENDED)
                return self._opened(&key, bucket, packet)
            if packet.at.payload_len:
                packet.at.seq += 1      # the SYN takes a number (RFC 9293 §3.4)
        if stream == NULL:
            if packet.at.payload_len == 0:
                return PASSED
            verdict = self._begin(&key, bucket, packet)
            return self._upgrade(verdict, &key, packet.at.ack) if self.upgraded >= 0 else verdict
        if packet.at.payload_len == 0:
            if packet.at.tcp_flags & FIN and <int32_t>(packet.at.seq - stream.next_seq) <= 0:
                self._drop(stream, ENDED)
            return PASSED
        verdict = self._segment(stream, packet)
        self._settle(stream)
        return self._upgrade(verdict, &key, packet.at.ack) if self.upgraded >= 0 else verdict

    cdef int _upgrade(self, int verdict, StreamKey *key, uint32_t ack) except -1:
        """A handshake has been answered: from ``ack`` on the other direction has frames of WebSocket too."""
        cdef uint32_t bucket
        cdef Stream *stream
        turn_key(key)
        bucket = self.table.bucket(key)
        stream = self.table.find(key, bucket)
        if stream != NULL and stream.owner != NO_OWNER and stream.socket == NULL:
            self._drop(stream, ENDED)       # what asked for the handshake was taken for the beginning of a message
            stream = NULL
        if stream == NULL and self._make_room(NULL, 0):
            stream = self.table.open(key, bucket, self.now)
            stream.next_seq = ack
        if stream != NULL and stream.owner == NO_OWNER:
            self._join_socket(stream, self.upgraded, 0)
            stream.proven = 1
            self.table.touch(stream, self.now)
        self.upgraded = NO_OWNER
        return verdict

    cdef int advance(self, int64_t now) except -1:
        """Move the packet clock (ns): give up holes that are too old, and streams that are idle too long."""
        cdef Stream *stream
        if now <= self.now:
            return 0
        self.now = now
        for which in range(2):
            while self.table.waiting[which].oldest != NULL:
                stream = oldest_of(&self.table.waiting[which])
                if now - stream.hole_since < (self.gap_timeout if which == HOLES_OPEN else ACKNOWLEDGED_NS):
                    break
                self._give_up(stream)
                self._settle(stream)
        for which in range(LISTS):
            while self.table.lists[which].oldest != NULL:
                stream = oldest_of(&self.table.lists[which])
                if now - stream.touched < self.timeout:
                    break
                self._drop(stream, ENDED)
        return 0

    cdef int finish(self) except -1:
        """The capture has ended: messages behind holes are given, all else is given up."""
        cdef Stream *stream
        while self.table.holes:
            stream = oldest_of(&self.table.waiting[HOLES_OPEN])
            if stream == NULL:
                stream = oldest_of(&self.table.waiting[HOLES_ACKNOWLEDGED])
            self._give_up(stream)
            self._settle(stream)
        for which in range(LISTS):
            while self.table.lists[which].oldest != NULL:
                self._drop(oldest_of(&self.table.lists[which]), ENDED)
        return 0

    cdef int _segment(self, Stream *stream, DecodedPacket packet) except -1:
        """Take a segment with a payload, of a stream that is known."""
        cdef int32_t delta = <int32_t>(packet.at.seq - stream.next_seq)
        cdef uint32_t size = packet.at.payload_len
        cdef int verdict
        cdef bytes payload
        if delta > 0:
            return self._early(stream, packet, delta)
        if delta < -<int32_t>FAR or delta < 0 and self._is_made_up(stream, packet):
            return self._begin(&stream.key, stream.bucket, packet)
        if <uint32_t>-delta >= size:
            self._count(RETRANSMISSION, 1)
            stream.over = <int32_t>size == -delta and packet.at.tcp_flags & FIN
            return TAKEN
        payload = packet.payload
        if delta:
            payload = payload[-delta:]
        if stream.first != NULL:
            payload = _first_bytes_win(stream, payload)
        verdict = self._absorb(stream, packet, payload)
        if stream.first != NULL:
            self._drain(stream)
        if not stream.over:
            self.table.touch(stream, self.now)
        return verdict

    cdef bint _is_made_up(self, Stream *stream, DecodedPacket packet) except -1:
        """Whether a number is not TCP's own: what writes messages of other sources into captures may give all segments
        the same one. What is sent again begins with the same message, or is a part of it.
        """
        return (not stream.has_isn and packet.at.seq == stream.last_seq and packet.at.payload_len != stream.last_size
                and stream.owner != NO_OWNER and stream.socket == NULL
                and self._ask(stream.owner, packet.payload, 0) == packet.at.payload_len)

    cdef int _early(self, Stream *stream, DecodedPacket packet, int32_t delta) except -1:
        """Keep a segment that comes before one that is missing."""
        cdef DecodedPacket copy
        cdef uint32_t size = packet.at.payload_len
        if delta > <int32_t>FAR:
            return self._begin(&stream.key, stream.bucket, packet)
        if (stream.chunk_bytes + size > self.max_out_of_order or stream.chunks >= CHUNKS_MAX
                or not self._make_room(stream, packet.at.capture_len + 2 * size + CHUNK_COST)):
            if stream.first == NULL:
                self._count(LIMIT, 1)
                return TAKEN
            self._give_up(stream)           # the hole will not be filled any more
            if stream.over:
                self._count(GAP, 1)
                return TAKEN
            return self._segment(stream, packet)
        if _has_all(stream, packet.at.seq, size):
            self._count(RETRANSMISSION, 1)
            return TAKEN
        copy = copy_of(packet)
        copy.detach()
        self.table.put(stream, copy, packet.at.seq, packet.at.payload, size)
        self.accounts.at[self.held] += 1
        if stream.in_holes == NO_HOLE:
            self.table.wait(stream, HOLES_OPEN, self.now)
        self.table.touch(stream, self.now)
        return TAKEN

    cdef int _begin(self, StreamKey *key, uint32_t bucket, DecodedPacket packet) except -1:
        """Begin a stream in its middle, where a message begins. What is known of it, if anything, holds until then."""
        cdef Stream new
        cdef Stream *stream
        cdef StreamKey own = key[0]
        cdef Py_ssize_t known = -2
        cdef Py_ssize_t at
        cdef bytes payload = packet.payload
        cdef int verdict
        memset(&new, 0, sizeof(Stream))
        at = self._choose(&new, payload, packet, &known)
        if at < 0 and at != UNDECIDED:
            return PASSED
        socket = None
        if new.socket != NULL:
            socket = <object>new.socket
            Py_DECREF(socket)
        stream = self.table.find(&own, bucket)
        if stream != NULL:
            self._drop(stream, ENDED)
        if not self._make_room(NULL, 0):
            self._count(LIMIT, 1)
            return TAKEN
        stream = self.table.open(&own, bucket, self.now)
        stream.owner = NO_OWNER if at == UNDECIDED else new.owner
        if socket is not None:
            Py_INCREF(socket)
            stream.socket = <PyObject *>socket
        stream.next_seq = packet.at.seq + packet.at.payload_len
        if at == packet.at.payload_len:     # the answer to a handshake
            stream.proven = 1
            verdict = PASSED
        elif at == UNDECIDED:
            verdict = self._go_on(stream, packet, payload, 0)
        else:
            verdict = self._cut(stream, packet, payload if at == 0 else payload[at:], 0, known)
        if packet.at.tcp_flags & FIN:
            stream.over = 1
        self.table.touch(stream, self.now)
        self._settle(stream)
        return verdict

    cdef int _opened(self, StreamKey *key, uint32_t bucket, DecodedPacket packet) except -1:
        """A connection begins (RFC 9293 §3.5): from here on every byte has its place."""
        cdef Stream *stream
        if not self._make_room(NULL, 0):
            return PASSED
        stream = self.table.open(key, bucket, self.now)
        stream.isn = packet.at.seq
        stream.has_isn = 1
        stream.next_seq = packet.at.seq + 1
        if packet.at.payload_len == 0:
            return PASSED
        packet.at.seq += 1
        verdict = self._segment(stream, packet)
        self._settle(stream)
        return verdict

    cdef int _reset(self, Stream *stream, StreamKey *key, DecodedPacket packet) except -1:
        """A connection is gone, both directions of it, unless the number is out of place."""
        cdef int32_t delta
        if stream != NULL:
            delta = <int32_t>(packet.at.seq - stream.next_seq)
            if not -<int32_t>NEAR <= delta <= <int32_t>NEAR:
                return PASSED
            self._drop(stream, ENDED)
            turn_key(key)
            stream = self.table.find(key, self.table.bucket(key))
            if stream != NULL:
                self._drop(stream, ENDED)
        return PASSED

    cdef int _drain(self, Stream *stream) except -1:
        """Take the chunks that follow what is there."""
        cdef DecodedPacket packet
        cdef bytes payload
        cdef int32_t there
        cdef int verdict
        while stream.first != NULL and not stream.over:
            there = <int32_t>(stream.next_seq - stream.first.seq)
            if there < 0:
                break
            packet = <DecodedPacket>self.table.take(stream)
            payload, self.table.payload = self.table.payload, None
            self.accounts.at[self.held] -= 1
            if there >= <int32_t>PyBytes_GET_SIZE(payload):
                self._count(RETRANSMISSION, 1)
                continue
            verdict = self._absorb(stream, packet, payload[there:] if there else payload)
            if verdict != TAKEN:
                packet.claimed = stream.owner if verdict == MESSAGE else NO_OWNER
                self.ready.append(packet)
        if stream.first == NULL or stream.over:
            self.table.unwait(stream)
        else:
            self.table.wait(stream, HOLES_OPEN, self.now)
        return 0

    cdef int _give_up(self, Stream *stream) except -1:
        """Go on behind a hole."""
        self.table.unwait(stream)
        if stream.have:
            self._drop_data(stream, GAP)
        elif stream.owner != NO_OWNER:
            self.accounts.at[self.cut] += 1
        stream.next_seq = stream.first.seq
        stream.lost = stream.owner != NO_OWNER
        self._drain(stream)
        if not stream.over:
            self.table.touch(stream, self.now)
        return 0

    cdef int _acknowledged(self, StreamKey *key, uint32_t ack) except -1:
        """Give up the hole of the other direction, if its receiver has what is missing: it will not come again."""
        cdef StreamKey other = key[0]
        cdef Stream *stream
        turn_key(&other)
        stream = self.table.find(&other, self.table.bucket(&other))
        if stream == NULL or stream.in_holes != HOLES_OPEN or <int32_t>(ack - stream.first.seq) < 0:
            return 0
        self.table.wait(stream, HOLES_ACKNOWLEDGED, self.now)
        return 0

    cdef int _settle(self, Stream *stream) except -1:
        """Forget a stream that is over; what came early in one that has turned out to be nobody's goes to all."""
        cdef DecodedPacket packet
        if not stream.over:
            return 0
        while stream.owner == NO_OWNER and stream.first != NULL:
            packet = <DecodedPacket>self.table.take(stream)
            packet.claimed = NO_OWNER
            self.accounts.at[self.held] -= 1
            self.ready.append(packet)
        return self._drop(stream, ENDED)


cdef bint _has_all(Stream *stream, uint32_t seq, uint32_t size) noexcept:
    """Whether one chunk has all bytes of a segment."""
    cdef Chunk *chunk = stream.first
    cdef int32_t offset
    while chunk != NULL:
        offset = <int32_t>(seq - chunk.seq)
        if offset < 0:
            return False
        if offset + <int64_t>size <= chunk.size:
            return True
        chunk = chunk.next
    return False


cdef bytes _first_bytes_win(Stream *stream, bytes payload):
    """Give the payload that is next in a stream, with the bytes of chunks, which came first, where both have them."""
    cdef Chunk *chunk = stream.first
    cdef uint32_t size = <uint32_t>PyBytes_GET_SIZE(payload)
    cdef uint32_t begin
    cdef bytes patched
    if <int64_t>(chunk.seq - stream.next_seq) >= size:
        return payload
    patched = PyBytes_FromStringAndSize(PyBytes_AS_STRING(payload), size)
    while chunk != NULL and chunk.seq - stream.next_seq < size:
        begin = chunk.seq - stream.next_seq
        memcpy(PyBytes_AS_STRING(patched) + begin, chunk + 1, min(size - begin, chunk.size))
        chunk = chunk.next
    return patched
