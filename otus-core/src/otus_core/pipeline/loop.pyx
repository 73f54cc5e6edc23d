"""The steps taken for each packet, as one chain of calls: decode, parse, process, hand to the send buffers.

In: a ``FrameBatch``. Out: outputs in the reporters' ``SendBuffer``s and counters in ``Accounts``. Nothing is raised for
a packet: what a component raises is counted against it and costs that packet alone. ``_end`` ends a unit, and nothing
else does.
"""

cimport cython
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t

from otus_core.model.counter_names import name_of
from otus_core.decode.decoder cimport Decoder
from otus_core.model.flows cimport FlowRegistry
from otus_core.model.frames cimport FrameBatch, FrameRecord
from otus_core.model.output cimport Parsed, make_output
from otus_core.model.packet cimport OWN_MEMORY, DecodedPacket
from otus_core.pipeline.breaker cimport is_open, monotonic
from otus_core.pipeline.slots cimport (
    TRANSPORT_ICMP, TRANSPORT_OTHER, TRANSPORT_STREAM, TRANSPORT_TCP, TRANSPORT_UDP, ParserSlot, call, call_in_two,
    take_error,
)
from otus_core.pipeline.turns cimport Turns
from otus_core.stream.streams cimport MESSAGE, TAKEN, Streams

from otus_core.components import CONSUMED
from otus_core.errors import ParseError
from otus_core.pipeline.counters import LATENCY_BOUNDS_S

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object)

cdef enum:
    CLOCK_CHECK_MASK = 31           # look at the clock every 32 frames
    MESSAGES_MAX = 4096             # of one packet; 64 KiB hold fewer real ones

cdef int64_t SECOND = 1_000_000_000
# A live clock does not believe a packet that claims to be more than an hour ahead.
cdef int64_t JUMP_MAX = 3600 * SECOND

cdef object _CONSUMED = CONSUMED


def _ignore(parser, error, packet):
    """Hear nothing of ParseErrors."""


@cython.final
cdef class Pipeline(Turns):
    """One worker's packet path.

    ``on_refused(parser, error, packet)`` hears of each ParseError.
    """

    cdef Decoder decoder
    cdef FlowRegistry flows
    cdef Streams streams            # None where no parser has any
    cdef tuple framed               # the parsers that have streams
    cdef int wrappers               # framers before theirs: of packets that hold messages, which are HEP's
    cdef bint forward_unmatched, live
    cdef int64_t clock_seen
    cdef DecodedPacket spare
    cdef object on_refused
    cdef int frames_read, messages_added, unmatched, latency, latency_sum

    def __init__(self, *, accounts, Decoder decoder not None, FlowRegistry flows not None, Streams streams=None,
                 bint forward_unmatched=False, bint live=False, on_refused=_ignore, **rest):
        super().__init__(accounts=accounts, waits=not live, **rest)
        self.decoder = decoder
        self.on_refused = on_refused
        self.flows = flows
        self.streams = streams
        self._join_streams()
        if self.listeners:
            flows._take_ends()       # from now on they are kept
        if self.hearers:
            flows._take_news()
        self.clock_seen = -SECOND
        self.forward_unmatched = forward_unmatched
        self.live = live
        self.frames_read = self.accounts.slot("frames_read")
        self.messages_added = self.accounts.slot("messages_added")
        self.unmatched = self.accounts.slot(name_of("dropped", "unmatched"))
        self.latency = self.accounts.slot(name_of("latency_bucket", "0"))
        self.latency_sum = self.accounts.slot("latency_sum_ns")

    def process(self, FrameBatch batch not None, Py_ssize_t start, Py_ssize_t most, int64_t slice_ns):
        """Take frames of ``batch`` from index ``start`` on, ``most`` at most and for about ``slice_ns``; give the index
        to go on from.

        It stops early when a source that can wait should, and while components have more to tell at this time than one
        slice takes. Packets that somebody kept no longer point into the batch afterwards.
        """
        cdef Py_ssize_t i = start
        cdef Py_ssize_t end = min(batch.count, start + most)
        cdef int64_t begun = monotonic()
        cdef int64_t now = begun
        cdef const FrameRecord *record
        cdef DecodedPacket packet = self.spare
        if self._turning() and not self._carry_on(False):
            return start
        self.spare = None
        if packet is None:
            packet = DecodedPacket.__new__(DecodedPacket)
        try:
            while i < end:
                if self.waits and self._full():
                    break
                if i & CLOCK_CHECK_MASK == 0:
                    now = monotonic()
                    if now - begun > slice_ns and i > start:
                        break
                record = &batch.records[i]
                if record.timestamp >= self.tick_at and not self._tick_all(record.timestamp):
                    break
                i += 1
                self.accounts.at[self.frames_read] += 1
                packet.at.timestamp = record.timestamp
                packet.at.capture_len = record.capture_len
                packet.at.orig_len = record.orig_len
                packet.at.interface_index = record.interface_index
                packet.at.link_type = record.link_type
                packet.at.metadata = record.metadata
                self._tick(record.timestamp)
                self._tell_flows(self.flows, now)
                if not self.decoder.decode(batch.data + record.offset, &packet.at):
                    continue
                packet.renew(batch, batch.data + record.offset,
                             self.decoder.datagram if packet.at.reassembled & OWN_MEMORY else None)
                self._unit(packet, now)
                if Py_REFCNT(packet) > 1:
                    packet.detach()
                    packet = DecodedPacket.__new__(DecodedPacket)
        finally:
            packet.renew(None, NULL, None)
            self.spare = packet
            self.accounts.at[self.running] = 0
        self._sample(i - start, monotonic() - begun)
        return i

    def advance(self, int64_t now):
        """Move the packet clock (ns) on a source that is idle; ``carry_on`` while this gives false."""
        if self._turning():
            return self._carry_on(False)
        if now > self.clock:
            self.clock = now
            self.decoder.advance(now)
            self.flows._move_clock(now)
            if self.streams is not None:
                self.streams.advance(now)
                self._carry_ready(monotonic())
            self._tell_flows(self.flows, monotonic())
            if now >= self.tick_at:
                return self._begin_ticks(now)
        return True

    def finish(self):
        """The capture has ended: what is still held is given where it can be, and counted, and the parsers begin to
        finish.

        ``carry_on`` until it gives true.
        """
        self.decoder.finish()
        if self.streams is not None:
            self.streams.finish()
            self._carry_ready(monotonic())
        self._tell_flows(self.flows, monotonic())
        self._begin_finish(self.parsers)

    cdef bint _tick_all(self, int64_t now) except *:
        """Have components tick at a packet's time, and give whether they have told all."""
        if self.live and self.clock and now - self.clock > JUMP_MAX:
            return True
        self._tick(now)
        self._tell_flows(self.flows, monotonic())   # what ended in the gap before: a tick may act on it
        return self._begin_ticks(now)

    cdef inline int _tick(self, int64_t timestamp) except -1:
        """Advance the clock to the highest packet time: that of flows with each packet, from the first one on."""
        if timestamp > self.clock:
            if self.live and self.clock and timestamp - self.clock > JUMP_MAX:
                return 0
            self.clock = timestamp
            if timestamp - SECOND // 8 > self.clock_seen:
                self.clock_seen = timestamp
                self.decoder.advance(timestamp)
                self.flows._move_clock(timestamp)
                if self.streams is not None:
                    self.streams.advance(timestamp)
                    self._carry_ready(monotonic())
            else:
                self.flows.now = timestamp
        return 0

    cdef int _unit(self, DecodedPacket packet, int64_t now) except -1:
        """Ask the parsers about a packet, or put it into its stream."""
        if packet.at.transport == 17:
            return self._ask(packet, TRANSPORT_UDP, self.parsers, now)
        if packet.at.transport == 6:
            if packet.at.reassembled & 2:       # whoever captured it has put it together
                return self._ask(packet, TRANSPORT_TCP | TRANSPORT_STREAM, self.parsers, now)
            if self.streams is not None:
                return self._segment(packet, now)
            return self._ask(packet, TRANSPORT_TCP, self.parsers, now)
        if packet.at.protocol == 1 or packet.at.protocol == 58:     # ICMP, ICMPv6
            return self._ask(packet, TRANSPORT_ICMP, self.parsers, now)
        return self._ask(packet, TRANSPORT_OTHER, self.parsers, now)

    cdef int _join_streams(self) except -1:
        """Note which parsers have streams, and who else is asked about their messages."""
        cdef ParserSlot slot
        self.framed = tuple([slot for slot in self.parsers if slot.framer is not None])
        self.wrappers = 0 if self.streams is None else len(self.streams.framers) - len(self.framed)
        others = tuple([slot for slot in self.parsers if slot.framer is None])
        for slot in self.framed:
            slot.asked = (slot, *others)
        return 0

    cdef int _segment(self, DecodedPacket packet, int64_t now) except -1:
        """Put a segment of TCP into its stream, and carry on the messages that it makes whole."""
        cdef ParserSlot slot
        cdef int verdict
        for slot in self.framed:
            slot.framer.off = is_open(slot.breaker, now)
        verdict = self.streams.add(packet)
        if verdict != TAKEN:
            self._whose(packet, self.streams.owner if verdict == MESSAGE else -1, now)
        return self._carry_ready(now)

    cdef int _whose(self, DecodedPacket packet, int owner, int64_t now) except -1:
        """Carry on a message of a stream, or the message that is in it; without an owner it is a segment."""
        cdef ParserSlot slot
        if owner >= self.wrappers:
            slot = <ParserSlot>self.framed[owner - self.wrappers]
            return self._ask(packet, TRANSPORT_TCP | TRANSPORT_STREAM, slot.asked, now)
        if owner >= 0 and self.decoder.unwrap(packet):
            return self._unit(packet, now)
        return self._ask(packet, TRANSPORT_TCP, self.parsers, now)

    cdef int _carry_ready(self, int64_t now) except -1:
        """Carry on what streams have ready, and book what their framers raised."""
        cdef ParserSlot slot
        cdef DecodedPacket packet
        cdef list ready
        cdef Py_ssize_t i
        for i in range(len(self.framed)):
            slot = <ParserSlot>self.framed[i]
            if slot.framer.error is not None:
                error, slot.framer.error = slot.framer.error, None
                self._blame_slot(slot, error)
        if PyList_GET_SIZE(self.streams.ready) == 0:
            return 0
        ready, self.streams.ready = self.streams.ready, []
        for i in range(len(ready)):
            packet = <DecodedPacket>ready[i]
            ready[i] = None
            self._whose(packet, packet.claimed, now)
            if Py_REFCNT(packet) > 1:
                packet.detach()
        return 0

    cdef int _ask(self, DecodedPacket packet, int transport, tuple parsers, int64_t now) except -1:
        """Find the parser that owns the packet and carry what it says onwards."""
        cdef ParserSlot slot
        cdef Py_ssize_t i
        cdef PyObject *answer
        cdef bint asks
        cdef bint passes
        for i in range(len(parsers)):
            slot = <ParserSlot>parsers[i]
            if not slot.transports & transport or is_open(slot.breaker, now):
                continue
            self.accounts.at[self.running] = slot.mark
            asks = passes = False
            if slot.take is not None:
                answer = call(slot.take, packet)
                passes = answer == <PyObject *>None
            else:
                answer = call_in_two(slot, packet, &asks, &passes)
            if answer == NULL:
                if self._has_raised(packet, slot, asks, now):
                    continue
                return 0
            result = <object>answer
            Py_DECREF(result)
            if PyList_GET_SIZE(slot.outbox.waiting):
                self._carry(slot, now)
            if passes:
                continue
            if type(result) is Parsed:
                return self._message(packet, slot, <Parsed>result, now)
            if result is _CONSUMED:
                slot.breaker.failures = 0
                return self._end(slot.consumed)
            return self._messages(packet, slot, result, now)
        self.decoder.overlook(&packet.at)
        if not self.forward_unmatched:
            return self._end(self.unmatched)
        return self._offer(make_output(packet, self.task_id, self.agent_id, self.pipeline_id, {}, "raw", None,
                                       packet.payload), now, 0, self.matched)

    cdef bint _has_raised(self, DecodedPacket packet, ParserSlot slot, bint asks, int64_t now) except *:
        """Count what a parser has just raised; give whether the packet may be another parser's: this one was only asked
        whose it is.
        """
        error = take_error()
        self._carry(slot, now)
        if asks:
            self._blame_slot(slot, error)
        elif isinstance(error, ParseError):
            self._refuse(packet, slot, error)
        else:
            self._blame_parser(slot, error, now)
        return asks

    cdef int _blame_parser(self, ParserSlot slot, object error, int64_t now) except -1:
        self.accounts.at[slot.breaker.errors] += 1
        self.accounts.at[slot.fault] += 1
        slot.breaker.note_failure(now)
        self._end(slot.parse_error)
        self.on_error("parser", slot.breaker.name, error)
        return 0

    cdef int _refuse(self, DecodedPacket packet, ParserSlot slot, object error) except -1:
        """End a packet, or a message, that its parser cannot read, and count it by its reason."""
        slot.breaker.failures = 0
        try:
            at = slot.reasons.get(error.reason, slot.other)
        except BaseException:       # a reason of its own making
            at = slot.other
        self.accounts.at[<int>at] += 1
        self.on_refused(slot.breaker.name, error, packet)
        return self._end(slot.parse_error)

    cdef int _messages(self, DecodedPacket packet, ParserSlot slot, object result, int64_t now) except -1:
        """Carry on a list of messages, with a ParseError for each that could not be read; an empty one means that there
        is nothing to report.
        """
        cdef Py_ssize_t i
        if type(result) is not list and type(result) is not tuple:
            fault = TypeError(f"the parser gave {type(result).__name__}, not Parsed or a list of Parsed")
            return self._blame_parser(slot, fault, now)
        if len(result) == 0:
            slot.breaker.failures = 0
            return self._end(slot.ignored)
        if len(result) > MESSAGES_MAX:
            return self._blame_parser(slot, ValueError(f"more than {MESSAGES_MAX} messages in one packet"), now)
        for i in range(len(result)):
            message = result[i]
            if i:
                self.accounts.at[self.messages_added] += 1
            if type(message) is Parsed:
                self._message(packet, slot, <Parsed>message, now)
            elif isinstance(message, ParseError):
                self._refuse(packet, slot, message)
            else:
                self._blame_parser(slot, TypeError(f"the parser gave a list with {type(message).__name__} in it"), now)
        return 0

    cdef int _message(self, DecodedPacket packet, ParserSlot slot, Parsed parsed, int64_t now) except -1:
        """Make the output of one message, if what the parser returned is sound."""
        payload_type = parsed.payload_type
        raw = parsed.raw
        if payload_type is None:
            payload_type = slot.payload_type
        elif type(payload_type) is not str or payload_type not in slot.payload_types:
            return self._blame_parser(slot, ValueError("the parser gave a payload type that it does not declare"), now)
        if raw is None:
            raw = packet.payload
        elif type(raw) is not bytes:
            return self._blame_parser(slot, TypeError(f"raw is {type(raw).__name__}, not bytes"), now)
        slot.breaker.failures = 0
        return self._offer(
            make_output(packet, self.task_id, self.agent_id, self.pipeline_id, parsed.named, payload_type,
                        parsed.payload, <bytes>raw), now, 0, self.matched)

    cdef inline int _end(self, int outcome) noexcept:
        """End a unit that no output was made of in exactly one counter."""
        self.accounts.at[self.units] += 1
        self.accounts.at[outcome] += 1
        return 0

    cdef void _sample(self, Py_ssize_t frames, int64_t took) noexcept:
        """Put a slice's mean time per packet into the latency histogram."""
        cdef double each
        cdef int bucket = 0
        if frames <= 0:
            return
        each = <double>took / 1e9 / frames
        while bucket < len(_bounds) and each > _bounds[bucket]:
            bucket += 1
        self.accounts.at[self.latency + bucket] += frames
        self.accounts.at[self.latency_sum] += took


cdef tuple _bounds = LATENCY_BOUNDS_S
