from libc.stdint cimport int64_t

from otus_core.model.accounts cimport Accounts
from otus_core.model.output cimport OutputPacket
from otus_core.model.record cimport Record
from otus_core.pipeline.buffer cimport SendBuffer
from otus_core.pipeline.slots cimport ProcessorSlot, Slot


cdef class Outputs:
    cdef Accounts accounts
    cdef readonly tuple processors
    cdef tuple buffers
    cdef object task_id
    cdef object agent_id
    cdef object pipeline_id
    cdef object on_error
    cdef bint waits
    cdef public object tap
    cdef int units, matched, kept, running

    cdef inline bint _full(self) noexcept:
        """Whether a source that can wait should."""
        cdef Py_ssize_t i
        cdef SendBuffer buffer
        if not self.waits:
            return False
        for i in range(len(self.buffers)):
            buffer = <SendBuffer>self.buffers[i]
            if buffer.count >= buffer.capacity or buffer.bytes_held >= buffer.max_bytes:
                return True
        return False

    cdef int _offer(self, OutputPacket output, int64_t now, Py_ssize_t first, int source) except -1
    cdef inline int _settle(self, int outcome, int source) noexcept:
        """End an output in exactly one counter."""
        if source == self.matched:
            self.accounts.at[self.units] += 1
        self.accounts.at[source] += 1
        self.accounts.at[outcome] += 1
        return 0
    cdef bint _has_failed(self, ProcessorSlot slot, int64_t now, int source) except *
    cdef int _show(self, OutputPacket output) except -1
    cdef int _carry(self, Slot slot, int64_t now) except -1
    cdef int _record(self, Slot slot, Record record, int64_t now) except -1
    cdef int _blame_slot(self, Slot slot, object error) except -1
