"""The media flows of calls: registered with the task's flow registry, both ways, for as long as any call claims them.

In: two sides of a media line. Out: flows in the registry with the context ``{"call_id", "media", "codec"}``.
"""

import struct

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcmp

from otus_core import FLOW_KEY_FORMAT

from otus_core.inline.layouts cimport Flow, fill_flow

from otus_sip.claims cimport LAST, NO_CLAIM
from otus_sip.description cimport MEDIA_MAX

cdef enum:
    TCP = 6
    UDP = 17
    CALL_ID_SHOWN_MAX = 256     # bytes of a Call-ID in a flow's context
    FLOWS_MAX = 2 * MEDIA_MAX   # of one pair of descriptions, one direction of each: RTP and RTCP
    CODECS_MAX = 64             # names of codecs that are kept, so that each is made once

assert struct.calcsize(FLOW_KEY_FORMAT) == sizeof(Flow)


@cython.final
cdef class MediaFlows:
    """What calls announced. ``flows`` is the task's flow registry or ``None``; ``ttl`` is in seconds."""

    def __cinit__(self, flows, ttl):
        self.register = None if flows is None else flows.register_many
        self.remove = None if flows is None else flows.remove_many
        self.claims = Claims()
        self.codecs = {}
        self.ttl = ttl

    cdef int32_t announce(self, Call call, const Media *one, const Media *other, int32_t claims) except -2:
        """Register RTP and RTCP between two sides of one media line, both ways; gives the claims with those to them,
        two at most more.
        """
        cdef Flow flows[2]
        cdef uint8_t protocol = TCP if one.over_tcp else UDP
        cdef Py_ssize_t count = 1
        cdef Py_ssize_t i
        cdef dict context
        if self.register is None or not one.version or one.version != other.version or one.over_tcp != other.over_tcp:
            return claims
        if call.shown is None:
            call.shown = _text(<const uint8_t *>PyBytes_AS_STRING(call.call_id),
                               min(PyBytes_GET_SIZE(call.call_id), CALL_ID_SHOWN_MAX))
        context = {"call_id": call.shown, "media": _kind(other), "codec": self._codec(other)}
        fill_flow(&flows[0], one.version, protocol, one.address, one.port, other.address, other.port)
        if not (one.mux and other.mux) and one.rtcp_version == other.rtcp_version:
            fill_flow(&flows[1], one.rtcp_version, protocol, one.rtcp_address, one.rtcp_port, other.rtcp_address,
                      other.rtcp_port)
            count = 2
        self.register(_both_ways(flows, count), context, self.ttl, True)
        for i in range(count):
            claims = self.claims.add(&flows[i], context, claims)
        return claims

    cdef str _codec(self, const Media *media):
        cdef bytes packed = PyBytes_FromStringAndSize(<const char *>media.codec, media.codec_len)
        codec = self.codecs.get(packed)
        if codec is None:
            if len(self.codecs) >= CODECS_MAX:
                self.codecs.clear()
            codec = self.codecs[packed] = _text(media.codec, media.codec_len)
        return codec

    cdef Py_ssize_t release(self, int32_t claims) except -1:
        """Take claims back, and remove the flows that nobody else has; one that another call has gets that call's
        context again. Gives how many claims there were.
        """
        cdef Flow gone[FLOWS_MAX]
        cdef Py_ssize_t count = 0
        cdef Py_ssize_t released = 0
        cdef int32_t heir
        cdef Flow flow
        while claims != NO_CLAIM:
            flow = self.claims.claims[claims].flow
            heir = self.claims.release(claims)
            claims = self.claims.claims[claims].next
            released += 1
            if heir == LAST and count < FLOWS_MAX:
                gone[count] = flow
                count += 1
            elif heir >= 0:
                self.register(_both_ways(&flow, 1), <object>self.claims.claims[heir].context, self.ttl, True)
        if count:
            self.remove(_both_ways(gone, count), True)
        return released

    cdef int abandon(self, int32_t claims) except -1:
        """Take claims back and leave their flows to expire."""
        while claims != NO_CLAIM:
            self.claims.release(claims)
            claims = self.claims.claims[claims].next
        return 0


cdef inline str _text(const uint8_t *start, Py_ssize_t size):
    return PyUnicode_DecodeUTF8(<const char *>start, size, b"replace")


cdef inline str _kind(const Media *media):
    if media.kind_len == 5 and memcmp(media.kind, b"audio", 5) == 0:
        return "audio"
    return _text(media.kind, media.kind_len)


cdef bytes _both_ways(const Flow *flows, Py_ssize_t count):
    """Give flow keys and those of the other direction."""
    cdef bytes packed = PyBytes_FromStringAndSize(NULL, 2 * count * sizeof(Flow))
    cdef Flow *at = <Flow *>PyBytes_AS_STRING(packed)
    cdef Py_ssize_t i
    for i in range(count):
        at[2 * i] = flows[i]
        fill_flow(&at[2 * i + 1], flows[i].version, flows[i].protocol, flows[i].dst, flows[i].dst_port, flows[i].src,
                  flows[i].src_port)
    return packed
