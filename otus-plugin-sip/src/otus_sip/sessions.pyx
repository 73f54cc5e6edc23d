"""Offers and answers (RFC 3264) of calls under way, and the media flows that they announce.

In: for each INVITE, UPDATE, PRACK, ACK, BYE, CANCEL and their responses one event, with its media where it has SDP. Out: RTP and RTCP flows, both ways, in the flow registry.
An offer is kept by Call-ID and transaction; every answer to it (183 and 2xx, each fork for itself) completes a pair; a later pair of the same dialog takes the place of the
earlier. BYE ends its dialog, CANCEL and a final failure an early call. All of it is bounded and expires by packet time. Each step costs the same however many calls there are.

With several workers each tells its siblings of every event that changed a call, and all come to the same flows by themselves: flows are registered locally.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memchr, memcmp, memset

from otus_core import FlowKey

from otus_sip.scan cimport number

from otus_sip.sdp import STATIC_CODECS

cdef extern from "arpa/inet.h":
    int inet_pton(int family, const char *text, void *address) nogil

cdef enum:
    AF_INET = 2
    AF_INET6 = 10
    OFFERS_MAX = 8          # transactions of one call under way; more is nobody's call
    DIALOGS_MAX = 16        # forks of one call whose flows are kept
    UDP = 17
    MEDIA_MAX = 64

# What an event is.
REQUEST_EVENT, RESPONSE_EVENT = 1, 2

cdef int64_t SECOND = 1_000_000_000


@cython.final
@cython.freelist(64)
cdef class Call:
    """What is known of one Call-ID."""

    def __cinit__(self):
        self.offers = {}
        self.dialogs = {}


@cython.final
cdef class Sessions:
    """Calls under way. ``flows`` is the task's flow registry or ``None``; ``publish`` tells sibling workers of each event."""

    def __init__(self, flows, publish, Py_ssize_t capacity, double ttl):
        self.flows = flows
        self.publish = publish
        self.calls = {}
        self.capacity = capacity
        self.ttl = ttl
        self.ttl_ns = <int64_t>(ttl * SECOND)

    def __len__(self):
        return len(self.calls)

    def take(self, message):
        """Take an event that a sibling worker published."""
        call_id, what, cseq, method, status, dialog, media, now = message
        self._apply(call_id, what, cseq, method, status, dialog, media, now)

    cdef int event(self, object call_id, int what, Py_ssize_t cseq, object method, int status, object dialog, object media, int64_t now) except -1:
        """Take one message of a call."""
        if self._apply(call_id, what, cseq, method, status, dialog, media, now) and self.publish is not None:
            self.publish((call_id, what, cseq, method, status, dialog, media, now))
        return 0

    cdef int _apply(self, object call_id, int what, Py_ssize_t cseq, object method, int status, object dialog, object media, int64_t now) except -1:
        """Change what is known of a call; gives whether anything changed."""
        cdef Call call
        if what == 1:
            if media is None and (method == "BYE" or method == "CANCEL"):
                call = self.calls.get(call_id)
                if call is None:
                    return 0
                if method == "BYE":
                    keys = call.dialogs.pop(dialog, None)
                    if keys is not None and self.flows is not None:
                        self.flows.remove_many(keys, local=True)
                    if not call.dialogs:
                        self._forget(call_id, call)
                elif call.confirmed:
                    call.offers.pop((cseq, "INVITE"), None)
                else:
                    self._forget(call_id, call)
                return 1
            if media is None:
                return 0
            call = self._touch(call_id, now)
            if (method == "ACK" or method == "PRACK") and call.late_offer is not None:
                offer = call.late_offer
                call.late_offer = None
                self._answer(call, call_id, dialog, offer, media)
            elif method != "ACK":
                if len(call.offers) >= OFFERS_MAX:
                    call.offers.clear()
                call.offers[(cseq, method)] = media
            return 1
        call = self.calls.get(call_id)
        if status >= 300:
            if call is None or method == "PRACK" or method == "UPDATE":
                return 0
            if call.confirmed:
                call.offers.pop((cseq, method), None)
            elif (cseq, "INVITE") in call.offers or not call.offers:
                self._forget(call_id, call)
            return 1
        if call is not None and status >= 200 and method == "INVITE":
            call.confirmed = True
        if media is None:
            return call is not None and status >= 200
        if call is None:
            call = self._touch(call_id, now)
            call.confirmed = status >= 200
        offer = call.offers.get((cseq, method))
        if offer is not None:
            self._answer(call, call_id, dialog, offer, media)
            if status >= 200:
                del call.offers[(cseq, method)]
        elif method == "INVITE":
            call.late_offer = media
        return 1

    cdef Call _touch(self, object call_id, int64_t now):
        """Give the call, made new or the most recent."""
        cdef Call call = self.calls.pop(call_id, None)
        if call is None:
            self._let_go(now)
            call = Call.__new__(Call)
        call.touched = now
        self.calls[call_id] = call
        return call

    cdef int _let_go(self, int64_t now) except -1:
        """Forget the oldest calls that have expired or are one too many; their flows expire by themselves."""
        cdef Call oldest
        cdef int most = 4
        while self.calls and most:
            call_id = next(iter(self.calls))
            oldest = self.calls[call_id]
            if len(self.calls) < self.capacity and now - oldest.touched < self.ttl_ns:
                return 0
            most -= 1
            self.evicted += 1
            del self.calls[call_id]
        return 0

    cdef int _answer(self, Call call, object call_id, object dialog, object offer, object answer) except -1:
        """An offer has its answer: register the flows of each media line that both sides accept."""
        cdef list keys = []
        old = call.dialogs.get(dialog)
        if self.flows is not None:
            for one, other in zip(offer, answer):
                _register(self.flows, call_id, one, other, self.ttl, keys)
            if old is not None:
                gone = set(old).difference(keys)
                if gone:
                    self.flows.remove_many(list(gone), local=True)
        if len(call.dialogs) >= DIALOGS_MAX and dialog not in call.dialogs:
            return 0
        call.dialogs[dialog] = keys
        return 0

    cdef int _forget(self, object call_id, Call call) except -1:
        if self.flows is not None:
            for keys in call.dialogs.values():
                self.flows.remove_many(keys, local=True)
        self.calls.pop(call_id, None)
        return 0


def media_of(sdp):
    """Give what sessions keep of a description: for each media line ``(kind, address, port, rtcp address, rtcp port, mux, codec)``, plain and small.

    Addresses are packed; ``None`` where the line names none that a flow can have (a name, 0.0.0.0, port 0, or not RTP).
    """
    cdef list found = []
    for media in sdp.media:
        address = packed(media.address)
        port = media.port
        if address is None or not port or "RTP/" not in media.protocol:
            found.append(None)
            continue
        rtcp = packed(media.rtcp_address) or address
        codec = _codec(media)
        found.append((media.media[:32], address, port, rtcp, media.rtcp_port or min(port + 1, 65535), media.rtcp_mux, codec))
    return tuple(found)


cdef str _codec(media):
    """The first format's name."""
    if not media.formats:
        return ""
    first = media.formats[0]
    for line in media.rtpmap:
        number, _, name = (<str>line).partition(" ")
        if number == first:
            return name.strip()[:64]
    return STATIC_CODECS.get(first, first)[:64]


cpdef object packed(address):
    """Give a packed IP address, or ``None`` for a name, the unspecified address, or nothing."""
    cdef uint8_t out[16]
    cdef bytes text
    if address is None:
        return None
    text = (<str>address).encode("ascii", "replace")
    if inet_pton(AF_INET, text, out) == 1:
        found = out[:4]
    elif b":" in text and inet_pton(AF_INET6, text, out) == 1:
        found = out[:16]
    else:
        return None
    return found if any(found) else None


cdef int _register(object flows, object call_id, object one, object other, double ttl, list keys) except -1:
    """Register RTP and RTCP between two sides of one media line, both ways."""
    cdef list rtp
    cdef list rtcp
    if one is None or other is None or len(one[1]) != len(other[1]):
        return 0
    context = {"call_id": call_id[:256], "media": other[0], "codec": other[6], "protocol": "rtp"}
    forth = FlowKey(one[1], one[2], other[1], other[2], UDP)
    rtp = [forth, forth.reversed()]
    flows.register_many(rtp, context, ttl, local=True)
    keys += rtp
    if (one[5] and other[5]) or len(one[3]) != len(other[3]):
        return 0
    forth = FlowKey(one[3], one[4], other[3], other[4], UDP)
    rtcp = [forth, forth.reversed()]
    flows.register_many(rtcp, {**context, "protocol": "rtcp"}, ttl, local=True)
    keys += rtcp
    return 0


# One m= line while its attributes are read; pointers into the body.
cdef struct Line:
    const uint8_t *kind
    Py_ssize_t kind_len
    const uint8_t *format
    Py_ssize_t format_len
    const uint8_t *codec
    Py_ssize_t codec_len
    Py_ssize_t port
    Py_ssize_t rtcp_port
    bint rtp
    bint mux


cdef inline str _text(const uint8_t *start, Py_ssize_t size):
    return PyUnicode_DecodeUTF8(<const char *>start, size, b"replace")


cdef object _connection(const uint8_t *value, Py_ssize_t length):
    """Give the packed address of ``IN IP4 192.0.2.1``, or ``None``."""
    cdef char text[48]
    cdef uint8_t out[16]
    cdef Py_ssize_t n = 0
    cdef int size = 4
    if length < 8 or memcmp(value, b"IN IP", 5) != 0 or value[6] != 32:
        return None
    value += 7
    length -= 7
    while n < length and n < 47 and value[n] > 32 and value[n] != c"/":
        text[n] = value[n]
        n += 1
    text[n] = 0
    if inet_pton(AF_INET, text, out) != 1:
        if inet_pton(AF_INET6, text, out) != 1:
            return None
        size = 16
    found = PyBytes_FromStringAndSize(<const char *>out, size)
    return found if any(found) else None


cdef bint _read_line(const uint8_t *value, Py_ssize_t length, Line *line) noexcept nogil:
    """Read ``audio 49170 RTP/AVP 0 8``; false when it is none."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t start
    cdef Py_ssize_t i
    memset(line, 0, sizeof(Line))
    while at < length and value[at] != 32:
        at += 1
    line.kind = value
    line.kind_len = min(at, 32)
    start = at + 1
    at = start
    while at < length and value[at] != 32 and value[at] != c"/":
        at += 1
    if at - start > 5:
        return False
    line.port = number(value + start, at - start)
    if line.port < 0 or line.port > 65535:
        return False
    while at < length and value[at] != 32:
        at += 1
    start = at + 1
    at = start
    while at < length and value[at] != 32:
        at += 1
    if at <= start:
        return False
    for i in range(start, at - 3):
        if memcmp(value + i, b"RTP/", 4) == 0:
            line.rtp = True
    start = at + 1
    at = start
    while at < length and value[at] != 32:
        at += 1
    if at > start:
        line.format = value + start
        line.format_len = at - start
    return True


cdef object _finish(Line *line, object address, object rtcp_address):
    """Give what ``media_of`` gives for one line."""
    cdef str codec
    if address is None or not line.port or not line.rtp:
        return None
    if line.codec_len:
        codec = _text(line.codec, line.codec_len).strip()[:64]
    else:
        codec = _text(line.format, line.format_len) if line.format_len else ""
        codec = STATIC_CODECS.get(codec, codec)[:64]
    return (_text(line.kind, line.kind_len), address, line.port, rtcp_address or address, line.rtcp_port or min(line.port + 1, 65535),
            bool(line.mux), codec)


cdef tuple scan_media(const uint8_t *data, Py_ssize_t size):
    """Give what ``media_of`` gives, straight from the bytes of a description: this runs for every call."""
    cdef list found = []
    cdef Line line
    cdef bint open_line = False
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end
    cdef Py_ssize_t length
    cdef Py_ssize_t digits
    cdef const uint8_t *newline
    cdef const uint8_t *value
    cdef object session_address = None
    cdef object address = None
    cdef object rtcp_address = None
    while at < size:
        newline = <const uint8_t *>memchr(data + at, 10, size - at)
        end = size if newline == NULL else newline - data
        length = end - at
        if length and data[at + length - 1] == 13:
            length -= 1
        value = data + at
        at = end + 1
        if length < 2 or value[1] != c"=":
            continue
        length -= 2
        if value[0] == c"m":
            if open_line:
                found.append(_finish(&line, address, rtcp_address))
            if len(found) == MEDIA_MAX:
                open_line = False
                break
            open_line = _read_line(value + 2, length, &line)
            address = session_address
            rtcp_address = None
        elif value[0] == c"c":
            if open_line:
                address = _connection(value + 2, length)
            elif not found:
                session_address = _connection(value + 2, length)
        elif value[0] == c"a" and open_line:
            value += 2
            if length == 8 and memcmp(value, b"rtcp-mux", 8) == 0:
                line.mux = True
            elif length > 7 + line.format_len and line.format_len and not line.codec_len and memcmp(value, b"rtpmap:", 7) == 0:
                if memcmp(value + 7, line.format, line.format_len) == 0 and value[7 + line.format_len] == 32:
                    line.codec = value + 8 + line.format_len
                    line.codec_len = length - 8 - line.format_len
            elif length > 5 and memcmp(value, b"rtcp:", 5) == 0:
                digits = 0
                while 5 + digits < length and 48 <= value[5 + digits] <= 57:
                    digits += 1
                end = number(value + 5, digits)
                if 0 < end <= 65535:
                    line.rtcp_port = end
                    if length > 6 + digits:
                        rtcp_address = _connection(value + 6 + digits, length - 6 - digits)
    if open_line:
        found.append(_finish(&line, address, rtcp_address))
    return tuple(found)


def media_in(bytes body not None):
    """Give ``scan_media`` of a description, for tests and tools."""
    return scan_media(<const uint8_t *>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
