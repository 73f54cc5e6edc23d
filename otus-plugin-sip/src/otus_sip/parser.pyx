"""The parser ``sip``: packets in, messages with labels out; calls announce their media flows.

``can_handle`` looks at the first line alone. Over UDP a packet holds one message; over TCP all messages that lie whole in the segment, which is the place where streams will be
reassembled.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Copy, PyDict_DelItem, PyDict_SetItem
from libc.stdint cimport int64_t, uint8_t

from otus_core import ParseError, Parsed

from otus_sip.address cimport Address, find_parameter, read_address
from otus_sip.message cimport SipMessage, message_size, scan_message
from otus_sip.scan cimport CALL_ID, FROM, MALFORMED, NOT_SIP, REQUEST, TO, VIA, Line, classify, has_sip_field, method_id, skip_crlf
from otus_sip.scan import METHODS
from otus_sip.sessions cimport Sessions, scan_media
from otus_sip.sessions import media_of

cdef enum:
    TCP = 6
    ACK_ID = 2
    INVITE_ID = 1
    BYE_ID = 3
    CANCEL_ID = 4
    PRACK_ID = 7
    UPDATE_ID = 14
    MESSAGES_MAX = 256      # messages of one segment that are looked at: 64 KiB of the smallest real ones
    VIAS_MAX = 70           # RFC 3261 §8.1.1.6: Max-Forwards starts at 70; more Via fields are no route

cdef str METHOD = "sip.method"
cdef str STATUS = "sip.status_code"
cdef str CSEQ_METHOD = "sip.cseq_method"
cdef str CALL = "sip.call_id"
cdef str FROM_URI = "sip.from_uri"
cdef str TO_URI = "sip.to_uri"
cdef str VIAS = "sip.via"

# Labels are a copy of these with each value replaced: no dict has to grow.
cdef dict _REQUEST_LABELS = dict.fromkeys((METHOD, CSEQ_METHOD, CALL, FROM_URI, TO_URI, VIAS), "")
cdef dict _RESPONSE_LABELS = dict.fromkeys((STATUS, CSEQ_METHOD, CALL, FROM_URI, TO_URI, VIAS), "")
cdef tuple _METHODS = METHODS
cdef list _STATUS_TEXTS = [str(code) for code in range(700)]


cdef inline str _method_text(SipMessage message, const uint8_t *name, Py_ssize_t size, int known):
    return <str>_METHODS[known] if known else message.text(name, size)


cdef inline int _set(SipMessage message, dict labels, str label, const uint8_t *text, Py_ssize_t size) except -1:
    """Set a label, or take it away where there is nothing to say."""
    if size > 0:
        return PyDict_SetItem(labels, label, message.text(text, size))
    return PyDict_DelItem(labels, label)


cdef inline int _set_uri(SipMessage message, dict labels, str label, int header, Address *found) except -1:
    cdef const uint8_t *value = NULL
    cdef Py_ssize_t length = 0
    found.uri_len = 0
    found.parameters_len = 0
    if message.value_of(header, &value, &length):
        read_address(value, length, found)
    return _set(message, labels, label, found.uri, found.uri_len)


cdef object _vias(SipMessage message):
    """Give every Via value, in order, joined with a comma."""
    cdef Py_ssize_t i
    cdef list values = []
    for i in range(message.first[VIA], message.count):
        if message.fields[i].id == VIA:
            values.append(message.value_text(&message.fields[i]))
            if len(values) == VIAS_MAX:
                break
    return ", ".join(values)


cdef int _set_via(SipMessage message, dict labels) except -1:
    """Set the route so far; one Via line, the ordinary case, needs no joining."""
    cdef int i = message.first[VIA]
    if i < 0:
        return PyDict_DelItem(labels, VIAS)
    if (i + 1 >= message.count or message.fields[i + 1].id != VIA) and not message.fields[i].folded and not _has_more_vias(message, i):
        return _set(message, labels, VIAS, message.data + message.fields[i].value, message.fields[i].value_len)
    text = _vias(message)
    return PyDict_SetItem(labels, VIAS, text) if text else PyDict_DelItem(labels, VIAS)


cdef inline bint _has_more_vias(SipMessage message, int i) noexcept:
    cdef Py_ssize_t k
    for k in range(i + 1, message.count):
        if message.fields[k].id == VIA:
            return True
    return False


@cython.final
cdef class SipParser:
    """SIP over UDP and TCP (RFC 3261)."""

    cdef bytes ports            # one byte a port: whether it is configured
    cdef Sessions sessions
    cdef object config
    cdef bytes seen             # what can_handle said yes to last, and found out about it: handle comes right after
    cdef Line seen_line
    cdef Py_ssize_t seen_begin
    cdef bint seen_tcp

    def __init__(self, config):
        table = bytearray(65536)
        for port in config.ports:
            table[port] = 1
        self.ports = bytes(table)
        self.config = config
        self.sessions = Sessions(None, None, config.max_sessions, config.session_ttl)

    def wire(self, context):
        watched = context.flows is not None and context.flows.watched
        self.sessions = Sessions(context.flows, context.peers if watched else None, self.config.max_sessions, self.config.session_ttl)

    def start(self):
        pass

    def stop(self):
        pass

    def on_peer_message(self, message):
        self.sessions.take(message)

    @property
    def calls(self):
        """Calls under way."""
        return len(self.sessions)

    def can_handle(self, packet):
        cdef bytes payload = packet.payload
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(payload)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
        cdef Py_ssize_t begin
        cdef Line line
        cdef bint on_port
        cdef const uint8_t *ports = <const uint8_t *>PyBytes_AS_STRING(self.ports)
        if size < 8:
            return False
        begin = skip_crlf(data, size)
        on_port = ports[<int>packet.dst_port] or ports[<int>packet.src_port]
        if classify(data + begin, size - begin, on_port, &line) == NOT_SIP:
            return False
        if not on_port and not has_sip_field(data + begin + line.end, size - begin - line.end):
            return False
        self.seen_tcp = packet.protocol == TCP
        if self.seen_tcp and line.kind != MALFORMED and message_size(data + begin, size - begin, True) < 0:
            return False
        self.seen, self.seen_line, self.seen_begin = payload, line, begin
        return True

    def handle(self, packet):
        cdef bytes payload = packet.payload
        cdef bint known = payload is self.seen
        self.seen = None
        if self.seen_tcp if known else packet.protocol == TCP:
            return self._segment(packet, payload)
        return self._datagram(packet, payload, known)

    cdef object _datagram(self, object packet, bytes payload, bint known):
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(payload)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
        cdef Py_ssize_t begin
        cdef Py_ssize_t length
        cdef Line line
        if known:
            line, begin = self.seen_line, self.seen_begin
        else:
            begin = skip_crlf(data, size)
            classify(data + begin, size - begin, True, &line)
        if line.kind == MALFORMED or line.kind == NOT_SIP:
            raise ParseError("malformed start line")
        length = message_size(data + begin, size - begin, False)
        if begin or length != size:
            payload = PyBytes_FromStringAndSize(<const char *>data + begin, length)
        return self._parsed(packet, payload, &line)

    cdef object _segment(self, object packet, bytes payload):
        """Every message that lies whole in the segment."""
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(payload)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t length
        cdef Line line
        cdef int kind
        cdef list found = []
        while at < size and len(found) < MESSAGES_MAX:
            at += skip_crlf(data + at, size - at)
            kind = classify(data + at, size - at, True, &line)
            if kind == MALFORMED and not found:
                raise ParseError("malformed start line")
            if kind == NOT_SIP or kind == MALFORMED:
                break
            length = message_size(data + at, size - at, True)
            if length < 0:
                break
            found.append(self._parsed(packet, PyBytes_FromStringAndSize(<const char *>data + at, length), &line))
            at += length
        return found

    cdef object _parsed(self, object packet, bytes raw, Line *line):
        """Make one message, its labels, and tell the sessions of it."""
        cdef SipMessage message = scan_message(raw, line)
        cdef Address from_
        cdef Address to
        cdef dict labels
        cdef int known = 0
        cdef const uint8_t *value = NULL
        cdef Py_ssize_t length = 0
        cdef str method
        if message.line.kind == REQUEST:
            labels = PyDict_Copy(_REQUEST_LABELS)
            known = method_id(message.data, message.line.method_len)
            method = _method_text(message, message.data, message.line.method_len, known)
            PyDict_SetItem(labels, METHOD, method)
        else:
            labels = PyDict_Copy(_RESPONSE_LABELS)
            PyDict_SetItem(labels, STATUS, <str>_STATUS_TEXTS[message.line.status])
        if message.cseq_method != NULL:
            if message.line.kind != REQUEST:
                known = method_id(message.cseq_method, message.cseq_method_len)
            PyDict_SetItem(labels, CSEQ_METHOD, _method_text(
                message, message.cseq_method, message.cseq_method_len, method_id(message.cseq_method, message.cseq_method_len)))
        else:
            PyDict_DelItem(labels, CSEQ_METHOD)
        message.value_of(CALL_ID, &value, &length)
        _set(message, labels, CALL, value, length)
        _set_uri(message, labels, FROM_URI, FROM, &from_)
        _set_uri(message, labels, TO_URI, TO, &to)
        _set_via(message, labels)
        if length > 0 and message.cseq_number >= 0 and (
            known == INVITE_ID or known == BYE_ID or known == CANCEL_ID or known == ACK_ID or known == PRACK_ID or known == UPDATE_ID
        ):
            self._tell(packet, message, labels, known, &from_, &to)
        return Parsed(message, labels, raw)

    cdef int _tell(self, object packet, SipMessage message, dict labels, int known, Address *from_, Address *to) except -1:
        """Tell the sessions of a message that can change a call."""
        cdef bint request = message.line.kind == REQUEST
        cdef int status = 0 if request else <int>message.line.status
        cdef bint sdp = message.holds_sdp()
        cdef object media = None
        if not request and (known == BYE_ID or known == CANCEL_ID or status == 100):
            return 0
        if not sdp and request and known != BYE_ID and known != CANCEL_ID:
            return 0
        if not sdp and not request and status < 200:
            return 0
        if sdp and message.is_plain_sdp():
            media = scan_media(message.data + message.body_start, message.size - message.body_start)
        elif sdp:
            description = message.sdp
            if description is not None:
                media = media_of(description)
        self.sessions.event(
            labels[CALL], 1 if request else 2, message.cseq_number, <str>_METHODS[known], status, _dialog(message, from_, to), media, packet.timestamp)
        return 0


cdef tuple _dialog(SipMessage message, Address *from_, Address *to):
    """Give the tags of a dialog, the same in both directions."""
    cdef const uint8_t *tag = NULL
    cdef Py_ssize_t length = 0
    cdef str one = ""
    cdef str other = ""
    if from_.parameters_len > 0 and find_parameter(from_.parameters, from_.parameters_len, b"tag", 3, &tag, &length):
        one = message.text(tag, length)
    if to.parameters_len > 0 and find_parameter(to.parameters, to.parameters_len, b"tag", 3, &tag, &length):
        other = message.text(tag, length)
    return (one, other) if one < other else (other, one)
