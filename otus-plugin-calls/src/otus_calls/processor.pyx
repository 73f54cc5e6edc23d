"""The processor ``calls``: every SIP message on its way to its call.

A message's call may belong to another worker: what is kept of the message then goes there (``context.route``), so that
several workers say together what one says alone. What is not on the way of every message is the ``Desk``'s.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from otus_core.inline.layouts cimport Flow
from otus_core.inline.outputs cimport OutputEntry, OutputView, output_entry
from otus_core.inline.signalling cimport (
    ACK, BYE, CANCEL, INFO, INVITE, NOTIFY, PRACK, REFER, REGISTER, UPDATE, FieldHead, Signalling, SignallingEntry,
    next_field, pack_signalling, signalling_entry, unpack_signalling, whole_letters,
)
from otus_core.inline.writer cimport Writer, release, written

from otus_core import CONSUMED, OutputPacket

from otus_calls.desk import Desk
from otus_calls.fields import ANSWERED, PROOFS, VALUE_MAX, fields_with, scheme_of
from otus_calls.registrations import FIELDS

from otus_calls.bindings cimport Bindings
from otus_calls.brief cimport BRIEF_ROOM, make_brief
from otus_calls.note cimport Heard, digest_of
from otus_calls.table cimport Table

cdef const OutputEntry *_outputs = output_entry()

cdef enum Wanted:       # which header fields a message is asked for
    REGISTERED = 0
    ENDS = 1            # all that BYE and CANCEL may say (RFC 3326)
    ANSWERS = 2
    CALLS = 3
    NOTHING = 4

cdef object _CONSUMED = CONSUMED
cdef frozenset _PROOFS = frozenset(name.encode() for name in PROOFS)
cdef Py_ssize_t _VALUE_MAX = VALUE_MAX
cdef object _MESSAGE = "message"    # the kind of a routed message, beside those of the desk
cdef str _SIP = "sip"
cdef object _Output = OutputPacket


@cython.final
cdef class Calls:
    """Follows calls and registrations. Its records are told by ``model``."""

    cdef readonly double tick_interval
    cdef Table table
    cdef object desk
    cdef Bindings bindings
    cdef object route
    cdef object not_followed
    cdef tuple names                # of header fields, by Wanted
    cdef object spoken              # the class of messages met last, and what those answer
    cdef const SignallingEntry *entry
    cdef list chosen                # the names as ``entry`` has them
    cdef Writer fields
    cdef char body[BRIEF_ROOM]
    cdef bint consume
    cdef bint alone

    def __init__(self, config):
        self.tick_interval = 1.0
        self.table = Table(
            most=config.max_calls, notes_most=config.max_messages, linger=int(config.linger * 1e9),
            ring_timeout=int(config.ring_timeout * 1e9), talk_timeout=int(config.talk_timeout * 1e9),
        )
        self.desk = Desk(config, self.table)
        self.bindings = self.desk.bindings
        self.names = (FIELDS, frozenset({"reason"}), ANSWERED, fields_with(config.leg_headers))
        self.consume = config.consume

    def __dealloc__(self):
        release(&self.fields)

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
        cdef OutputView view
        if type(output) is _Output:
            _outputs.view(output, &view)
            if view.payload_type == <PyObject *>_SIP or <object>view.payload_type == _SIP:
                self._message(&view, <object>view.payload)
            else:
                self.desk.take(output)
        elif output.payload_type != _SIP:
            self.desk.take(output)
        return _CONSUMED if self.consume else True

    cdef int _meet(self, object kind) except -1:
        """Learn what messages of a class answer."""
        self.spoken = None
        self.entry = signalling_entry(kind)
        if self.entry != NULL:
            self.chosen = [self.entry.choose(names) for names in self.names]
        self.spoken = kind
        return 0

    cdef int _message(self, const OutputView *view, object payload) except -1:
        cdef Heard heard
        cdef Signalling head
        cdef bytes said
        if type(payload) is not self.spoken:
            self._meet(type(payload))
        if self.entry != NULL:
            self.entry.look(payload, &head, heard.texts)
            heard.head = &head
            return self._hear(view, payload, &heard)
        try:
            said = payload.packed_signalling()
        except AttributeError:          # from a parser that does not offer it
            self.not_followed()
            return 0
        heard.head = unpack_signalling(said, heard.texts)
        return self._hear(view, payload, &heard)

    cdef int _hear(self, const OutputView *view, object payload, Heard *heard) except -1:
        cdef int method = heard.head.method
        cdef int wanted
        if not heard.head.call_id or (method != REGISTER and not _is_followed(method)):
            return 0
        heard.time = max(view.timestamp, 1)     # 0 stands for a time that nothing was seen at; captures may begin then
        heard.flow = &view.flow
        heard.vlan = view.vlan
        heard.fields = heard.body = NULL
        heard.fields_len = heard.body_len = 0
        heard.described = False
        if method == REGISTER:
            self._read_fields(payload, REGISTERED, heard)
            return self._register(heard)
        if self.alone:
            self.table.expect(heard)
        if method == INVITE or method == UPDATE or method == ACK or method == PRACK:
            self._read_body(payload, heard)
        wanted = _wanted(method, heard.head.status)
        held = self._read_fields(payload, wanted, heard) if wanted != NOTHING else None
        if self.alone:
            self.table.near()
        heard.size = <uint32_t>PyBytes_GET_SIZE(<bytes>view.raw_payload)
        heard.digest = digest_of(<bytes>view.raw_payload)
        if self.alone:
            return self._take(heard)
        said = pack_signalling(heard.head, heard.texts)
        self.route(heard.texts[0][:heard.head.call_id].decode("latin-1"), (_MESSAGE, (
            heard.time, (<const char *>heard.flow)[:sizeof(Flow)], heard.vlan, said, heard.digest, heard.size,
            heard.fields[:heard.fields_len], heard.body[:heard.body_len] if heard.described else None,
        )))
        return 0

    cdef int _register(self, const Heard *heard) except -1:
        if self.alone:
            surplus = self.bindings.hear(heard)
            if surplus is not None:
                self.desk.evict_binding(surplus)
        else:
            self.desk.route_register(heard.time, (<const char *>heard.flow)[:sizeof(Flow)],
                                     pack_signalling(heard.head, heard.texts), heard.fields[:heard.fields_len])
        return 0

    def on_route(self, key, message):
        """Take what belongs to a key of this worker."""
        if message[0] == _MESSAGE:
            at, flow, vlan, said, digest, size, fields, body = message[1]
            self._take_routed(at, flow, vlan, said, digest, size, fields, body)
        else:
            self.desk.on_route(key, message)

    def tick(self, now):
        """Report what has ended by now."""
        return self.desk.tick(now)

    def before_finish(self, now):
        """Show open calls to the worker that looks for legs."""
        return self.desk.before_finish(now)

    def finish(self, now):
        """Report everything."""
        return self.desk.finish(now)

    cdef int _take_routed(self, int64_t at, bytes flow, int vlan, bytes said, uint64_t digest, uint32_t size,
                          bytes fields, bytes body) except -1:
        cdef Heard heard
        heard.time = at
        heard.flow = <const Flow *>PyBytes_AS_STRING(flow)
        heard.vlan = vlan
        heard.head = unpack_signalling(said, heard.texts)
        heard.digest = digest
        heard.size = size
        heard.fields, heard.fields_len = PyBytes_AS_STRING(fields), <uint32_t>PyBytes_GET_SIZE(fields)
        heard.described = body is not None
        heard.body, heard.body_len = NULL, 0
        if body is not None:
            heard.body, heard.body_len = PyBytes_AS_STRING(body), <uint32_t>PyBytes_GET_SIZE(body)
        self.table.expect(&heard)
        return self._take(&heard)

    cdef int _take(self, const Heard *heard) except -1:
        self.table.take(heard)
        if self.table.count > self.table.most:
            self.desk.evict()
        return 0

    cdef int _read_body(self, object payload, Heard *heard) except -1:
        """Read what is kept of the session description."""
        cdef const char *text = NULL
        cdef Py_ssize_t size = 0
        if self.entry != NULL:
            held = self.entry.description(payload, &text, &size)
        else:
            held = payload.description
            if held is not None:
                text, size = PyBytes_AS_STRING(<bytes?>held), PyBytes_GET_SIZE(<bytes?>held)
        if held is not None:
            heard.described = True
            heard.body = self.body
            heard.body_len = <uint32_t>make_brief(text, size, self.body)
        return 0

    cdef object _read_fields(self, object payload, int wanted, Heard *heard):
        """Read header fields; gives what is to be held while they are needed."""
        cdef bytes fields
        if self.entry != NULL:
            self.fields.at = self.fields.start
            self.entry.fields(payload, self.chosen[wanted], &self.fields)
            heard.fields, heard.fields_len = self.fields.start, <uint32_t>written(&self.fields)
            fields = None
        else:
            fields = payload.packed_fields(self.names[wanted])
            heard.fields, heard.fields_len = PyBytes_AS_STRING(fields), <uint32_t>PyBytes_GET_SIZE(fields)
        if wanted != REGISTERED and not _may_be_kept(heard.fields, heard.fields_len):
            fields = _trim(heard.fields, heard.fields_len)
            heard.fields, heard.fields_len = PyBytes_AS_STRING(fields), <uint32_t>PyBytes_GET_SIZE(fields)
        return fields


cdef inline bint _is_followed(int method) noexcept:
    return (INVITE <= method <= CANCEL or method == PRACK or NOTIFY == method or INFO <= method <= REFER
            or method == UPDATE)


cdef inline int _wanted(int method, int status) noexcept:
    """Say what a message is asked for, if it may say more than that it is there."""
    if method == INVITE:
        return CALLS if not status else ANSWERS if status >= 200 else NOTHING
    if status and status < 300:
        return NOTHING
    if method == BYE or method == CANCEL:
        return ENDS
    return ANSWERS if status else CALLS if method == REFER else NOTHING


cdef bint _may_be_kept(const char *at, Py_ssize_t size) noexcept:
    """Whether no value is long, and none proves a password."""
    cdef const char *end = at + size
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


cdef bytes _trim(const char *at, Py_ssize_t size):
    """Give fields without what proves a password and what is beyond the bound of a value."""
    cdef const char *end = at + size
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
