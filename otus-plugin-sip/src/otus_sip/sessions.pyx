"""Offers and answers (RFC 3264) of calls under way, and the media flows that they announce.

In: for each INVITE, UPDATE, PRACK, ACK, BYE, CANCEL and their responses one event, with its media where it has SDP. Out: RTP and RTCP flows, both ways, in the flow registry.
An offer is kept by Call-ID and transaction; every answer to it (183 and 2xx, each fork for itself) completes a pair; a later pair of the same dialog takes the place of the
earlier. BYE ends its dialog, CANCEL and a final failure an early call. All of it is bounded and expires by packet time. Each step costs the same however many calls there are.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t

from otus_core import FlowKey

from otus_sip.sdp import STATIC_CODECS

cdef extern from "arpa/inet.h":
    int inet_pton(int family, const char *text, void *address) nogil

cdef enum:
    AF_INET = 2
    AF_INET6 = 10
    OFFERS_MAX = 8          # transactions of one call under way; more is nobody's call
    DIALOGS_MAX = 16        # forks of one call whose flows are kept
    UDP = 17

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
        """Take an event that a sibling worker published; its flows come by the registry."""
        call_id, what, cseq, method, status, dialog, media, now = message
        self._apply(call_id, what, cseq, method, status, dialog, media, now, False)

    cdef int event(self, object call_id, int what, Py_ssize_t cseq, object method, int status, object dialog, object media, int64_t now) except -1:
        """Take one message of a call."""
        if self._apply(call_id, what, cseq, method, status, dialog, media, now, True) and self.publish is not None:
            self.publish((call_id, what, cseq, method, status, dialog, media, now))
        return 0

    cdef int _apply(self, object call_id, int what, Py_ssize_t cseq, object method, int status, object dialog, object media, int64_t now,
                    bint ours) except -1:
        """Change what is known of a call; gives whether anything changed."""
        cdef Call call
        if what == 1:
            if media is None and (method == "BYE" or method == "CANCEL"):
                call = self.calls.get(call_id)
                if call is None:
                    return 0
                if method == "BYE":
                    keys = call.dialogs.pop(dialog, None)
                    if keys is not None and ours and self.flows is not None:
                        self.flows.remove_many(keys)
                    if not call.dialogs:
                        self._forget(call_id, call, ours)
                elif call.confirmed:
                    call.offers.pop((cseq, "INVITE"), None)
                else:
                    self._forget(call_id, call, ours)
                return 1
            if media is None:
                return 0
            call = self._touch(call_id, now)
            if (method == "ACK" or method == "PRACK") and call.late_offer is not None:
                offer = call.late_offer
                call.late_offer = None
                self._answer(call, call_id, dialog, offer, media, ours)
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
                self._forget(call_id, call, ours)
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
            self._answer(call, call_id, dialog, offer, media, ours)
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

    cdef int _answer(self, Call call, object call_id, object dialog, object offer, object answer, bint ours) except -1:
        """An offer has its answer: register the flows of each media line that both sides accept."""
        cdef list keys = []
        old = call.dialogs.get(dialog)
        if ours and self.flows is not None:
            for one, other in zip(offer, answer):
                _register(self.flows, call_id, one, other, self.ttl, keys)
            if old is not None:
                gone = set(old).difference(keys)
                if gone:
                    self.flows.remove_many(list(gone))
        if len(call.dialogs) >= DIALOGS_MAX and dialog not in call.dialogs:
            return 0
        call.dialogs[dialog] = keys
        return 0

    cdef int _forget(self, object call_id, Call call, bint ours) except -1:
        if ours and self.flows is not None:
            for keys in call.dialogs.values():
                self.flows.remove_many(keys)
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
    flows.register_many(rtp, context, ttl)
    keys += rtp
    if (one[5] and other[5]) or len(one[3]) != len(other[3]):
        return 0
    forth = FlowKey(one[3], one[4], other[3], other[4], UDP)
    rtcp = [forth, forth.reversed()]
    flows.register_many(rtcp, {**context, "protocol": "rtcp"}, ttl)
    keys += rtcp
    return 0
