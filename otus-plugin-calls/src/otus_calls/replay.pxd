from libc.stdint cimport int32_t, int64_t, uint8_t

from otus_calls.note cimport Note


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
    cdef readonly Note first                # the first message
    cdef readonly Note invite               # the first INVITE, or None
    cdef readonly Note final                # the newest final response to it that is no challenge, or None
    cdef readonly Note challenge            # the newest challenge, or None
    cdef readonly Note accepted             # the 2xx, or None
    cdef readonly Note bye_note
    cdef readonly object caller             # (address, port)
    cdef readonly list notes                # in the order of their time

    cdef int _take(self, Note note) except -1
    cdef int _event(self, int event) except -1
    cdef int _mark(self) except -1
    cdef int _find_caller(self) except -1
    cdef bint _is_first_hop(self, Note note, list branches) except -1


cdef Outcome replay(list notes, int64_t now, bint silent)
