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
from libc.string cimport memcmp, memcpy, memset

from otus_core import FLOW_KEY_FORMAT

from otus_sip.media cimport MEDIA_MAX, Media
from otus_sip.scan cimport ACK_ID, BYE_ID, CANCEL_ID, INVITE_ID, PRACK_ID, UPDATE_ID

cdef enum:
    UDP = 17
    CALL_ID_SHOWN_MAX = 256     # characters of a Call-ID in a flow's context
    FLOWS_MAX = 4 * MEDIA_MAX   # of one dialog: RTP and RTCP, both ways

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
    """Give a number for a dialog's two tags, the same in both directions and in every worker."""
    return _hash(one, one_len) + _hash(other, other_len)


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Call:
    """What is known of one Call-ID."""

    def __cinit__(self):
        self.offers = []
        self.dialogs = []

    cdef Py_ssize_t offer_at(self, uint64_t transaction) noexcept:
        cdef Py_ssize_t i
        for i in range(len(self.offers)):
            if self.offer_ids[i] == transaction:
                return i
        return -1

    cdef Py_ssize_t dialog_at(self, uint64_t dialog) noexcept:
        cdef Py_ssize_t i
        for i in range(len(self.dialogs)):
            if self.dialog_ids[i] == dialog:
                return i
        return -1

    cdef int drop_offer(self, uint64_t transaction) except -1:
        cdef Py_ssize_t at = self.offer_at(transaction)
        cdef Py_ssize_t last = len(self.offers) - 1
        if at >= 0:
            self.offers[at] = self.offers[last]
            self.offer_ids[at] = self.offer_ids[last]
            del self.offers[last]
        return 0

    cdef int drop_dialog(self, Py_ssize_t at) except -1:
        cdef Py_ssize_t last = len(self.dialogs) - 1
        self.dialogs[at] = self.dialogs[last]
        self.dialog_ids[at] = self.dialog_ids[last]
        del self.dialogs[last]
        return 0


@cython.final
cdef class Sessions:
    """Calls under way. ``flows`` is the task's flow registry or ``None``; ``publish`` tells sibling workers of each event."""

    def __init__(self, flows, publish, Py_ssize_t capacity, double ttl):
        self.register = None if flows is None else flows.register_many
        self.remove = None if flows is None else flows.remove_many
        self.publish = publish
        self.calls = {}
        self.newest = self.oldest = NULL
        self.capacity = capacity
        self.ttl = ttl
        self.ttl_ns = <int64_t>(ttl * SECOND)

    def __len__(self):
        return len(self.calls)

    def take(self, message):
        """Take an event that a sibling worker published."""
        call_id, request, cseq, method, status, dialog, media, now = message
        self._apply(call_id, request, cseq, method, status, dialog, media, now)

    cdef int event(self, str call_id, bint request, int64_t cseq, int method, int status, uint64_t dialog, bytes media, int64_t now) except -1:
        """Take one message of a call; ``method`` is its CSeq's, ``status`` 0 for a request."""
        if self._apply(call_id, request, cseq, method, status, dialog, media, now) and self.publish is not None:
            self.publish((call_id, request, cseq, method, status, dialog, media, now))
        return 0

    cdef int _apply(self, str call_id, bint request, int64_t cseq, int method, int status, uint64_t dialog, bytes media, int64_t now) except -1:
        """Change what is known of a call; gives whether anything changed."""
        cdef Call call
        cdef Py_ssize_t at
        if request:
            if method == BYE_ID or method == CANCEL_ID:
                return self._end(call_id, cseq, method, dialog)
            return self._request(call_id, cseq, method, media, dialog, now) if media is not None else 0
        call = self.calls.get(call_id)
        if status >= 300:
            return self._refused(call, cseq, method) if call is not None else 0
        if call is not None and status >= 200 and method == INVITE_ID:
            call.confirmed = True
        if media is None:
            return call is not None and status >= 200
        if call is None:
            call = self._touch(call_id, now)
            call.confirmed = status >= 200
        at = call.offer_at(_transaction(cseq, method))
        if at >= 0:
            self._answer(call, dialog, call.offers[at], media)
            if status >= 200:
                call.drop_offer(_transaction(cseq, method))
        elif method == INVITE_ID:
            call.late_offer = media
        return 1

    cdef int _request(self, str call_id, int64_t cseq, int method, bytes media, uint64_t dialog, int64_t now) except -1:
        """A request carries an offer, or in ACK and PRACK the answer to one that a response made."""
        cdef Call call = self._touch(call_id, now)
        cdef bytes offer = call.late_offer
        cdef Py_ssize_t at
        if (method == ACK_ID or method == PRACK_ID) and offer is not None:
            call.late_offer = None
            self._answer(call, dialog, offer, media)
        elif method != ACK_ID:
            at = call.offer_at(_transaction(cseq, method))
            if at >= 0:
                call.offers[at] = media
                return 1
            if len(call.offers) >= OFFERS_MAX:
                call.offers.clear()
            call.offer_ids[len(call.offers)] = _transaction(cseq, method)
            call.offers.append(media)
        return 1

    cdef int _end(self, str call_id, int64_t cseq, int method, uint64_t dialog) except -1:
        """BYE ends its dialog; CANCEL ends a call that is not confirmed, and else the offer of a re-INVITE."""
        cdef Call call = self.calls.get(call_id)
        cdef Py_ssize_t at
        if call is None:
            return 0
        if method == BYE_ID:
            at = call.dialog_at(dialog)
            if at >= 0:
                self._unregister(call.dialogs[at])
                call.drop_dialog(at)
            if not call.dialogs:
                self._forget(call)
        elif call.confirmed:
            call.drop_offer(_transaction(cseq, INVITE_ID))
        else:
            self._forget(call)
        return 1

    cdef int _refused(self, Call call, int64_t cseq, int method) except -1:
        """A final failure ends the offer, and a call that was never confirmed."""
        if method == PRACK_ID or method == UPDATE_ID:
            return 0
        if call.confirmed:
            call.drop_offer(_transaction(cseq, method))
        elif call.offer_at(_transaction(cseq, INVITE_ID)) >= 0 or not call.offers:
            self._forget(call)
        return 1

    cdef Call _touch(self, str call_id, int64_t now):
        """Give the call, made new or the most recent."""
        cdef Call call = self.calls.get(call_id)
        if call is None:
            self._let_go(now)
            call = Call.__new__(Call)
            call.call_id = call_id
            self.calls[call_id] = call
        else:
            self._unlink(call)
        call.touched = now
        self._link(call)
        return call

    cdef int _let_go(self, int64_t now) except -1:
        """Forget the oldest calls that have expired or are one too many; their flows expire by themselves."""
        cdef Call oldest
        cdef int most = 4
        while self.oldest != NULL and most:
            oldest = <Call>self.oldest
            if len(self.calls) < self.capacity and now - oldest.touched < self.ttl_ns:
                return 0
            most -= 1
            self.evicted += 1
            self._unlink(oldest)
            del self.calls[oldest.call_id]
        return 0

    cdef int _answer(self, Call call, uint64_t dialog, bytes offer, bytes answer) except -1:
        """An offer has its answer: register the flows of each media line that both sides accept."""
        cdef Flow flows[FLOWS_MAX]
        cdef Py_ssize_t count = 0
        cdef const Media *one = <const Media *>PyBytes_AS_STRING(offer)
        cdef const Media *other = <const Media *>PyBytes_AS_STRING(answer)
        cdef Py_ssize_t lines = min(PyBytes_GET_SIZE(offer), PyBytes_GET_SIZE(answer)) // <Py_ssize_t>sizeof(Media)
        cdef Py_ssize_t at = call.dialog_at(dialog)
        cdef Py_ssize_t i
        cdef bytes keys
        if self.register is not None:
            for i in range(min(lines, MEDIA_MAX)):
                count += self._register(call.call_id, &one[i], &other[i], &flows[count])
        keys = PyBytes_FromStringAndSize(<const char *>flows, count * sizeof(Flow))
        if at >= 0:
            self._unregister(_without(call.dialogs[at], keys))
            call.dialogs[at] = keys
        elif len(call.dialogs) < DIALOGS_MAX:
            call.dialog_ids[len(call.dialogs)] = dialog
            call.dialogs.append(keys)
        return 0

    cdef Py_ssize_t _register(self, str call_id, const Media *one, const Media *other, Flow *flows) except -1:
        """Register RTP and RTCP between two sides of one media line, both ways; gives how many flows these are."""
        cdef dict context
        if not one.version or one.version != other.version:
            return 0
        context = {
            "call_id": call_id if len(call_id) <= CALL_ID_SHOWN_MAX else call_id[:CALL_ID_SHOWN_MAX],
            "media": _text(other.kind, other.kind_len),
            "codec": _text(other.codec, other.codec_len),
            "protocol": "rtp",
        }
        _both_ways(flows, one.version, one.address, one.port, other.address, other.port)
        self.register(PyBytes_FromStringAndSize(<const char *>flows, 2 * sizeof(Flow)), context, self.ttl, True)
        if (one.mux and other.mux) or one.rtcp_version != other.rtcp_version:
            return 2
        context = context.copy()
        context["protocol"] = "rtcp"
        _both_ways(flows + 2, one.rtcp_version, one.rtcp_address, one.rtcp_port, other.rtcp_address, other.rtcp_port)
        self.register(PyBytes_FromStringAndSize(<const char *>(flows + 2), 2 * sizeof(Flow)), context, self.ttl, True)
        return 4

    cdef int _unregister(self, bytes keys) except -1:
        if self.remove is not None and PyBytes_GET_SIZE(keys):
            self.remove(keys, True)
        return 0

    cdef int _forget(self, Call call) except -1:
        for keys in call.dialogs:
            self._unregister(keys)
        self._unlink(call)
        del self.calls[call.call_id]
        return 0

    cdef void _link(self, Call call) noexcept:
        call.newer = NULL
        call.older = self.newest
        if self.newest != NULL:
            (<Call>self.newest).newer = <PyObject *>call
        self.newest = <PyObject *>call
        if self.oldest == NULL:
            self.oldest = <PyObject *>call

    cdef void _unlink(self, Call call) noexcept:
        if call.newer != NULL:
            (<Call>call.newer).older = call.older
        else:
            self.newest = call.older
        if call.older != NULL:
            (<Call>call.older).newer = call.newer
        else:
            self.oldest = call.newer


cdef inline str _text(const uint8_t *start, Py_ssize_t size):
    if size == 5 and memcmp(start, b"audio", 5) == 0:
        return "audio"
    return PyUnicode_DecodeUTF8(<const char *>start, size, b"replace")


cdef inline void _both_ways(Flow *flows, uint8_t version, const uint8_t *one, uint16_t one_port, const uint8_t *other, uint16_t other_port) noexcept:
    memset(flows, 0, 2 * sizeof(Flow))
    memcpy(flows[0].src, one, 16)
    memcpy(flows[0].dst, other, 16)
    memcpy(flows[1].src, other, 16)
    memcpy(flows[1].dst, one, 16)
    flows[0].src_port = flows[1].dst_port = one_port
    flows[0].dst_port = flows[1].src_port = other_port
    flows[0].version = flows[1].version = version
    flows[0].protocol = flows[1].protocol = UDP


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
