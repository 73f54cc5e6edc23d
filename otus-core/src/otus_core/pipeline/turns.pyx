"""When components speak although no packet does: ticks on the packet clock, flows that have
ended, and the end of the source.

In: the packet clock. Out: the records of parsers and processors, on their way to the reporters. Some components tell
more at once than one slice has room for: they return iterators, which are read as far as buffers and time allow, and
packets wait meanwhile.
"""

from cpython.list cimport PyList_GET_SIZE
from libc.stdint cimport int64_t

from otus_core.model.counter_names import name_of
from otus_core.model.flows cimport FlowRegistry
from otus_core.model.record cimport Record
from otus_core.pipeline.breaker cimport is_open, monotonic
from otus_core.pipeline.buffer cimport SendBuffer
from otus_core.pipeline.outputs cimport Outputs
from otus_core.pipeline.slots cimport ParserSlot, ProcessorSlot, Slot

ROUNDS_MAX = 256
"""In which one processor routes what is open, before it finishes."""
ROUNDS_WITHIN_S = 5.0
"""As long as what a stopped source still holds is read for."""

cdef enum:
    SLICE_RECORDS = 512             # of an iterator, before reporters are served
    TURN_MAX = 1 << 24              # records of one iterator, which else might never end

cdef object _END = object()


cdef class Turns(Outputs):
    """Parsers and processors that take turns to speak; the parsers first."""

    def __init__(self, *, parsers, **rest):
        super().__init__(**rest)
        self.parsers = tuple(parsers)
        self.slots = (*self.parsers, *self.processors)
        self.tick_at = 0 if any((<Slot>slot).interval for slot in self.slots) else NEVER
        self.turn = []
        self.hearers = [slot for slot in self.parsers if (<ParserSlot>slot).announce is not None]
        self.listeners = [slot for slot in self.parsers if (<ParserSlot>slot).flow_end is not None]

    @property
    def breakers(self):
        """The circuit breakers of parsers and processors."""
        return [(<Slot>slot).breaker for slot in self.slots]

    def rounds(self, Py_ssize_t at):
        """Have one processor route what is open before it finishes: gives true for each round after which workers are
        to wait for each other.
        """
        cdef ProcessorSlot slot = <ProcessorSlot>self.processors[at]
        cdef int64_t until = monotonic() + <int64_t>(ROUNDS_WITHIN_S * 1e9)
        cdef object rest = None
        cdef int count = 0
        while slot.before_finish is not None:
            self.accounts.at[self.running] = slot.mark
            try:
                if rest is None:
                    rest = slot.before_finish(self.clock)
                    rest = iter(() if rest is None else rest)
                given = next(rest, _END)
                if given is not None and given is not _END:
                    raise TypeError(f"before_finish gave {type(given).__name__}: each yield stands for a round alone")
                if given is None and (count >= ROUNDS_MAX or monotonic() > until):
                    raise TimeoutError(f"before_finish has not ended in {ROUNDS_MAX} rounds, or {ROUNDS_WITHIN_S:g} s")
            except BaseException as error:
                self._cut_short(slot, error)
                given = _END
            self._carry(slot, monotonic())
            self.accounts.at[self.running] = 0
            if given is _END:
                return
            count += 1
            yield True

    def finish_processor(self, Py_ssize_t at):
        """Have one processor finish, when all before it have; ``carry_on`` until it gives true."""
        self._begin_finish((self.processors[at],))

    def carry_on(self, bint forced=False):
        """Take what components still have to tell, as much as one slice takes; give whether that was all.

        It waits for full buffers, unless it is ``forced``.
        """
        cdef bint told = self._carry_on(forced)
        if told:
            self._be_patient(False)
        return told

    def take_routed(self, Slot slot not None, key, message):
        """Give a component what it routed here from another worker."""
        self.accounts.at[self.running] = slot.mark
        try:
            slot.on_route(key, message)
        except BaseException as error:
            self._blame_slot(slot, error)
        self._carry(slot, monotonic())
        self.accounts.at[self.running] = 0

    cdef int _tell_news(self, FlowRegistry flows, int64_t now) except -1:
        """Tell the parsers that listen what was announced since the last call, between packets."""
        cdef ParserSlot slot
        for owner, keys, context in flows._take_news():
            for slot in self.hearers:
                self._tell(slot, slot.announce, (owner, keys, context), now)
        return 0

    cdef int _tell_ends(self, FlowRegistry flows, int64_t now) except -1:
        """Tell the parsers that listen of flows that have ended since the last call, between packets."""
        cdef ParserSlot slot
        for key, context in flows._take_ends():
            for slot in self.listeners:
                self._tell(slot, slot.flow_end, (key, context), now)
        return 0

    cdef int _tell(self, ParserSlot slot, object method, tuple what, int64_t now) except -1:
        if is_open(slot.breaker, now):
            return 0
        self.accounts.at[self.running] = slot.mark
        try:
            method(*what)
        except BaseException as error:
            self._blame_slot(slot, error)
        self._carry(slot, now)
        self.accounts.at[self.running] = 0
        return 0

    cdef int _begin_finish(self, tuple slots) except -1:
        self._be_patient(True)
        self.turn.extend(reversed([slot for slot in slots if (<Slot>slot).finish is not None]))
        self.tick_at = NEVER
        self.turn_finishes = True
        self.turn_now = self.clock
        return 0

    cdef bint _begin_ticks(self, int64_t now) except *:
        """Have the components tick whose time has come, and give whether they have told all.

        Intervals begin at multiples of themselves since 1970, so that they are the same in all workers.
        """
        cdef Slot slot
        cdef int64_t next_at = NEVER
        for one in reversed(self.slots):  # the turn is taken from its end
            slot = <Slot>one
            if slot.interval == 0:
                continue
            if now >= slot.due:
                if slot.due:
                    self.turn.append(slot)
                slot.due = (now // slot.interval + 1) * slot.interval
            next_at = min(next_at, slot.due)
        self.tick_at = next_at
        self.turn_finishes = False
        self.turn_now = now
        return self._carry_on(False)

    cdef int _be_patient(self, bint patient) except -1:
        """Have full buffers waited for, also where packets could not wait: there are none any more."""
        cdef SendBuffer buffer
        self.waits = self.waits or patient
        for buffer in self.buffers:
            buffer.patient = patient
        return 0

    cdef bint _carry_on(self, bint forced) except *:
        cdef Slot slot
        cdef int pulled = 0
        cdef int64_t now = monotonic()
        if forced:
            self._be_patient(False)
        while True:
            if self.rest is not None:
                if not forced and self._full():
                    return False
                slot = self.rest_of
                while self._pull(slot, now):
                    pulled += 1
                    if pulled >= SLICE_RECORDS or (not forced and self._full()):
                        return False
            if not PyList_GET_SIZE(self.turn):
                self.accounts.at[self.running] = 0
                return True
            if not forced and self._full():
                return False
            slot = <Slot>self.turn.pop()
            if self.turn_finishes or not is_open(slot.breaker, now):
                self._have_told(slot, slot.finish if self.turn_finishes else slot.tick, now)

    cdef int _have_told(self, Slot slot, object method, int64_t now) except -1:
        """Call a component's ``tick`` or ``finish``."""
        self.accounts.at[self.running] = slot.mark
        try:
            rest = method(self.turn_now)
            if rest is not None:
                self.rest = iter(rest)
                self.rest_of = slot
                self.rest_count = 0
        except BaseException as error:
            self._cut_short(slot, error)
        return self._carry(slot, now)

    cdef bint _pull(self, Slot slot, int64_t now) except *:
        """Take one record from a component's iterator; false when there is none any more."""
        self.accounts.at[self.running] = slot.mark
        try:
            record = next(self.rest, _END)
            if record is not _END:
                slot.outbox.check(record)
                self.rest_count += 1
                if self.rest_count > TURN_MAX:
                    raise ValueError(f"more than {TURN_MAX} records from one iterator")
        except BaseException as error:
            self._cut_short(slot, error)
            record = _END
        self._carry(slot, now)
        if record is _END:
            self.rest = None
            self.rest_of = None
            return False
        self._record(slot, <Record>record, now)
        return True

    cdef int _cut_short(self, Slot slot, object error) except -1:
        """Count a ``tick`` or ``finish`` that failed: nobody knows how many records it would have told."""
        self.accounts.add(name_of("cut_short", f"{slot.breaker.kind}:{slot.breaker.name}"))
        return self._blame_slot(slot, error)
