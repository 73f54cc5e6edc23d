"""Offers and answers (RFC 3264) of calls under way, and the media flows that they announce.

In: for each INVITE, UPDATE, PRACK, ACK, BYE, CANCEL and their responses one event, with its media where it has SDP. Out: RTP and RTCP flows, both ways, in the flow registry.
An offer is kept by Call-ID and transaction; every answer to it (183 and 2xx, each fork for itself) completes a pair; a later pair of the same dialog takes the place of the
earlier. BYE ends its dialog, CANCEL and a final failure an early call. All of it is bounded and expires by packet time. Each step costs the same however many calls there are.

With several workers each tells its siblings of every event that changed a call, and all come to the same flows by themselves: flows are registered locally.
"""

import struct

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcmp, memcpy

from otus_core import FLOW_KEY_FORMAT

from otus_sip.media cimport MEDIA_MAX, Media
from otus_sip.scan cimport ACK_ID, BYE_ID, CANCEL_ID, INVITE_ID, PRACK_ID, UPDATE_ID

cdef enum:
    UDP = 17
    CALL_ID_SHOWN_MAX = 256     # bytes of a Call-ID in a flow's context
    FLOWS_MAX = 2 * MEDIA_MAX   # of one dialog, one direction of each: RTP and RTCP

cdef int64_t SECOND = 1_000_000_000

assert struct.calcsize(FLOW_KEY_FORMAT) == sizeof(Flow)


cdef inline uint64_t _transaction(int64_t cseq, int method) noexcept nogil:
    return <uint64_t>cseq << 8 | <uint64_t>method


cdef uint64_t _hash(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    cdef uint64_t h = <uint64_t>size + <uint64_t>0x9E3779B97F4A7C15
    cdef uint64_t word
    while size > 0:
        word = 0
        memcpy(&word, text, min(size, 8))
        h = (h ^ word) * <uint64_t>0xD6E8FEB86659FD93
        h ^= h >> 32
        text += 8
        size -= 8
    return h


cdef uint64_t dialog_id(const uint8_t *one, Py_ssize_t one_len, const uint8_t *other, Py_ssize_t other_len) noexcept nogil:
    """Give a number for a dialog's two tags, the same in both directions and in every worker. It tells dialogs of one call apart, nothing else."""
    return _hash(one, one_len) + _hash(other, other_len)


@cython.final
cdef class Sessions:
    """Calls under way. ``flows`` is the task's flow registry or ``None``; ``publish`` tells sibling workers of each event."""

    def __init__(self, flows, publish, Py_ssize_t capacity, double ttl):
        self.register = None if flows is None else flows.register_many
        self.remove = None if flows is None else flows.remove_many
        self.publish = publish
        self.calls = Calls()
        self.capacity = capacity
        self.ttl = ttl
        self.ttl_ns = <int64_t>(ttl * SECOND)

    def __len__(self):
        return self.calls.count

    def take(self, message):
        """Take an event that a sibling worker published."""
        cdef Event event
        cdef bytes call_id = message[0]
        event.call_id = <const uint8_t *>PyBytes_AS_STRING(call_id)
        event.call_id_len = PyBytes_GET_SIZE(call_id)
        event.hashed = self.calls.expect(event.call_id, event.call_id_len)
        event.cseq, event.now, event.dialog, event.method, event.status = message[1:6]
        self._apply(&event, message[6])

    cdef int event(self, const Event *event, bytes media) except -1:
        """Take one message of a call, with its media where it has SDP."""
        if self._apply(event, media) and self.publish is not None:
            call_id = PyBytes_FromStringAndSize(<const char *>event.call_id, event.call_id_len)
            self.publish((call_id, event.cseq, event.now, event.dialog, event.method, event.status, media))
        return 0

    cdef bint _apply(self, const Event *event, bytes media) except -1:
        """Change what is known of a call; gives whether anything changed."""
        if event.status:
            return self._response(event, media)
        if event.method == BYE_ID or event.method == CANCEL_ID:
            return self._end(event)
        return self._request(event, media)

    cdef bint _request(self, const Event *event, bytes media) except -1:
        """A request begins a call, or carries an offer, or in ACK and PRACK the answer to one that a response made."""
        cdef Call call
        cdef bytes offer
        if media is None and event.method != INVITE_ID:
            return False
        call = self._touch(event)
        offer = call.late_offer
        if media is None:
            return True
        if (event.method == ACK_ID or event.method == PRACK_ID) and offer is not None:
            call.late_offer = None
            self._answer(call, event.dialog, offer, media)
        elif event.method != ACK_ID:
            call.put_offer(_transaction(event.cseq, event.method), media)
        return True

    cdef bint _response(self, const Event *event, bytes media) except -1:
        """A 183 or 2xx answers an offer, or makes one; a final failure ends it."""
        cdef Call call = self.calls.find(event.hashed, event.call_id, event.call_id_len)
        cdef bint final = event.status >= 200
        cdef bytes offer
        if event.status >= 300:
            return self._refused(call, event) if call is not None else False
        if call is not None and final and event.method == INVITE_ID:
            call.confirmed = True
        if media is None or call is None:   # a response alone makes no call: it may be a late one, of a call that has ended
            return call is not None and final
        offer = call.offer(_transaction(event.cseq, event.method))
        if offer is not None:
            self._answer(call, event.dialog, offer, media)
            if final and event.method != INVITE_ID:     # each fork of an INVITE has a 2xx of its own (RFC 3261 §13.2.2.4)
                call.drop_offer(_transaction(event.cseq, event.method))
        elif event.method == INVITE_ID:
            call.late_offer = media
        return True

    cdef bint _end(self, const Event *event) except -1:
        """BYE ends its dialog; CANCEL ends a call that is not confirmed, and else the offer of a re-INVITE."""
        cdef Call call = self.calls.find(event.hashed, event.call_id, event.call_id_len)
        cdef bytes keys
        if call is None:
            return False
        if event.method == BYE_ID:
            keys = call.dialog(event.dialog)
            if keys is not None:
                self._unregister(keys)
                call.drop_dialog(event.dialog)
            if not call.dialog_count:
                self._forget(call)
        elif call.confirmed:
            call.drop_offer(_transaction(event.cseq, INVITE_ID))
        else:
            self._forget(call)
        return True

    cdef bint _refused(self, Call call, const Event *event) except -1:
        """A final failure ends the offer, and a call that was never confirmed."""
        if event.method == PRACK_ID or event.method == UPDATE_ID:
            return False
        if call.confirmed:
            call.drop_offer(_transaction(event.cseq, event.method))
        elif not call.offer_count or call.offer(_transaction(event.cseq, INVITE_ID)) is not None:
            self._forget(call)
        return True

    cdef Call _touch(self, const Event *event):
        """Give the call, made new or the most recent."""
        cdef Call call = self.calls.find(event.hashed, event.call_id, event.call_id_len)
        if call is None:
            self._let_go(event.now)
            call = self.calls.add(event.hashed, event.call_id, event.call_id_len)
        else:
            self.calls.touch(call)
        call.touched = event.now
        return call

    cdef int _let_go(self, int64_t now) except -1:
        """Forget the oldest calls that have expired or are one too many; their flows expire by themselves."""
        cdef Call oldest
        cdef int most
        for most in range(4):
            oldest = self.calls.eldest()
            if oldest is None or (self.calls.count < self.capacity and now - oldest.touched < self.ttl_ns):
                break
            self.evicted += 1
            self.calls.remove(oldest)
        return 0

    cdef int _answer(self, Call call, uint64_t dialog, bytes offer, bytes answer) except -1:
        """An offer has its answer: register the flows of each media line that both sides accept."""
        cdef Flow flows[FLOWS_MAX]
        cdef Py_ssize_t count = 0
        cdef const Media *one = <const Media *>PyBytes_AS_STRING(offer)
        cdef const Media *other = <const Media *>PyBytes_AS_STRING(answer)
        cdef Py_ssize_t lines = min(PyBytes_GET_SIZE(offer), PyBytes_GET_SIZE(answer)) // <Py_ssize_t>sizeof(Media)
        cdef Py_ssize_t i
        cdef bytes before = call.dialog(dialog)
        cdef bytes keys
        if self.register is not None:
            for i in range(min(lines, MEDIA_MAX)):
                count += self._register(call.call_id, &one[i], &other[i], &flows[count])
        keys = PyBytes_FromStringAndSize(<const char *>flows, count * sizeof(Flow))
        if before is not None:
            self._unregister(_without(before, keys))
        call.put_dialog(dialog, keys)
        return 0

    cdef Py_ssize_t _register(self, bytes call_id, const Media *one, const Media *other, Flow *flows) except -1:
        """Register RTP and RTCP between two sides of one media line, both ways; gives how many flows these are, one direction of each."""
        cdef Py_ssize_t count = 1
        cdef dict context
        if not one.version or one.version != other.version:
            return 0
        context = {
            "call_id": _text(<const uint8_t *>PyBytes_AS_STRING(call_id), min(PyBytes_GET_SIZE(call_id), CALL_ID_SHOWN_MAX)),
            "media": _kind(other),
            "codec": _text(other.codec, other.codec_len),
        }
        _fill(&flows[0], one.version, one.address, one.port, other.address, other.port)
        if not (one.mux and other.mux) and one.rtcp_version == other.rtcp_version:
            _fill(&flows[1], one.rtcp_version, one.rtcp_address, one.rtcp_port, other.rtcp_address, other.rtcp_port)
            count = 2
        self.register(_both_ways(flows, count), context, self.ttl, True)
        return count

    cdef int _unregister(self, bytes keys) except -1:
        cdef Py_ssize_t count = PyBytes_GET_SIZE(keys) // <Py_ssize_t>sizeof(Flow)
        if self.remove is not None and count:
            self.remove(_both_ways(<const Flow *>PyBytes_AS_STRING(keys), count), True)
        return 0

    cdef int _forget(self, Call call) except -1:
        cdef int i
        for i in range(call.dialog_count):
            self._unregister(<bytes>call.dialogs[i].data)
        self.calls.remove(call)
        return 0


cdef inline str _text(const uint8_t *start, Py_ssize_t size):
    return PyUnicode_DecodeUTF8(<const char *>start, size, b"replace")


cdef inline str _kind(const Media *media):
    return "audio" if media.kind_len == 5 and memcmp(media.kind, b"audio", 5) == 0 else _text(media.kind, media.kind_len)


cdef inline void _fill(Flow *flow, uint8_t version, const uint8_t *one, uint16_t one_port, const uint8_t *other, uint16_t other_port) noexcept:
    memcpy(flow.src, one, 16)
    memcpy(flow.dst, other, 16)
    flow.src_port = one_port
    flow.dst_port = other_port
    flow.version = version
    flow.protocol = UDP
    flow.zero = 0


cdef bytes _both_ways(const Flow *flows, Py_ssize_t count):
    """Give flow keys and those of the other direction."""
    cdef bytes packed = PyBytes_FromStringAndSize(NULL, 2 * count * sizeof(Flow))
    cdef Flow *at = <Flow *>PyBytes_AS_STRING(packed)
    cdef Py_ssize_t i
    for i in range(count):
        at[2 * i] = flows[i]
        _fill(&at[2 * i + 1], flows[i].version, flows[i].dst, flows[i].dst_port, flows[i].src, flows[i].src_port)
    return packed


cdef bytes _without(bytes old, bytes new):
    """Give the flow keys of ``old`` that are not in ``new``."""
    cdef Flow gone[FLOWS_MAX]
    cdef Py_ssize_t count = 0
    cdef const Flow *one = <const Flow *>PyBytes_AS_STRING(old)
    cdef const Flow *other = <const Flow *>PyBytes_AS_STRING(new)
    cdef Py_ssize_t i
    cdef Py_ssize_t k
    for i in range(min(PyBytes_GET_SIZE(old) // <Py_ssize_t>sizeof(Flow), FLOWS_MAX)):
        for k in range(PyBytes_GET_SIZE(new) // <Py_ssize_t>sizeof(Flow)):
            if memcmp(&one[i], &other[k], sizeof(Flow)) == 0:
                break
        else:
            gone[count] = one[i]
            count += 1
    return PyBytes_FromStringAndSize(<const char *>gone, count * sizeof(Flow))
