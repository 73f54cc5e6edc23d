"""The steps taken for each packet, as one chain of calls: decode, parse, process, hand to the send buffers.

In: a ``FrameBatch``. Out: outputs in the reporters' ``SendBuffer``s and counters in ``Accounts``. Nothing is raised for
a packet: what a component raises is counted against it and costs that packet alone. ``_end`` ends a unit, and nothing
else does.
"""

cimport cython
from cpython.list cimport PyList_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t

from otus_core.decode.decoder cimport Decoder
from otus_core.model.accounts cimport Accounts
from otus_core.model.flows cimport FlowRegistry
from otus_core.model.frames cimport FrameBatch, FrameRecord
from otus_core.model.output cimport OutputPacket, Parsed, make_output
from otus_core.model.packet cimport DecodedPacket
from otus_core.pipeline.breaker cimport Breaker, is_open, monotonic
from otus_core.pipeline.buffer cimport SendBuffer
from otus_core.pipeline.ends cimport FlowEnds

from otus_core.components import BaseParser
from otus_core.errors import ParseError
from otus_core.pipeline.counters import LATENCY_BOUNDS_S

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object)

cdef enum:
    TRANSPORT_UDP = 1
    TRANSPORT_TCP = 2
    TRANSPORT_ICMP = 4
    TRANSPORT_OTHER = 8
    CLOCK_CHECK_MASK = 31           # look at the clock every 32 frames
    MESSAGES_MAX = 4096             # of one packet; 64 KiB hold fewer real ones

cdef int64_t SECOND = 1_000_000_000
# A live clock does not believe a packet that claims to be more than an hour ahead.
cdef int64_t JUMP_MAX = 3600 * SECOND

TRANSPORTS = {"udp": TRANSPORT_UDP, "tcp": TRANSPORT_TCP, "icmp": TRANSPORT_ICMP,
              "other": TRANSPORT_ICMP | TRANSPORT_OTHER}


@cython.final
cdef class ParserSlot:
    """A parser as the loop calls it: by ``take`` where it has one of its own, else by ``can_handle`` and ``handle``."""

    cdef readonly Breaker breaker
    cdef object take
    cdef object can_handle
    cdef object handle
    cdef object flow_end
    cdef object payload_type
    cdef object payload_types
    cdef int transports
    cdef int ignored
    cdef int parse_error
    cdef int mark

    def __init__(self, Accounts accounts not None, str name not None, component, payload_types, transports, int mark):
        self.breaker = Breaker("parser", name, accounts.slot(f"errors{{parser:{name}}}"))
        if getattr(type(component), "take", BaseParser.take) is not BaseParser.take:
            self.take = component.take
        else:  # what the base class does with these two takes a Python call more
            self.can_handle = component.can_handle
            self.handle = component.handle
        if getattr(type(component), "on_flow_end", BaseParser.on_flow_end) is not BaseParser.on_flow_end:
            self.flow_end = component.on_flow_end
        self.payload_type = payload_types[0]
        self.payload_types = frozenset(payload_types)
        for transport in transports:
            self.transports |= TRANSPORTS[transport]
        self.ignored = accounts.slot(f"dropped{{ignored:{name}}}")
        self.parse_error = accounts.slot(f"dropped{{parse_error:{name}}}")
        self.mark = mark


@cython.final
cdef class ProcessorSlot:
    """A processor as the loop calls it; with ``passes`` an output survives its errors."""

    cdef readonly Breaker breaker
    cdef object process
    cdef bint passes
    cdef int filtered
    cdef int error
    cdef int circuit_open
    cdef int mark

    def __init__(self, Accounts accounts not None, str name not None, component, bint passes, int mark):
        self.breaker = Breaker("processor", name, accounts.slot(f"errors{{processor:{name}}}"))
        self.process = component.process
        self.passes = passes
        self.filtered = accounts.slot(f"dropped{{filtered:{name}}}")
        self.error = accounts.slot(f"dropped{{processor_error:{name}}}")
        self.circuit_open = accounts.slot(f"dropped{{circuit_open:{name}}}")
        self.mark = mark


@cython.final
cdef class Pipeline:
    """One worker's packet path.

    ``on_error(kind, name, exception)`` hears of what components raise; it limits the rate itself.
    """

    cdef Accounts accounts
    cdef Decoder decoder
    cdef FlowRegistry flows
    cdef FlowEnds ends
    cdef tuple parsers
    cdef tuple processors
    cdef tuple buffers
    cdef object task_id
    cdef object agent_id
    cdef object pipeline_id
    cdef object on_error
    cdef bint forward_unmatched
    cdef bint live
    cdef bint waits
    cdef readonly int64_t clock
    cdef int64_t clock_seen
    cdef DecodedPacket spare
    cdef int frames_read, messages_added, units, matched, kept, unmatched, running, latency, latency_sum

    def __init__(self, *, Accounts accounts not None, Decoder decoder not None, FlowRegistry flows not None, parsers,
                 processors, buffers,
                 str task_id, str agent_id, int pipeline_id, on_error, bint forward_unmatched=False, bint live=False):
        self.accounts = accounts
        self.decoder = decoder
        self.flows = flows
        self.clock_seen = -SECOND
        self.parsers = tuple(parsers)
        self.processors = tuple(processors)
        self.buffers = tuple(buffers)
        self.task_id = task_id
        self.agent_id = agent_id
        self.pipeline_id = pipeline_id
        self.on_error = on_error
        self.forward_unmatched = forward_unmatched
        self.live = live
        self.waits = not live
        self.frames_read = accounts.slot("frames_read")
        self.messages_added = accounts.slot("messages_added")
        self.units = accounts.slot("units")
        self.matched = accounts.slot("matched")
        self.kept = accounts.slot("kept")
        self.unmatched = accounts.slot("dropped{unmatched}")
        self.running = accounts.slot("running")
        self.ends = FlowEnds(accounts, flows, [((<ParserSlot>slot).flow_end, (<ParserSlot>slot).breaker,
                                                (<ParserSlot>slot).mark) for slot in self.parsers], on_error)
        self.latency = accounts.slot("latency_bucket{0}")
        self.latency_sum = accounts.slot("latency_sum_ns")

    @property
    def breakers(self):
        """The circuit breakers of parsers and processors."""
        return [slot.breaker for slot in (*self.parsers, *self.processors)]

    @property
    def full(self):
        """Whether a reporter's buffer holds up the source; never on a live one."""
        return self._full()

    def process(self, FrameBatch batch not None, Py_ssize_t start, Py_ssize_t most, int64_t slice_ns):
        """Take frames of ``batch`` from index ``start`` on, ``most`` at most and for about ``slice_ns``; give the index
        to go on from.

        It stops early when a source that can wait should. Packets that somebody kept no longer point into the batch
        afterwards.
        """
        cdef Py_ssize_t i = start
        cdef Py_ssize_t end = min(batch.count, start + most)
        cdef int64_t begun = monotonic()
        cdef int64_t now = begun
        cdef const FrameRecord *record
        cdef DecodedPacket packet = self.spare
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
                i += 1
                self.accounts.at[self.frames_read] += 1
                packet.at.timestamp = record.timestamp
                packet.at.capture_len = record.capture_len
                packet.at.orig_len = record.orig_len
                packet.at.interface_index = record.interface_index
                packet.at.link_type = record.link_type
                self._tick(record.timestamp)
                if self.flows.ends is not None and PyList_GET_SIZE(self.flows.ends):
                    self.ends.tell(now)
                if not self.decoder.decode(batch.data + record.offset, &packet.at):
                    continue
                packet.renew(batch, batch.data + record.offset,
                             self.decoder.datagram if packet.at.reassembled else None)
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
        """Move the packet clock (ns) on a source that is idle."""
        if now > self.clock:
            self.clock = now
            self.decoder.advance(now)
            self.flows.advance(now)
            self.ends.tell(monotonic())

    def finish(self):
        """The capture has ended: what the decoder still holds is counted."""
        self.decoder.finish()

    cdef inline bint _full(self) noexcept:
        cdef Py_ssize_t i
        cdef SendBuffer buffer
        if not self.waits:
            return False
        for i in range(len(self.buffers)):
            buffer = <SendBuffer>self.buffers[i]
            if buffer.count >= buffer.capacity or buffer.bytes_held >= buffer.max_bytes:
                return True
        return False

    cdef inline int _tick(self, int64_t timestamp) except -1:
        """Advance the clock to the highest packet time: that of flows with each packet, from the first one on."""
        if timestamp > self.clock:
            if self.live and self.clock and timestamp - self.clock > JUMP_MAX:
                return 0
            self.clock = timestamp
            if timestamp - SECOND // 8 > self.clock_seen:
                self.clock_seen = timestamp
                self.decoder.advance(timestamp)
                self.flows.advance(timestamp)
            else:
                self.flows.now = timestamp
        return 0

    cdef int _unit(self, DecodedPacket packet, int64_t now) except -1:
        """Find the parser that owns the packet and carry what it says onwards."""
        cdef ParserSlot slot
        cdef int transport = TRANSPORT_OTHER
        cdef Py_ssize_t i
        if packet.at.transport == 17:
            transport = TRANSPORT_UDP
        elif packet.at.transport == 6:
            transport = TRANSPORT_TCP
        elif packet.at.protocol == 1 or packet.at.protocol == 58:   # ICMP, ICMPv6
            transport = TRANSPORT_ICMP
        for i in range(len(self.parsers)):
            slot = <ParserSlot>self.parsers[i]
            if not slot.transports & transport or is_open(slot.breaker, now):
                continue
            self.accounts.at[self.running] = slot.mark
            try:
                if slot.take is not None:
                    result = slot.take(packet)
                    if result is None:
                        continue
                elif not slot.can_handle(packet):
                    continue
                else:
                    result = slot.handle(packet)
            except ParseError:
                slot.breaker.failures = 0
                return self._end(slot.parse_error, False)
            except BaseException as error:
                return self._parser_failed(slot, error, now)
            if type(result) is Parsed:
                return self._message(packet, slot, <Parsed>result, now)
            return self._messages(packet, slot, result, now)
        self.decoder.overlook(&packet.at)
        if not self.forward_unmatched:
            return self._end(self.unmatched, False)
        return self._offer(make_output(packet, self.task_id, self.agent_id, self.pipeline_id, {}, "raw", None,
                                       packet.payload), now)

    cdef int _parser_failed(self, ParserSlot slot, object error, int64_t now) except -1:
        self.accounts.at[slot.breaker.errors] += 1
        slot.breaker.failed(now)
        self._end(slot.parse_error, False)
        self.on_error("parser", slot.breaker.name, error)
        return 0

    cdef int _messages(self, DecodedPacket packet, ParserSlot slot, object result, int64_t now) except -1:
        """Carry on a list of messages, with a ParseError for each that could not be read; an empty one means that there
        is nothing to report.
        """
        cdef Py_ssize_t i
        if type(result) is not list and type(result) is not tuple:
            fault = TypeError(f"the parser gave {type(result).__name__}, not Parsed or a list of Parsed")
            return self._parser_failed(slot, fault, now)
        if len(result) == 0:
            slot.breaker.failures = 0
            return self._end(slot.ignored, False)
        if len(result) > MESSAGES_MAX:
            return self._parser_failed(slot, ValueError(f"more than {MESSAGES_MAX} messages in one packet"), now)
        for i in range(len(result)):
            message = result[i]
            if i:
                self.accounts.at[self.messages_added] += 1
            if type(message) is Parsed:
                self._message(packet, slot, <Parsed>message, now)
            elif isinstance(message, ParseError):
                self._end(slot.parse_error, False)
            else:
                self._parser_failed(slot, TypeError(f"the parser gave a list with {type(message).__name__} in it"), now)
        return 0

    cdef int _message(self, DecodedPacket packet, ParserSlot slot, Parsed parsed, int64_t now) except -1:
        """Make the output of one message, if what the parser returned is sound."""
        payload_type = parsed.payload_type
        raw = parsed.raw
        if payload_type is None:
            payload_type = slot.payload_type
        elif type(payload_type) is not str or payload_type not in slot.payload_types:
            return self._parser_failed(slot, ValueError("the parser gave a payload type that it does not declare"), now)
        if raw is None:
            raw = packet.payload
        elif type(raw) is not bytes:
            return self._parser_failed(slot, TypeError(f"raw is {type(raw).__name__}, not bytes"), now)
        slot.breaker.failures = 0
        return self._offer(
            make_output(packet, self.task_id, self.agent_id, self.pipeline_id, parsed.named, payload_type,
                        parsed.payload, <bytes>raw), now)

    cdef int _offer(self, OutputPacket output, int64_t now) except -1:
        """Take an output through the processors to every reporter's buffer."""
        cdef ProcessorSlot slot
        cdef Py_ssize_t i
        for i in range(len(self.processors)):
            slot = <ProcessorSlot>self.processors[i]
            if is_open(slot.breaker, now):
                if slot.passes:
                    continue
                return self._end(slot.circuit_open, True)
            self.accounts.at[self.running] = slot.mark
            try:
                if not slot.process(output):
                    slot.breaker.failures = 0
                    return self._end(slot.filtered, True)
                slot.breaker.failures = 0
            except BaseException as error:
                self.accounts.at[slot.breaker.errors] += 1
                slot.breaker.failed(now)
                if not slot.passes:
                    self._end(slot.error, True)
                self.on_error("processor", slot.breaker.name, error)
                if not slot.passes:
                    return 0
        self._end(self.kept, True)
        for i in range(len(self.buffers)):
            (<SendBuffer>self.buffers[i]).put(output)
        return 0

    cdef inline int _end(self, int outcome, bint matched) noexcept:
        """End a unit in exactly one counter."""
        self.accounts.at[self.units] += 1
        if matched:
            self.accounts.at[self.matched] += 1
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
