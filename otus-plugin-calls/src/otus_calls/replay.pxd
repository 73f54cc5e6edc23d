from libc.stdint cimport int32_t, int64_t, uint8_t

from otus_core.inline.layouts cimport Flow

from otus_calls.note cimport Note, Packed
from otus_calls.table cimport Call


# What became of a call, from its messages; times in ns since 1970, 0 for what was not seen.
cdef class Outcome:
    cdef readonly int64_t start
    cdef readonly int64_t ring              # the first 1xx that is no 100
    cdef readonly int64_t early             # the first that brings media
    cdef readonly int64_t answer
    cdef readonly int64_t ack               # the ACK of the 2xx
    cdef readonly int64_t end
    cdef readonly int64_t last              # the newest message
    cdef readonly int64_t cancel            # a CANCEL of the caller
    cdef readonly int64_t bye
    cdef readonly int64_t bye_answered
    cdef readonly int64_t attempt           # the newest INVITE that was an attempt
    cdef readonly int64_t reply             # the first response to it that is no 100
    cdef readonly int64_t invite_ok_repeated    # the newest retransmission of the 2xx
    cdef readonly int state_number          # place in STATES
    cdef readonly int attempts
    cdef readonly int challenges
    cdef readonly int reinvites
    cdef readonly int retransmissions
    cdef readonly int duplicates
    cdef readonly int post_bye              # messages after the BYE was answered
    cdef readonly bint partial              # it began before the capture
    cdef readonly bint bye_by_caller
    cdef readonly int final_status          # 0 where there is none
    # Places in the order of time, -1 for none: the first INVITE, the newest final response to it that is no challenge,
    # the newest challenge, the 2xx, the BYE
    cdef int32_t invite_at, final_at, challenge_at, accepted_at, bye_at
    cdef Packed **order                     # the notes in the order of their time
    cdef int32_t count
    cdef Flow caller_flow                   # begins at the caller
    cdef Call call
    cdef list told                          # the notes as objects, None for those nobody has asked for, or None

    cdef int _put_in_order(self) except -1
    cdef int _mark(self) noexcept
    cdef int _find_caller(self) noexcept
    cdef int _run(self, int64_t now) noexcept
    cdef int _see(self, int32_t at, const Packed *note, Seen *seen) noexcept
    cdef int _take(self, int32_t at, const Packed *note) noexcept
    cdef int _take_bye(self, int32_t at, const Packed *note) noexcept
    cdef int _event(self, int event) noexcept
    cdef bint _is_first_hop(self, const Packed *note, Seen *seen) noexcept
    cdef Note note(self, int32_t at)
    cdef const Packed *first_note(self) noexcept


cdef enum:
    BRANCHES_MAX = 32           # transactions of the caller that are told apart


# What the run over the notes has seen.
cdef struct Seen:
    const Packed *branches[BRANCHES_MAX]    # requests of the caller, one of each branch
    int32_t branch_count
    int32_t invite_cseq
    bint heard


cdef Outcome replay(Call call, int64_t now)
