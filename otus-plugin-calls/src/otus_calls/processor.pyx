"""The processor ``calls``: every SIP message on its way to its call.

A message's call may belong to another worker: what is kept of the message then goes there (``context.route``), so that
several workers say together what one says alone. What is not on the way of every message is the ``Desk``'s.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport Py_TYPE
from libc.stdint cimport int16_t, int64_t, uint32_t, uint64_t

from otus_core.inline.layouts cimport Flow
from otus_core.inline.signalling cimport (
    ACK, BYE, CANCEL, INFO, INVITE, NOTIFY, PRACK, REFER, REGISTER, UPDATE, FieldHead, Signalling, next_field,
    whole_letters,
)

from otus_core import CONSUMED, OutputPacket

from otus_calls.desk import Desk
from otus_calls.fields import ANSWERED, PROOFS, VALUE_MAX, fields_with, scheme_of
from otus_calls.registrations import FIELDS

from otus_calls.brief cimport brief_of
from otus_calls.note cimport digest_of
from otus_calls.table cimport Table

cdef object _CONSUMED = CONSUMED
cdef frozenset _PROOFS = frozenset(name.encode() for name in PROOFS)
cdef frozenset _ENDS = frozenset({"reason"})    # all that BYE and CANCEL may say (RFC 3326)
cdef frozenset _ANSWERED = ANSWERED
cdef frozenset _REGISTERED = FIELDS
cdef Py_ssize_t _VALUE_MAX = VALUE_MAX
cdef object _MESSAGE = "message"    # the kind of a routed message, beside those of the desk

# Attributes that every message is asked for: called where they are, instead of being looked up by name each time.
cdef object _Output = OutputPacket
cdef object _kind = OutputPacket.payload_type
cdef object _payload = OutputPacket.payload
cdef object _timestamp = OutputPacket.timestamp
cdef object _flow = OutputPacket.flow
cdef object _vlans = OutputPacket.vlans
cdef object _raw = OutputPacket.raw_payload


@cython.final
cdef class Calls:
    """Follows calls and registrations. Its records are told by ``model``."""

    cdef readonly double tick_interval
    cdef Table table
    cdef object desk
    cdef object take_register
    cdef object route
    cdef object not_followed
    cdef frozenset fields
    cdef bint consume
    cdef bint alone

    def __init__(self, config):
        self.tick_interval = 1.0
        self.table = Table(
            most=config.max_calls, notes_most=config.max_messages, linger=int(config.linger * 1e9),
            ring_timeout=int(config.ring_timeout * 1e9), talk_timeout=int(config.talk_timeout * 1e9),
        )
        self.desk = Desk(config, self.table)
        self.take_register = self.desk.bindings.take
        self.fields = fields_with(config.leg_headers)
        self.consume = config.consume

    def wire(self, context):
        """Take the way to other workers, and to the reporters."""
        self.route = context.route
        self.alone = context.alone
        self.not_followed = context.counter("not_followed")
        self.desk.wire(context)

    def start(self):
        """Nothing to get ready."""

    def stop(self):
        """Nothing to give back."""

    @property
    def calls(self):
        """How many calls are under way."""
        return self.table.count

    def process(self, output):
        """Take a message, a stream, a packet of RTCP or an ICMP error."""
        cdef bytes said
        cdef bint ours = type(output) is _Output
        kind = Py_TYPE(_kind).tp_descr_get(_kind, output, _Output) if ours else output.payload_type
        if kind == "sip":
            payload = Py_TYPE(_payload).tp_descr_get(_payload, output, _Output) if ours else output.payload
            try:
                said = payload.packed_signalling()
            except AttributeError:          # from a parser that does not offer it
                self.not_followed()
                return True
            if ours:
                self._message(output, payload, said, <bytes>Py_TYPE(_raw).tp_descr_get(_raw, output, _Output))
        else:
            self.desk.take(output)
        return _CONSUMED if self.consume else True

    cdef int _message(self, object output, object payload, bytes said, bytes raw) except -1:
        cdef const Signalling *head = <const Signalling *>PyBytes_AS_STRING(said)
        cdef int64_t at = Py_TYPE(_timestamp).tp_descr_get(_timestamp, output, _Output)
        cdef bytes fields = None
        cdef bytes body = None
        cdef bytes flow
        cdef int16_t vlan = -1
        cdef int method = head.method
        if at <= 0:                         # 0 stands for a time that nothing was seen at; captures may begin then
            at = 1
        if not head.call_id:
            return 0
        if method == REGISTER:
            flow = Py_TYPE(_flow).tp_descr_get(_flow, output, _Output).packed()
            fields = payload.packed_fields(_REGISTERED)
            if self.alone:
                surplus = self.take_register(at, flow, said, fields)
                if surplus is not None:
                    self.desk.evict_binding(surplus)
            else:
                self.desk.route_register(at, flow, said, fields)
            return 0
        if not _is_followed(method):
            return 0
        if self.alone:
            self.table.expect(head)
        if method == INVITE or method == UPDATE or method == ACK or method == PRACK:
            body = payload.description
            if body is not None:
                body = brief_of(body)
        if head.status >= 200 if head.status else (
            method == INVITE or method == BYE or method == CANCEL or method == REFER
        ):
            fields = self._fields_of(payload, method, head.status)
        if self.alone:
            self.table.near()
        flow = Py_TYPE(_flow).tp_descr_get(_flow, output, _Output).packed()
        vlans = Py_TYPE(_vlans).tp_descr_get(_vlans, output, _Output)
        if vlans:
            vlan = vlans[0]
        if self.alone:
            self._put(at, flow, vlan, said, digest_of(raw), <uint32_t>PyBytes_GET_SIZE(raw), fields, body)
        else:
            self.route(said[sizeof(Signalling):sizeof(Signalling) + head.call_id].decode("latin-1"),
                       (_MESSAGE, (at, flow, vlan, said, digest_of(raw), PyBytes_GET_SIZE(raw), fields, body)))
        return 0

    def on_route(self, key, message):
        """Take what belongs to a key of this worker."""
        if message[0] == _MESSAGE:
            at, flow, vlan, said, digest, size, fields, body = message[1]
            self._take(at, flow, vlan, said, digest, size, fields, body)
        else:
            self.desk.on_route(key, message)

    def tick(self, now):
        """Report what has ended by now."""
        return self.desk.tick(now)

    def finish(self, now):
        """Report everything."""
        return self.desk.finish(now)

    cdef int _take(self, int64_t at, bytes flow, int16_t vlan, bytes said, uint64_t digest, uint32_t size,
                   bytes fields, bytes body) except -1:
        self.table.expect(<const Signalling *>PyBytes_AS_STRING(said))
        return self._put(at, flow, vlan, said, digest, size, fields, body)

    cdef int _put(self, int64_t at, bytes flow, int16_t vlan, bytes said, uint64_t digest, uint32_t size,
                  bytes fields, bytes body) except -1:
        self.table.take(at, <const Flow *>PyBytes_AS_STRING(flow), vlan, <const Signalling *>PyBytes_AS_STRING(said),
                        digest, size, fields, body)
        if self.table.count > self.table.most:
            self.desk.evict()
        return 0

    cdef bytes _fields_of(self, object payload, int method, int status):
        """Give header fields of a message that says more than that it is there."""
        if status and method != INVITE and status < 300:
            return None
        cdef frozenset wanted = _ENDS if method == BYE or method == CANCEL else _ANSWERED if status else self.fields
        cdef bytes fields = payload.packed_fields(wanted)
        return fields if _may_be_kept(fields) else _trim(fields)


cdef inline bint _is_followed(int method) noexcept:
    return (INVITE <= method <= CANCEL or method == PRACK or NOTIFY == method or INFO <= method <= REFER
            or method == UPDATE)


cdef bint _may_be_kept(bytes fields) noexcept:
    """Whether no value is long, and none proves a password."""
    cdef const char *at = PyBytes_AS_STRING(fields)
    cdef const char *end = at + PyBytes_GET_SIZE(fields)
    cdef FieldHead head
    at = next_field(at, end, &head)
    while at != NULL:
        if head.value > _VALUE_MAX or (head.name >= 13 and _may_be_proof(at, head.name)):
            return False
        at = next_field(at + head.name + head.value, end, &head)
    return True


cdef inline bint _may_be_proof(const char *name, int size) noexcept:
    """Whether a name has the length and the first letters of one of ``PROOFS``."""
    return (size == 13 and name[0] == c"a") or (size == 16 and name[0] == c"w") or (size >= 18 and name[1] == c"r")


cdef bytes _trim(bytes fields):
    """Give fields without what proves a password and what is beyond the bound of a value."""
    cdef const char *at = PyBytes_AS_STRING(fields)
    cdef const char *end = at + PyBytes_GET_SIZE(fields)
    cdef FieldHead head
    cdef list kept = []
    cdef bytes name
    cdef bytes value
    at = next_field(at, end, &head)
    while at != NULL:
        name = at[:head.name]
        value = (at + head.name)[:head.value]
        if name in _PROOFS:
            value = scheme_of(value.decode("utf-8", "replace")).encode()
        else:
            value = value[:whole_letters(PyBytes_AS_STRING(value), head.value, _VALUE_MAX)]
        at = next_field(at + head.name + head.value, end, &head)
        kept.append(_head_of(name, value) + name + value)
    return b"".join(kept)


cdef bytes _head_of(bytes name, bytes value):
    cdef FieldHead head
    head.name, head.value = <unsigned short>len(name), <unsigned short>len(value)
    return (<const char *>&head)[:sizeof(FieldHead)]
