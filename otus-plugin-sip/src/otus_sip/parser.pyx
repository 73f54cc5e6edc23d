"""The parser ``sip``: packets in, messages with labels out; calls announce their media flows.

What is SIP is told by the first line, and off the configured ports by the fields behind it. A packet holds one message,
a datagram's or one that the core has cut off a stream where ``frame`` said.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport Py_TYPE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memchr, memcmp

from otus_core import Context, DecodedPacket, ParseError, Parsed

from otus_sip.names import HIDDEN, SEEN

from otus_sip.address cimport Address, find_parameter, value_end
from otus_sip.announced cimport Announced
from otus_sip.claims cimport Flow
from otus_sip.description cimport Description
from otus_sip.media cimport scan_media
from otus_sip.message cimport SipMessage
from otus_sip.reading cimport read_message
from otus_sip.scan cimport (
    ACK_ID, BYE_ID, CALL_ID, CANCEL_ID, FROM, INVITE_ID, MALFORMED, NOTIFY_ID, NOT_SIP, PRACK_ID, PUBLISH_ID, REQUEST,
    TO, UPDATE_ID, VIA, Line, classify, has_sip_field, method_id, skip_crlf,
)
from otus_sip.framing cimport frame_size, next_message
from otus_sip.sessions cimport Event, Sessions, mixed, text_hash

# Attributes that every packet, or every packet with SDP, is asked for: called where they are, instead of being looked
# up by name each time.
cdef object _Packet = DecodedPacket
cdef object _payload = DecodedPacket.payload
cdef object _protocol = DecodedPacket.protocol
cdef object _flow = DecodedPacket.flow
cdef object _timestamp = DecodedPacket.timestamp


cdef inline bytes _payload_of(object packet):
    if type(packet) is _Packet:
        return <bytes?>Py_TYPE(_payload).tp_descr_get(_payload, packet, _Packet)
    return <bytes?>packet.payload


cdef inline int _protocol_of(object packet) except -1:
    return Py_TYPE(_protocol).tp_descr_get(_protocol, packet, _Packet) if type(packet) is _Packet else packet.protocol


cdef inline int64_t _timestamp_of(object packet) except? -1:
    if type(packet) is _Packet:
        return Py_TYPE(_timestamp).tp_descr_get(_timestamp, packet, _Packet)
    return packet.timestamp


cdef enum:
    TCP = 6
    CALL_ID_KEPT = 256      # bytes of a Call-ID that a call keeps; of a longer one these and a digest

# Its own counters, and what it meets and does not look into.
COUNTED = ("malformed", *HIDDEN)
cdef enum:
    RESPONSES = 14              # where SEEN has those to requests: 1xx is the next
    SEEN_COUNTERS = 21
cdef object _not_counted = Context(task_id="", agent_id="").counter     # until it is wired

# Where the first message of a packet begins, and its start line.
cdef struct Start:
    const uint8_t *payload
    const uint8_t *data         # the same behind the empty lines that may precede a message (RFC 3261 §7.5)
    Py_ssize_t begin            # how many bytes those are
    Py_ssize_t size             # of the rest
    Line line


cdef inline bint _begins(bytes payload, Start *start) noexcept:
    """Look at the start line; gives whether the payload begins like SIP."""
    start.payload = <const uint8_t *>PyBytes_AS_STRING(payload)
    start.begin = skip_crlf(start.payload, PyBytes_GET_SIZE(payload))
    start.data = start.payload + start.begin
    start.size = PyBytes_GET_SIZE(payload) - start.begin
    return classify(start.data, start.size, &start.line) != NOT_SIP


cdef inline bint _is_keep_alive(object packet, const Start *start) except -1:
    """Whether these are empty lines of a stream (RFC 5626 §3.5.1, §4.4.1)."""
    return start.size == 0 and start.begin > 0 and _protocol_of(packet) == TCP


@cython.final
cdef class SipParser:
    """SIP over UDP and TCP (RFC 3261)."""

    cdef bytes ports            # one byte a port: whether it is configured
    cdef bint watched           # whether anybody looks up what calls announce; else no call is followed
    cdef Sessions sessions
    cdef Announced announced    # None where nobody does
    cdef object config
    cdef bint hides             # proofs of passwords
    cdef dict counters
    cdef object malformed       # one of them
    cdef long seen[SEEN_COUNTERS]   # messages since they were last counted, in the order of SEEN
    cdef tuple count_seen

    tick_interval = 1.0

    def __init__(self, config):
        table = bytearray(65536)
        for port in config.ports:
            table[port] = 1
        self.ports = bytes(table)
        self.config = config
        self._count_with(_not_counted)
        self.hides = not config.show_credentials
        self.sessions = Sessions(None, None, config.max_sessions, config.session_ttl)

    def wire(self, context):
        self._count_with(context.counter)
        self.watched = context.flows is not None and context.flows.watched
        if self.watched:
            self.sessions = Sessions(context.flows, context.peers, self.config.max_sessions, self.config.session_ttl)
            self.announced = Announced(context.flows, self.config.session_ttl)

    cdef int _count_with(self, object counter) except -1:
        self.counters = {name: counter(name) for name in COUNTED}
        self.malformed = self.counters["malformed"]
        self.count_seen = tuple(counter(name) for name in SEEN)
        return 0

    def start(self):
        pass

    def stop(self):
        pass

    def tick(self, now):
        """Count what has come by since the last time: for each message it would take longer than all of its labels."""
        cdef int i
        for i in range(SEEN_COUNTERS):
            if self.seen[i]:
                self.count_seen[i](self.seen[i])
                self.seen[i] = 0

    def finish(self, now):
        """Count the rest."""
        self.tick(now)

    def on_peer_message(self, message):
        self.sessions.take(message)

    @property
    def calls(self):
        """Calls under way."""
        return len(self.sessions)

    @property
    def weight(self):
        """Bytes that the calls under way take, about."""
        return self.sessions.weight

    def frame(self, bytes data not None, Py_ssize_t at):
        """Say how long the message is that begins at ``at`` in a stream, as BaseParser has it.

        Empty lines count by themselves: a keep-alive (RFC 5626 §3.5.1), or what may precede a message (RFC 3261 §7.5).
        """
        return frame_size(<const uint8_t *>PyBytes_AS_STRING(data) + at, PyBytes_GET_SIZE(data) - at)

    def resync(self, bytes data not None, Py_ssize_t at):
        """Say where the first start line is, at ``at`` or behind, or -1."""
        return next_message(<const uint8_t *>PyBytes_AS_STRING(data), at, PyBytes_GET_SIZE(data))

    @cython.always_allow_keywords(False)
    def take(self, packet):
        """Parse a packet, or give ``None``: it is not SIP. Raises ParseError."""
        cdef bytes payload = _payload_of(packet)
        cdef Start start
        if not _begins(payload, &start):
            if _is_keep_alive(packet, &start) and self._on_port(packet):
                return []
            if 20 <= start.payload[0] <= 23:        # an empty payload ends in a zero
                self._overlook(packet, &start)
            return None
        if not self._is_sip(packet, &start):
            return None
        return self._read(packet, payload, &start)

    @cython.always_allow_keywords(False)
    def can_handle(self, packet):
        """Say whether a packet is SIP."""
        cdef bytes payload = _payload_of(packet)
        cdef Start start
        if _begins(payload, &start):
            return self._is_sip(packet, &start)
        return _is_keep_alive(packet, &start) and self._on_port(packet)

    @cython.always_allow_keywords(False)
    def handle(self, packet):
        """Parse a packet that is SIP. Raises ParseError."""
        cdef bytes payload = _payload_of(packet)
        cdef Start start
        _begins(payload, &start)
        return self._read(packet, payload, &start)

    cdef bint _is_sip(self, object packet, const Start *start) except -1:
        """Whether what begins like SIP is: by its first fields, or on a configured port."""
        cdef const Line *line = &start.line
        if line.kind != MALFORMED and (line.kind != REQUEST or line.known):
            if has_sip_field(start.data + line.end, start.size - line.end):
                return True
        return self._on_port(packet)

    cdef int _overlook(self, object packet, const Start *start) except -1:
        """Count what may hold SIP and is not read: records of TLS and DTLS on SIP ports."""
        cdef const uint8_t *data = start.payload
        cdef Py_ssize_t size = start.begin + start.size
        cdef bint tcp = _protocol_of(packet) == TCP
        if size < 5:
            return 0
        # RFC 8446 §5.1: type, version 3.x; RFC 6347 §4.1: its versions are 254.253 and 254.255
        if (data[1] == 3 and data[2] <= 4 if tcp else data[1] == 254) and self._on_port(packet):
            self.counters["tls"]()
        return 0

    cdef bint _on_port(self, object packet) except -1:
        cdef const uint8_t *ports = <const uint8_t *>PyBytes_AS_STRING(self.ports)
        cdef uint16_t src = packet.src_port
        cdef uint16_t dst = packet.dst_port
        return ports[src] or ports[dst]

    cdef object _read(self, object packet, bytes payload, Start *start):
        if start.size == 0:                 # a keep-alive of a stream
            return []
        if start.line.kind == MALFORMED or start.line.kind == NOT_SIP:
            raise ParseError("malformed start line")
        return self._make_parsed(packet, read_message(payload, start.begin, -1, &start.line, self.hides))

    cdef object _make_parsed(self, object packet, SipMessage message):
        """Give one message; calls are followed where anybody looks their media up."""
        cdef bint request = message.line.kind == REQUEST
        if message.cut:
            message.by_capture = packet.capture_len < packet.orig_len
            if message.by_capture:
                self.counters["truncated_messages"]()
        message.count_fault = self.malformed
        cdef int method = message.line.known if request else method_id(message.cseq_method, message.cseq_method_len)
        cdef int status = 0 if request else <int>message.line.status
        if request:
            self.seen[message.line.known] += 1
        elif 100 <= status < 700:
            self.seen[RESPONSES + status // 100] += 1
        if self.watched:
            self._follow(packet, message, request, method, status)
        return Parsed(message, message, message.raw)

    cdef int _follow(self, object packet, SipMessage message, bint request, int method, int status) except -1:
        """Tell the sessions of a message when it can change a call."""
        if method in (INVITE_ID, BYE_ID, CANCEL_ID, ACK_ID, PRACK_ID, UPDATE_ID) and message.cseq_number >= 0:
            if _changes_a_call(message, request, method, status):
                self._tell(packet, message, method, status)
        if _may_report(message, request, method, status):
            self.announced.report(message, method == BYE_ID)
        return 0

    cdef int _tell(self, object packet, SipMessage message, int method, int status) except -1:
        cdef Event event
        cdef Description found
        cdef bytes media = None
        cdef bytes description
        cdef bytes shortened
        cdef const uint8_t *body = NULL
        cdef Py_ssize_t body_size = 0
        if not message.value_of(CALL_ID, &event.call_id, &event.call_id_len):
            return 0
        _strip(&event.call_id, &event.call_id_len)
        if event.call_id_len == 0:
            return 0
        if event.call_id_len > CALL_ID_KEPT:
            shortened = _shorten(event.call_id, event.call_id_len)
            event.call_id = <const uint8_t *>PyBytes_AS_STRING(shortened)
            event.call_id_len = PyBytes_GET_SIZE(shortened)
        event.hashed = self.sessions.calls.expect(event.call_id, event.call_id_len)
        if message.is_plain_sdp():
            body, body_size = message.data + message.body_start, message.size - message.body_start
            media = scan_media(body, body_size, &found)
        elif message.holds_sdp():
            description = message.sdp_body()
            if description is not None:
                body, body_size = <const uint8_t *>PyBytes_AS_STRING(description), PyBytes_GET_SIZE(description)
                media = scan_media(body, body_size, &found)
        self.sessions.calls.fetch(event.hashed)
        event.now = _timestamp_of(packet)
        event.method = method
        event.status = status
        event.hop = 0 if media is None else _hop(packet)
        _number(message, &event)
        self.sessions.event(&event, media)
        self.announced.take(packet, message, &event, self.sessions, body, &found, media)
        return 0


cdef inline bint _changes_a_call(SipMessage message, bint request, int method, int status) noexcept:
    """Whether a message begins a call, carries media, ends something, or is a final response that decides about an
    offer.
    """
    if request:
        return method == INVITE_ID or method == BYE_ID or method == CANCEL_ID or message.holds_sdp()
    if method == BYE_ID or method == CANCEL_ID or status == 100:
        return False
    return status >= 200 or message.holds_sdp()


cdef inline bint _may_report(SipMessage message, bint request, int method, int status) noexcept:
    """Whether a message may say how its sender heard the media: the end of a call, or a report of its own."""
    if method == BYE_ID:
        return request or 200 <= status < 300
    return request and (method == PUBLISH_ID or method == NOTIFY_ID) and message.body_start < message.size


cdef inline void _strip(const uint8_t **text, Py_ssize_t *size) noexcept:
    """Leave blanks and folds at both ends out: a value may begin on a continuation line (RFC 3261 §7.3.1)."""
    while size[0] and text[0][0] <= 32:
        text[0] += 1
        size[0] -= 1
    while size[0] and text[0][size[0] - 1] <= 32:
        size[0] -= 1


cdef bytes _shorten(const uint8_t *call_id, Py_ssize_t size):
    """Give the beginning of a Call-ID and a digest of the whole: it may be as long as a datagram, and a
    call keeps it.
    """
    from hashlib import blake2b     # rarely needed, and OpenSSL comes with it
    cdef bytes whole = PyBytes_FromStringAndSize(<const char *>call_id, size)
    return whole[:CALL_ID_KEPT] + blake2b(whole, digest_size=16).digest()


cdef void _number(SipMessage message, Event *event) noexcept:
    """Number what a message belongs to: its dialog by both tags, its round by CSeq and From tag, its transaction by the
    top Via too.
    """
    cdef const uint8_t *via = NULL
    cdef const uint8_t *branch = NULL
    cdef const uint8_t *end
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t branch_len = 0
    cdef Py_ssize_t length
    cdef uint64_t caller = _tag(message, FROM)
    cdef int method = event.method
    # Both have the CSeq number of their INVITE (RFC 3261 §9.1, §13.2.2.4)
    if method == ACK_ID or method == CANCEL_ID:
        method = INVITE_ID
    event.dialog = caller + _tag(message, TO)
    # Each side of a dialog numbers its requests on its own (§12.2.1.1), so the From tag tells them apart.
    event.round = mixed(caller, <uint64_t>message.cseq_number << 8 | <uint64_t>method)
    event.transaction = event.round
    if not message.value_of(VIA, &via, &size):
        return
    size = value_end(via, size)
    end = <const uint8_t *>memchr(via, c";", size)
    length = size if end == NULL else end - via
    if size - length > 8 and memcmp(end, b";branch=", 8) == 0 and end[8] > 32:      # where nearly everybody has it
        branch = end + 8
        end = <const uint8_t *>memchr(branch, c";", via + size - branch)
        branch_len = via + size - branch if end == NULL else end - branch
        _strip(&branch, &branch_len)
    else:
        find_parameter(via + length, size - length, b"branch", 6, &branch, &branch_len)
    _strip(&via, &length)
    end = via + length
    via = end
    # Back to the blank before the sent-by, which counts too (§17.2.3): agents of RFC 2543 have no more
    while length and (via - 1)[0] > 32:
        via -= 1
        length -= 1
    event.transaction = mixed(mixed(event.round, text_hash(via, end - via)), text_hash(branch, branch_len))


cdef uint64_t _tag(SipMessage message, int header) noexcept:
    """Give the number of the tag in From or To."""
    cdef const uint8_t *tag = NULL
    cdef Py_ssize_t length = 0
    cdef const Address *found = message.party(header)
    if found != NULL and found.parameters_len > 0:
        find_parameter(found.parameters, found.parameters_len, b"tag", 3, &tag, &length)
    return text_hash(tag, length)


cdef uint64_t _hop(object packet) except? 0:
    """Give the number of the two addresses that a packet goes between, in whatever order; with the ports where it is
    one address, as on loopback.
    """
    cdef object key = Py_TYPE(_flow).tp_descr_get(_flow, packet, _Packet) if type(packet) is _Packet else packet.flow
    cdef bytes packed = key.packed()
    cdef const Flow *flow = <const Flow *>PyBytes_AS_STRING(packed)
    cdef uint64_t hop = text_hash(flow.src, 16) + text_hash(flow.dst, 16)
    if memcmp(flow.src, flow.dst, 16) == 0:
        hop += text_hash(<const uint8_t *>&flow.src_port, 2) + text_hash(<const uint8_t *>&flow.dst_port, 2)
    return hop
