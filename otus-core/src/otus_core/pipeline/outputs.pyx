"""The way of an output: through the processors that it concerns, to every reporter's buffer.

In: an ``OutputPacket``, of a message or a record. Out: the same in ``SendBuffer``s, and one counter that tells where it
ended. Nothing is raised for an output: what a processor raises is counted against it.
"""

from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t

from otus_core.model.output cimport OutputPacket
from otus_core.model.record cimport Record, make_record_output
from otus_core.pipeline.breaker cimport is_open, monotonic
from otus_core.pipeline.buffer cimport SendBuffer
from otus_core.pipeline.slots cimport ProcessorSlot, Slot, call, take_error, truth_of

from otus_core.components import CONSUMED

cdef enum:
    _TAKEN_IN = 2       # beside 1, it stays, and 0, it is dropped

cdef object _CONSUMED = CONSUMED


cdef class Outputs:
    """Processors and buffers of one worker.

    ``tap`` is called with each output that goes to the reporters, ``None`` while nobody looks in.
    ``on_error(kind, name, exception)`` hears of what components raise; it limits the rate itself. ``waits``: the source
    can wait for full buffers.
    """

    def __init__(self, *, Accounts accounts not None, processors, buffers, str task_id, str agent_id, int pipeline_id,
                 on_error, bint waits):
        self.accounts = accounts
        self.processors = tuple(processors)
        self.buffers = tuple(buffers)
        self.task_id = task_id
        self.agent_id = agent_id
        self.pipeline_id = pipeline_id
        self.on_error = on_error
        self.waits = waits
        self.tap = None
        self.units = accounts.slot("units")
        self.matched = accounts.slot("matched")
        self.kept = accounts.slot("kept")
        self.running = accounts.slot("running")

    @property
    def full(self):
        """Whether a reporter's buffer holds up the source; of a live one, what is told at its end."""
        return self._full()

    cdef int _offer(self, OutputPacket output, int64_t now, Py_ssize_t first, int source) except -1:
        """Take an output through the processors, from the ``first`` on, to every reporter's buffer.

        ``source`` is the counter that it counts in beside the one where it ends: that of matched units, or that of its
        component's records.
        """
        cdef ProcessorSlot slot
        cdef Py_ssize_t i
        cdef PyObject *answer
        cdef int stays
        for i in range(first, len(self.processors)):
            slot = <ProcessorSlot>self.processors[i]
            if slot.accepts is not None and output.payload_type not in <frozenset>slot.accepts:
                continue
            if is_open(slot.breaker, now):
                if slot.passes:
                    continue
                return self._settle(slot.circuit_open, source)
            self.accounts.at[self.running] = slot.mark
            if slot.rewrites:
                output.replaceable = True
            answer = call(slot.process, output)
            if answer == <PyObject *>_CONSUMED:
                stays = _TAKEN_IN
                Py_DECREF(_CONSUMED)
            else:
                stays = -1 if answer == NULL else truth_of(answer)
            output.replaceable = False
            if stays < 0:
                if self._has_failed(slot, now, source):
                    continue
                return 0
            slot.breaker.failures = 0
            if PyList_GET_SIZE(slot.outbox.waiting):
                self._carry(slot, now)
            if stays != 1:
                return self._settle(slot.consumed if stays == _TAKEN_IN else slot.filtered, source)
        self._settle(self.kept, source)
        for i in range(len(self.buffers)):
            (<SendBuffer>self.buffers[i]).put(output)
        return 0 if self.tap is None else self._show(output)

    cdef int _show(self, OutputPacket output) except -1:
        """Show somebody who looks in what goes to the reporters; whatever goes wrong with that concerns nobody else."""
        try:
            self.tap(output)
        except Exception:
            self.tap = None
        return 0

    cdef bint _has_failed(self, ProcessorSlot slot, int64_t now, int source) except *:
        """Count what a processor has just raised; give whether the output goes on."""
        error = take_error()
        self._carry(slot, now)
        if not slot.passes:
            self._settle(slot.error, source)
        self._blame_slot(slot, error)
        return slot.passes

    cdef int _carry(self, Slot slot, int64_t now) except -1:
        """Carry on what a component has emitted while it was called."""
        waiting = slot.outbox.waiting
        if not PyList_GET_SIZE(waiting):
            return 0
        slot.outbox.waiting = []
        for record in waiting:
            self._record(slot, <Record>record, now)
        return 0

    cdef int _record(self, Slot slot, Record record, int64_t now) except -1:
        """Take a record through the processors behind its component to every reporter's buffer."""
        cdef Py_ssize_t behind = 0
        if isinstance(slot, ProcessorSlot):
            behind = self.processors.index(slot) + 1
        return self._offer(make_record_output(record, self.task_id, self.agent_id, self.pipeline_id), now, behind,
                           slot.records)

    cdef int _blame_slot(self, Slot slot, object error) except -1:
        """Count what a component raised where it costs no packet."""
        self.accounts.at[slot.breaker.errors] += 1
        slot.breaker.note_failure(monotonic())
        self.on_error(slot.breaker.kind, slot.breaker.name, error)
        return 0
