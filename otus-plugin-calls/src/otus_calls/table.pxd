from libc.stdint cimport int64_t, uint8_t

from otus_calls.note cimport Note
from otus_calls.replay cimport Outcome


# How far a call has come, as far as that decides how long it is waited for.
cdef enum Phase:
    CALLING = 0
    RINGING = 1
    TALKING = 2
    OVER = 3


cdef class Call:
    cdef readonly bytes call_id
    cdef readonly bytes from_tag
    cdef readonly list notes
    cdef readonly int64_t first             # ns since 1970, as the calls' own messages say
    cdef readonly int64_t last
    cdef readonly int64_t due               # when it is reported if nothing more comes
    cdef readonly int64_t cut               # messages that were given up for want of room
    cdef readonly uint8_t phase             # a Phase
    cdef public bint silent                 # answered, and nothing is heard of it any more
    cdef public int64_t told                # when an interim record told of it
    cdef public list streams                # what was said of its media streams, or None
    cdef public list errors                 # ICMP errors about it, or None
    cdef public list legs                   # other legs of the same conversation, or None
    cdef uint8_t shown                      # what the search for legs has been shown of it
    cdef Call older                         # in the order in which they were used
    cdef Call newer

    cdef int add(self, Note note, Py_ssize_t most) except -1
    cdef Outcome outcome(self, int64_t now)


cdef class Table:
    cdef dict groups                        # by Call-ID: a Call, or a list of some that share it
    cdef dict gone                          # Call-IDs of calls that were reported, the oldest first
    cdef Call oldest
    cdef Call newest
    cdef readonly Py_ssize_t count
    cdef Py_ssize_t most
    cdef Py_ssize_t notes_most
    cdef int64_t soonest                    # no call is due earlier
    cdef int64_t looked                     # calls that were used last before this have been looked at for news
    cdef int64_t linger, ring_timeout, talk_timeout

    cdef Call find(self, bytes call_id, bytes from_tag, bytes to_tag)
    cdef Call take(self, tuple signalling, Note note)
    cdef int _link(self, Call call) except -1
    cdef int _unlink(self, Call call) except -1
    cdef int _advance(self, Call call, Note note) except -1
