"""The bytes of a stream in order, cut into the messages that its parser finds in them; and what has no room.

In: a segment whose bytes are next. Out: packets in ``ready``, the segment itself as a message, or bytes that wait in
the stream. Each segment is counted as ``streams`` says.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport uint8_t

from otus_core.stream.table cimport LIST_HOLDING, LIST_PROVEN, LISTS, NO_OWNER, copy_of, oldest_of
from otus_core.stream.websocket cimport (
    CONTROL_FRAME, NOT_INFLATED, Socket, first_payload, frames_size, handshake_end, handshake_protocols,
)

from otus_core.decode.hidden import hidden_name
from otus_core.model.counter_names import name_of

OUTCOMES = ("gap", "retransmission", "no_message", "message_too_large", "stream_limit", "stream_end", "control",
            "compressed")

cdef enum:
    FIN = 1
    LOST_MAX = 64               # segments of a stream that lost its way: then it is none of ours any more
    # A framer is shown an unfinished message at every segment until it has seen so many bytes of it, and then whenever
    # it has doubled.
    SHOWN_MAX = 1 << 22
    PAYLOAD_LEAST = 16          # bytes of a frame by which WebSocket is recognised without its handshake


cdef class Cutter:
    """What ``Streams`` does once bytes are in order."""

    def __init__(self, Accounts accounts not None, options, framers):
        self.accounts = accounts
        self.framers = tuple(framers)
        self.has_sockets = any([bool((<Framer>framer).protocols) for framer in self.framers])
        self.ready = []
        self.table = Table(options.max_streams)
        self.max_bytes = options.max_bytes
        self.max_streams = options.max_streams
        self.max_message = options.max_message
        self.held = accounts.slot("segments_held")
        self.merged = accounts.slot("segments_merged")
        self.added = accounts.slot("messages_added")
        self.running = accounts.slot("running")
        self.upgraded = NO_OWNER
        self.compressed = accounts.slot(hidden_name("compressed_websocket"))
        self.cut = accounts.slot(hidden_name("cut_streams"))
        for i, outcome in enumerate(OUTCOMES):
            self.outcomes[i] = accounts.slot(name_of("dropped", "reassembly", outcome))

    cdef int _absorb(self, Stream *stream, DecodedPacket packet, bytes segment) except -1:
        """Take the next bytes of a stream; the frame of ``packet`` they are of is not counted yet."""
        cdef uint32_t size = <uint32_t>PyBytes_GET_SIZE(segment)
        cdef uint32_t before = stream.have
        cdef Py_ssize_t known = -2
        cdef Py_ssize_t at
        stream.next_seq += size
        if packet.at.tcp_flags & FIN:
            stream.over = 1
        if before and stream.owner == NO_OWNER:
            return self._go_on(stream, packet, segment, before)
        if before == 0:
            if stream.owner == NO_OWNER or stream.lost:
                at = self._choose(stream, segment, packet, &known)
                if at == UNDECIDED:
                    return self._go_on(stream, packet, segment, 0)
                if at < 0:
                    return self._still_lost(stream)
                if at == size:      # the answer to a handshake
                    return PASSED
                if at:
                    segment = segment[at:]
            return self._cut(stream, packet, segment, 0, known)
        if not self._make_room(stream, size):
            return self._nothing(stream, before, LIMIT)
        self.table.append(stream, <const uint8_t *>PyBytes_AS_STRING(segment), size)
        if not packet.at.truncated and not stream.over and not _is_worth_asking(stream):
            if stream.need == 0 and stream.have > self.max_message:
                return self._nothing(stream, before, TOO_LARGE)
            return self._hold(stream)
        stream.spent += stream.have
        stream.shown = stream.have
        known = stream.need if stream.need else -2
        return self._cut(stream, packet, PyBytes_FromStringAndSize(<char *>stream.data, stream.have), before, known)

    cdef int _cut(self, Stream *stream, DecodedPacket packet, bytes data, uint32_t before, Py_ssize_t known) except -1:
        """Cut messages off ``data``, whose first ``before`` bytes are those that the stream has, and keep the rest.

        ``known`` is the size of the first message, 0 where it was asked for in vain, -2 where it was not.
        """
        cdef Py_ssize_t total = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t size = known
        cdef Py_ssize_t next
        cdef int found = 0
        while at < total:
            if size == -2:
                size = self._size(stream, data, at)
            if 0 < size <= total - at and size <= self.max_message:
                if size == total and before == 0 and stream.socket == NULL:
                    return self._itself(stream, packet, data)
                self._message(stream, packet, data, at, size, before, found)
                found += 1
                at += size
            elif size < 0 or size > self.max_message:
                next = self._search(stream, data, at + 1)
                if next < 0 and found == 0:
                    return self._nothing(stream, before, NO_MESSAGE if size < 0 else TOO_LARGE)
                self.accounts.at[self.added] += 1
                self._count(NO_MESSAGE if size < 0 else TOO_LARGE, 1)
                if next < 0:
                    self.table.empty(stream)
                    stream.over = 1
                    return TAKEN
                at = next
            else:
                return self._rest(stream, packet, data, at, before, size, found)
            size = -2
        self.table.empty(stream)
        return TAKEN

    cdef int _itself(self, Stream *stream, DecodedPacket packet, bytes data) noexcept:
        """The segment is one whole message."""
        self.owner = stream.owner
        stream.proven = 1
        stream.last_seq = packet.at.seq
        stream.last_size = packet.at.payload_len
        packet.at.end_timestamp = packet.at.timestamp
        if packet.at.payload_len != PyBytes_GET_SIZE(data):
            packet.at.payload = <const uint8_t *>PyBytes_AS_STRING(data)
            packet.at.payload_len = <uint32_t>PyBytes_GET_SIZE(data)
            packet.datagram = data
        packet.at.reassembled = 2
        packet._payload = data
        return MESSAGE

    cdef int _message(self, Stream *stream, DecodedPacket packet, bytes data, Py_ssize_t at, Py_ssize_t size,
                      uint32_t before, int found) except -1:
        """Make a packet of a message whose last byte is of ``packet``; ``found`` others are before it."""
        cdef DecodedPacket made
        if found:
            self.accounts.at[self.added] += 1
        self.accounts.at[self.held] -= stream.frames
        self.accounts.at[self.merged] += stream.frames
        stream.frames = 0
        stream.proven = 1
        if stream.socket != NULL:
            data = self._unframed(stream, data, at, size)
            if data is None:
                return 0
        elif at or size != PyBytes_GET_SIZE(data):
            data = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + at, size)
        made = copy_of(packet)
        if at < <Py_ssize_t>before:
            made.at.timestamp = stream.first_ts
        made.at.end_timestamp = max(packet.at.timestamp, made.at.timestamp)     # its first byte may have come last
        made.at.reassembled = 2
        made.at.payload = <const uint8_t *>PyBytes_AS_STRING(data)
        made.at.payload_len = <uint32_t>PyBytes_GET_SIZE(data)
        made.datagram = made._payload = data
        made.claimed = stream.owner
        self.ready.append(made)
        return 0

    cdef bytes _unframed(self, Stream *stream, bytes data, Py_ssize_t at, Py_ssize_t size):
        """Give the message in frames of WebSocket, or ``None``, which is counted."""
        cdef Socket socket = <Socket>stream.socket
        cdef bytes message = socket.read(<const uint8_t *>PyBytes_AS_STRING(data) + at, size, self.max_message)
        if message is None:
            if socket.failure == NOT_INFLATED:
                self.accounts.at[self.compressed] += 1
            self._count(CONTROL if socket.failure == CONTROL_FRAME else
                        COMPRESSED if socket.failure == NOT_INFLATED else TOO_LARGE, 1)
        return message

    cdef int _rest(self, Stream *stream, DecodedPacket packet, bytes data, Py_ssize_t at, uint32_t before,
                   Py_ssize_t size, int found) except -1:
        """Keep what is left of ``data`` from ``at`` on: a message that is not whole yet, of ``size`` if that is known.

        What the capture cut short will not be whole: it is given as it is.
        """
        cdef Py_ssize_t left = PyBytes_GET_SIZE(data) - at
        if packet.at.truncated:
            stream.over = 1
            if left == PyBytes_GET_SIZE(data) and before == 0 and stream.socket == NULL:
                return self._itself(stream, packet, data)
            self._message(stream, packet, data, at, left, before, found)
            self.table.empty(stream)
            return TAKEN
        if at or before == 0:
            self.table.empty(stream)
            if not self._make_room(stream, left):
                self.accounts.at[self.added] += found > 0
                self._count(LIMIT, 1)
                stream.over = 1
                return TAKEN
            self.table.append(stream, <const uint8_t *>PyBytes_AS_STRING(data) + at, <uint32_t>left)
            stream.spent = stream.shown = <uint32_t>left
            if at >= <Py_ssize_t>before:
                stream.first_ts = packet.at.timestamp
        stream.need = <uint32_t>size
        return TAKEN if found else self._hold(stream)

    cdef int _nothing(self, Stream *stream, uint32_t before, int outcome) except -1:
        """No message will come of the bytes at hand, nor of those that were held before them."""
        if before:
            self._drop_data(stream, outcome)
        stream.over = 1
        if outcome == NO_MESSAGE:
            return PASSED
        self._count(outcome, 1)
        return TAKEN

    cdef int _hold(self, Stream *stream) noexcept:
        """Count one more frame as held for what its stream has."""
        stream.frames += 1
        self.accounts.at[self.held] += 1
        return TAKEN

    cdef int _go_on(self, Stream *stream, DecodedPacket packet, bytes segment, uint32_t before) except -1:
        """Take the next bytes of what may be the answer to a handshake, and find out whose the stream is once that can
        be told.
        """
        cdef Py_ssize_t known = -2
        cdef Py_ssize_t at
        cdef bytes data
        if not self._make_room(stream, PyBytes_GET_SIZE(segment)):
            return self._nothing(stream, before, LIMIT)
        if before == 0:
            stream.first_ts = packet.at.timestamp
        self.table.append(stream, <const uint8_t *>PyBytes_AS_STRING(segment), <uint32_t>PyBytes_GET_SIZE(segment))
        data = PyBytes_FromStringAndSize(<char *>stream.data, stream.have)
        at = self._choose(stream, data, packet, &known)
        if at == UNDECIDED:
            return self._hold(stream)
        if at == 0 and stream.socket == NULL:
            return self._cut(stream, packet, data, before, known)
        if at < <Py_ssize_t>before:
            return self._nothing(stream, before, NO_MESSAGE)
        self.accounts.at[self.held] -= stream.frames
        self._count(CONTROL if stream.socket != NULL else NO_MESSAGE, stream.frames)
        stream.frames = 0
        self.table.empty(stream)
        if at == PyBytes_GET_SIZE(data):    # the answer to a handshake, and nothing behind it
            return PASSED
        return self._cut(stream, packet, data[at:], 0, known)

    cdef int _still_lost(self, Stream *stream) except -1:
        """No message begins in a segment: without an owner it is not ours, with one it is the rest of a message that
        has lost its beginning.
        """
        if stream.owner == NO_OWNER or stream.lost >= LOST_MAX:
            stream.owner = NO_OWNER
            stream.over = 1
            return PASSED
        stream.lost += 1
        self._count(GAP, 1)
        return TAKEN

    cdef int _choose(self, Stream *stream, bytes data, DecodedPacket packet, Py_ssize_t *known) except -1:
        """Find the owner of a stream by the bytes at hand, and where its first message begins; -2 when it has none."""
        cdef Py_ssize_t at
        if stream.lost:
            at = self._search(stream, data, 0)
            if at >= 0:
                stream.lost = 0
            return <int>at if at >= 0 else -2
        if self.has_sockets and data.startswith(b"H") and handshake_end(data) == 0:
            return UNDECIDED
        for i in range(len(self.framers)):
            known[0] = self._ask(i, data, 0)
            if known[0] >= 0:
                stream.owner = i
                return 0
        known[0] = -2
        at = self._choose_socket(stream, data)
        if at >= 0:
            return <int>at
        for i in range(len(self.framers)):
            if (<Framer>self.framers[i]).searches(packet.at.src_port, packet.at.dst_port):
                stream.owner = i
                at = self._search(stream, data, 1)
                if at >= 0:
                    return <int>at
        stream.owner = NO_OWNER
        return -2

    cdef int _choose_socket(self, Stream *stream, bytes data) except -1:
        """The same for WebSocket: by the answer to a handshake, or a frame that begins with a message of a parser."""
        cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data)
        cdef Py_ssize_t end
        cdef tuple names
        if at[0] == c"H":
            end = handshake_end(data)
            if end > 0:
                names = handshake_protocols(data, end)
                for i in range(len(self.framers)):
                    if not (<Framer>self.framers[i]).protocols.isdisjoint(names):
                        self.upgraded = i
                        return self._join_socket(stream, i, <int>end)
        elif at[0] & 0x7F == 1 or at[0] & 0x7F == 2:    # text or binary
            for i in range(len(self.framers)):
                if self._begins_in_frame(i, data):
                    return self._join_socket(stream, i, 0)
        return -2

    cdef int _join_socket(self, Stream *stream, int owner, int begin) except -1:
        socket = Socket()
        Py_INCREF(socket)
        stream.socket = <PyObject *>socket
        stream.owner = owner
        return begin

    cdef bint _begins_in_frame(self, int owner, bytes data) except -1:
        """Whether a frame of WebSocket with a message of this parser begins ``data``."""
        cdef bytes payload
        if not (<Framer>self.framers[owner]).protocols:
            return False
        payload = first_payload(<const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        return payload is not None and PyBytes_GET_SIZE(payload) >= PAYLOAD_LEAST and self._ask(owner, payload, 0) >= 0

    cdef Py_ssize_t _ask(self, int owner, bytes data, Py_ssize_t at) except -2:
        cdef Framer framer = <Framer>self.framers[owner]
        self.accounts.at[self.running] = framer.mark
        return framer.frame(data, at)

    cdef Py_ssize_t _size(self, Stream *stream, bytes data, Py_ssize_t at) except -2:
        """Give the size of the message that begins at ``at``, with all its frames if it has any."""
        if stream.socket != NULL:
            return frames_size(<const uint8_t *>PyBytes_AS_STRING(data) + at, PyBytes_GET_SIZE(data) - at)
        return self._ask(stream.owner, data, at)

    cdef Py_ssize_t _search(self, Stream *stream, bytes data, Py_ssize_t at) except -2:
        """Give where the next message begins, or -1; a frame of WebSocket is looked for where a segment begins alone,
        as any two bytes may be one.
        """
        cdef Framer framer = <Framer>self.framers[stream.owner]
        if stream.socket != NULL:
            return 0 if at == 0 and self._begins_in_frame(stream.owner, data) else -1
        self.accounts.at[self.running] = framer.mark
        return framer.resync(data, at)

    cdef int _make_room(self, Stream *stream, uint64_t more) except -1:
        """See to it that ``more`` bytes of a stream, or a new one, have room; others give way. 0 when there is none."""
        cdef Stream *other
        while stream == NULL and self.table.count >= self.max_streams:
            for which in range(LISTS):
                if self.table.lists[which].oldest != NULL:
                    self._drop(oldest_of(&self.table.lists[which]), LIMIT)
                    break
        # The buffer grows by doubling.
        while self.table.bytes + 2 * more > self.max_bytes:
            other = oldest_of(&self.table.lists[LIST_HOLDING])
            if other == stream and other != NULL:
                other = <Stream *>other.use.newer
            if other == NULL:
                other = oldest_of(&self.table.lists[LIST_HOLDING | LIST_PROVEN])
                if other == stream and other != NULL:
                    other = <Stream *>other.use.newer
            if other == NULL:
                return 0
            self._drop(other, LIMIT)
        return 1

    cdef int _drop_data(self, Stream *stream, int outcome) except -1:
        """Give up the unfinished message."""
        if stream.frames:
            self.accounts.at[self.held] -= stream.frames
            self._count(outcome, stream.frames)
            stream.frames = 0
        else:
            self.accounts.at[self.added] += 1
            self._count(outcome, 1)
        if outcome == GAP or outcome == ENDED:
            self.accounts.at[self.cut] += 1
        self.table.empty(stream)
        return 0

    cdef int _drop(self, Stream *stream, int outcome) except -1:
        """Forget a stream; what it holds is counted."""
        if stream.have or stream.frames:
            self._drop_data(stream, outcome)
        self.accounts.at[self.held] -= stream.chunks
        self._count(outcome, stream.chunks)
        self.table.close(stream)
        return 0

    cdef inline void _count(self, int outcome, uint32_t frames) noexcept:
        self.accounts.at[self.outcomes[outcome]] += frames


cdef inline bint _is_worth_asking(Stream *stream) noexcept:
    """Whether the framer can say more of an unfinished message than before, and has not been asked too often."""
    if stream.need:
        return stream.have >= stream.need
    return stream.spent + stream.have <= SHOWN_MAX or stream.have >= 2 * <uint64_t>stream.shown
