"""The processor ``calls``: every SIP message on its way to its call.

A message's call may belong to another worker: what is kept of the message then goes there (``context.route``), so that
several workers say together what one says alone. What is not on the way of every message is the ``Desk``'s.
"""

from ipaddress import ip_address

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int16_t, int64_t, uint8_t, uint32_t, uint64_t

from otus_core import CONSUMED

from otus_calls.desk import Desk
from otus_calls.fields import ALIKE, ANSWERED, LONG, PROOFS, REQUEST_URI, VALUE_MAX, fields_with, scheme_of

from otus_calls.brief cimport brief_of
from otus_calls.note cimport (
    ACK, BYE, CANCEL, INVITE, OTHER_METHOD, PRACK, REFER, REGISTER, UPDATE, Note, digest_of, make_note,
    method_number,
)
from otus_calls.table cimport Table

cdef enum:
    SHARED_MAX = 65536          # texts, addresses and reason phrases, that messages share
    REASON_MAX = 128            # characters
    TAG_MAX = 256               # bytes of a Call-ID, a tag, a branch

cdef object _CONSUMED = CONSUMED
cdef frozenset _PROOFS = frozenset(PROOFS)
cdef frozenset _ENDS = frozenset({"reason"})    # all that BYE and CANCEL may say (RFC 3326)
cdef frozenset _ANSWERED = ANSWERED
cdef frozenset _ALIKE = ALIKE
cdef dict _LONG = LONG
cdef Py_ssize_t _VALUE_MAX = VALUE_MAX
cdef object _MESSAGE = "message"    # the kind of a routed message, beside those of the desk


@cython.final
cdef class Calls:
    """Follows calls and registrations. Its records are told by ``model``."""

    cdef readonly double tick_interval
    cdef Table table
    cdef object desk
    cdef object route
    cdef object not_followed
    cdef frozenset fields
    cdef bint consume
    cdef bint alone
    cdef dict shared                # texts by themselves, addresses by their bytes

    def __init__(self, config):
        self.tick_interval = 1.0
        self.table = Table(
            most=config.max_calls, notes_most=config.max_messages, linger=int(config.linger * 1e9),
            ring_timeout=int(config.ring_timeout * 1e9), talk_timeout=int(config.talk_timeout * 1e9),
        )
        self.desk = Desk(config, self.table)
        self.fields = fields_with(config.leg_headers)
        self.consume = config.consume
        self.shared = {}

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
        cdef tuple signalling
        if output.payload_type == "sip":
            payload = output.payload
            try:
                signalling = payload.signalling()
            except AttributeError:          # from a parser that does not offer it
                self.not_followed()
                return True
            self._message(output, payload, signalling)
        else:
            self.desk.take(output)
        return _CONSUMED if self.consume else True

    cdef int _message(self, object output, object payload, tuple signalling) except -1:
        cdef int method = method_number(<bytes>signalling[5])
        cdef int status = signalling[6]
        cdef dict fields = None
        cdef bytes body = None
        cdef tuple ends
        cdef int16_t vlan = -1
        cdef int64_t at = output.timestamp
        if at <= 0:                         # 0 stands for a time that nothing was seen at; captures may begin then
            at = 1
        if method == OTHER_METHOD or not signalling[0]:
            return 0
        ends = self._ends_of(<tuple>output.flow.parts())
        if method == REGISTER:
            self.desk.take_register(payload, at, ends, signalling)
            return 0
        if (PyBytes_GET_SIZE(<bytes>signalling[0]) > TAG_MAX or PyBytes_GET_SIZE(<bytes>signalling[1]) > TAG_MAX
                or PyBytes_GET_SIZE(<bytes>signalling[2]) > TAG_MAX
                or PyBytes_GET_SIZE(<bytes>signalling[3]) > TAG_MAX):
            signalling = tuple([one[:TAG_MAX] if type(one) is bytes else one for one in signalling])
        if method == INVITE or method == UPDATE or method == ACK or method == PRACK:
            body = payload.description
            if body is not None:
                body = brief_of(body)
        if status >= 200 if status else method == INVITE or method == BYE or method == CANCEL or method == REFER:
            fields = self._fields_of(payload, method, status)
        vlans = output.vlans
        if vlans:
            vlan = vlans[0]
        reason = None if status == 0 else self._shared(payload.reason)
        raw = output.raw_payload
        if self.alone:
            self._take(at, ends, output.protocol, vlan, signalling, reason, digest_of(raw),
                       <uint32_t>PyBytes_GET_SIZE(raw), fields, body)
        else:
            self.route((<bytes>signalling[0]).decode("latin-1"),
                       (_MESSAGE, at, ends, output.protocol, vlan, signalling, reason, digest_of(raw),
                        PyBytes_GET_SIZE(raw), fields, body))
        return 0

    def on_route(self, key, message):
        """Take what belongs to a key of this worker."""
        if message[0] == _MESSAGE:
            _, at, ends, protocol, vlan, signalling, reason, digest, size, fields, body = message
            ends = (self._shared(ends[0]), ends[1], self._shared(ends[2]), ends[3])
            self._take(at, ends, protocol, vlan, signalling, self._shared(reason), digest, size,
                       fields, body)
        else:
            self.desk.on_route(key, message)

    def tick(self, now):
        """Report what has ended by now."""
        return self.desk.tick(now)

    def finish(self, now):
        """Report everything."""
        return self.desk.finish(now)

    cdef int _take(self, int64_t at, tuple ends, uint8_t protocol, int16_t vlan, tuple signalling, object reason,
                   uint64_t digest, uint32_t size, dict fields, bytes body) except -1:
        cdef Note note = make_note(at, ends, protocol, vlan, signalling, reason, digest, size, fields, body)
        self.table.take(signalling, note)
        if self.table.count > self.table.most:
            self.desk.evict()
        return 0

    cdef dict _fields_of(self, object payload, int method, int status):
        """Give header fields of a message that says more than that it is there."""
        cdef dict kept = {}
        if status and method != INVITE and status < 300:
            return None
        cdef frozenset wanted = _ENDS if method == BYE or method == CANCEL else _ANSWERED if status else self.fields
        for name, value in (<dict>payload.selected(wanted)).items():
            if name in _PROOFS:
                kept[name] = scheme_of(value)
            elif name in _ALIKE:
                kept[name] = self._shared(value)
            else:
                kept[_LONG.get(name, name)] = value if len(<str>value) <= _VALUE_MAX else value[:_VALUE_MAX]
        if method == INVITE and status == 0:
            kept[REQUEST_URI] = (payload.request_uri or "")[:_VALUE_MAX]
        return self._shared_fields(kept) if kept else None

    cdef dict _shared_fields(self, dict kept):
        """Give fields that many messages have alike, as most responses do, once for all."""
        if len(kept) > 1:
            return kept
        for name, value in kept.items():
            if name not in _ALIKE:
                return kept
            key = (name, value)
            found = self.shared.get(key)
            if found is None:
                self.shared[key] = kept
                return kept
            return <dict>found

    cdef tuple _ends_of(self, tuple parts):
        """Give addresses as text, and ports."""
        return (self._address(<bytes>parts[0]), parts[1], self._address(<bytes>parts[2]), parts[3])

    cdef object _address(self, bytes packed):
        found = self.shared.get(packed)
        if found is None:
            if len(self.shared) >= SHARED_MAX:
                self.shared.clear()
            if PyBytes_GET_SIZE(packed) == 4:
                found = "%d.%d.%d.%d" % tuple(packed)
            else:
                found = str(ip_address(packed)) if packed else ""
            self.shared[packed] = found
        return found

    cdef object _shared(self, object text):
        """Give a text that was seen before in the place of an equal one."""
        if text is None:
            return None
        found = self.shared.get(text)
        if found is None:
            if len(self.shared) >= SHARED_MAX:
                self.shared.clear()
            found = text[:REASON_MAX]
            self.shared[text] = found
        return found
