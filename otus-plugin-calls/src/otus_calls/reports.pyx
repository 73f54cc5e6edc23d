"""The records of calls: made when a call has ended, told when somebody reads them."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t

from otus_core.inline.layouts cimport Flow

from otus_core import Record

from otus_calls.kpi import counts_of
from otus_calls.names import STATES

from otus_calls.likely cimport Likely
from otus_calls.model cimport Call as CallPayload
from otus_calls.note cimport prefetch
from otus_calls.replay cimport Outcome, replay
from otus_calls.table cimport BEGINNING, Call, Table
from otus_calls.tell cimport tell_call

cdef enum:
    FETCHED = 16                # messages of a call that are fetched ahead
    SOON = 4                    # calls whose memory is fetched while others are told of
    LEGS_WAIT = 1024            # calls that are looked at before one that began earlier is told of at the end
    MESSAGE_BYTES = 400         # about what a message takes in the record that tells of it

cdef tuple _STATES = STATES
cdef tuple _FIGURES = ("attempts", "established", "effective", "ineffective")


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Telling:
    """Tells all that is known of a call, when it is called."""

    cdef Call call
    cdef Outcome outcome
    cdef object ended
    cdef Reports reports

    def __call__(self):
        return tell_call(self.call, self.outcome, self.ended, self.reports.config, self.reports.media)


@cython.final
cdef class Reports:
    """Makes records of calls, and counts them."""

    cdef object config
    cdef bint media             # streams are being followed, so that missing ones mean something
    cdef tuple counted          # by state
    cdef dict figures           # counters of RFC 6076, by name
    cdef dict kinds             # of those, the ones that calls of a kind count in
    cdef object messages_cut
    cdef object add_figures

    def __init__(self, config):
        self.config = config
        self.kinds = {}

    def wire(self, context, add_figures):
        """Take the counters. ``add_figures`` is told what became of each call, unless it is ``None``."""
        self.media = "stream" in context.call_labels
        self.counted = tuple([context.counter(f"calls_{state}") for state in _STATES])
        self.figures = {name: context.counter(name) for name in _FIGURES}
        self.messages_cut = context.counter("messages_cut")
        self.add_figures = add_figures

    cpdef object report(self, Call call, int64_t now, str ended):
        """Give the record of a call that is followed no more; ``ended`` says why, empty for its own end."""
        cdef Outcome outcome = replay(call, now)
        self.counted[outcome.state_number]()
        if call.cut:
            self.messages_cut(call.cut)
        for counter in self._figures_of(outcome):
            counter()
        if self.add_figures is not None:
            self.add_figures(outcome)
        return _record(self._payload(call, outcome, ended or _why_ended(outcome.state)), call, outcome)

    def ended(self, list calls not None, int64_t now, Table table not None):
        """Give the records of calls that end now, and take them out of the table."""
        cdef Call call
        for call in calls:
            table.remove(call)
            yield self.report(call, now, "")

    def finish(self, list calls not None, int64_t now, Table table not None, Likely likely, compare):
        """Do the same with all calls when the source has ended, in the order of their beginning.

        Legs begin one after the other, so a call is told of when many that began later have been looked at. ``likely``
        is shown those that it has not seen the end of, unless it is ``None``; ``compare`` takes the number of a call
        and those of the calls that may be its legs.
        """
        cdef Call call
        cdef Py_ssize_t i
        cdef Py_ssize_t count = len(calls)
        calls.sort(key=BEGINNING)
        for i in range(count + LEGS_WAIT):
            if i < count and likely is not None:
                call = <Call>calls[i]
                if not call.settled or call.streams:
                    others = likely.show(call)
                    if others:
                        compare(call.number, others)
            if LEGS_WAIT <= i < count + LEGS_WAIT:
                if i + SOON < count + LEGS_WAIT:
                    _fetch(<Call>calls[i + SOON - LEGS_WAIT])
                call = <Call>calls[i - LEGS_WAIT]
                calls[i - LEGS_WAIT] = None
                table.remove(call)
                yield self.report(call, now, "finish")

    def interim(self, Call call not None, int64_t now):
        """Give the record of a call that is under way. It tells of the call as it is now."""
        cdef Outcome outcome = replay(call, now)
        cdef CallPayload payload = self._payload(call, outcome, None)
        payload.few()           # put together now: the call goes on
        return _record(payload, call, outcome)

    cdef CallPayload _payload(self, Call call, Outcome outcome, object ended):
        cdef Telling telling = Telling.__new__(Telling)
        telling.call = call
        telling.outcome = outcome
        telling.ended = ended
        telling.reports = self
        cdef CallPayload payload = CallPayload.__new__(CallPayload)
        payload.told = telling
        return payload

    cdef tuple _figures_of(self, Outcome outcome):
        """Give the counters that calls count in of which the same became."""
        cdef int kind = (outcome.final_status << 8) | (outcome.state_number << 2)
        kind |= (outcome.partial << 1) | (outcome.answer > 0)
        found = self.kinds.get(kind)
        if found is None:
            added = counts_of(outcome)
            found = self.kinds[kind] = tuple([self.figures[name] for name in _FIGURES if added.get(name)])
        return <tuple>found


cdef inline void _fetch(Call call) noexcept:
    """Have the memory fetched of a call that is soon told of: it may have been silent for long."""
    cdef uint32_t i
    prefetch(&call.age)
    for i in range(min(call.count, FETCHED)):
        prefetch(call.notes[i])


cdef object _record(object payload, Call call, Outcome outcome):
    return Record(
        "call",
        payload,
        outcome.last,
        labels=payload,
        key=call.name[:call.id_size].decode("utf-8", "replace"),
        flow=PyBytes_FromStringAndSize(<const char *>&outcome.first_note().flow, sizeof(Flow)),
        size=MESSAGE_BYTES * (call.count + 4),
    )


cdef str _why_ended(str state):
    """Say why a call that is waited for no more is over."""
    if state == "completed":
        return "bye"
    if state in ("trying", "ringing", "early_media", "no_reply"):
        return "timeout"
    return "lost" if state in ("in_call", "lost") else "final"
