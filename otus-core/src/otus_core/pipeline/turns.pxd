from cpython.list cimport PyList_GET_SIZE
from libc.stdint cimport int64_t

from otus_core.model.flows cimport FlowRegistry
from otus_core.pipeline.outputs cimport Outputs
from otus_core.pipeline.slots cimport ParserSlot, Slot

cdef enum:
    NEVER = 0x7FFFFFFFFFFFFFFF


cdef class Turns(Outputs):
    cdef readonly tuple parsers
    cdef tuple slots
    cdef readonly int64_t clock     # the highest packet time
    cdef int64_t tick_at            # packet time of the next tick of any component
    cdef list hearers               # parsers that want to hear what is announced
    cdef list listeners             # parsers that want to hear of flows that have ended
    cdef list turn                  # components that are to tick or to finish, the last one first
    cdef bint turn_finishes
    cdef int64_t turn_now
    cdef object rest                # the iterator that is being read, and whose it is
    cdef Slot rest_of
    cdef int64_t rest_count

    cdef inline bint _turning(self) noexcept:
        return self.rest is not None or PyList_GET_SIZE(self.turn) > 0

    cdef inline int _tell_flows(self, FlowRegistry flows, int64_t now) except -1:
        # Between packets: what was announced and what has ended since the last call
        if flows.news is not None and PyList_GET_SIZE(flows.news):
            self._tell_news(flows, now)
        if flows.ends is not None and PyList_GET_SIZE(flows.ends):
            self._tell_ends(flows, now)
        return 0

    cdef int _tell_news(self, FlowRegistry flows, int64_t now) except -1
    cdef int _tell(self, ParserSlot slot, object method, tuple what, int64_t now) except -1
    cdef int _tell_ends(self, FlowRegistry flows, int64_t now) except -1
    cdef int _begin_finish(self, tuple slots) except -1
    cdef int _be_patient(self, bint patient) except -1
    cdef bint _begin_ticks(self, int64_t now) except *
    cdef bint _carry_on(self, bint forced) except *
    cdef int _have_told(self, Slot slot, object method, int64_t now) except -1
    cdef bint _pull(self, Slot slot, int64_t now) except *
    cdef int _cut_short(self, Slot slot, object error) except -1
