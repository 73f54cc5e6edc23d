from libc.stdint cimport int64_t

from otus_core.inline.layouts cimport Flow

from otus_calls.note cimport Heard
from otus_calls.said cimport Said


cdef class Binding:
    cdef readonly bytes key
    cdef readonly bytes aor
    cdef readonly bytes contact
    cdef readonly bytes flow            # of the newest request
    cdef readonly bytes call_id
    cdef readonly bytes agent           # or None
    cdef readonly int64_t first, last, due, registered_at, asked, attempt
    cdef readonly int64_t requested, expires
    cdef readonly int64_t delay_count, delay_total, delay_most      # of RRD, in ns
    cdef readonly int attempts, challenges, refreshes, successes, failures, ineffective, refused_proofs
    cdef readonly int retransmissions, duplicates, code
    cdef readonly bint removed, had_proof, challenged
    cdef public bint scan
    cdef Binding before, after          # others of the address of record; unlinked before it is let go
    cdef int64_t turn                   # when the queue comes to it: not later than ``due``


cdef class Bindings:
    cdef Py_ssize_t most
    cdef object failed
    cdef readonly int64_t looks     # how many registrations `due` and `mark_scan` have looked at
    cdef list queue             # (turn, number, registration), the soonest first; an entry may be left over
    cdef int64_t queued         # entries that there were
    cdef dict users             # by address of record, its newest registration, which is linked with the others
    cdef object bindings        # by address of record, contact and registrar, the one used last at the end
    cdef object pending         # by Call-ID and CSeq, the newest at the end

    cdef object hear(self, const Heard *heard)
    cdef object _ask(self, const Heard *heard, bytes request, Said *what)
    cdef Binding _binding(self, const Heard *heard, Said *what)
    cdef int _wait(self, Binding one, int64_t at) except -1
    cdef int _expect(self, Binding one, int64_t due) except -1
    cdef int _enqueue(self, Binding one) except -1
    cdef int _add(self, Binding one) except -1
    cdef Binding _remove(self, Binding one)
    cdef int _answer(self, int64_t at, const Flow *flow, bytes request, int status, Said *what) except -1
    cdef int _refuse(self, Binding one, int status) except -1
    cdef int _register(self, Binding one, int64_t at, Said *what) except -1
