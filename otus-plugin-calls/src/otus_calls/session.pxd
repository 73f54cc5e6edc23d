from libc.stdint cimport int64_t

from otus_calls.replay cimport Outcome


cdef class Session:
    cdef readonly dict lines    # by who listens there, ``caller`` or ``callee``, the media lines as agreed on last
    cdef readonly list offered  # the first offer
    cdef readonly list said     # each description: who listens there, and its lines
    cdef readonly list agreed   # the lines of all offers and answers that met, or None where none did
    cdef readonly list hold     # who holds, from when to when in ns, None for one that lasts
    cdef readonly bint t38

    cdef set codecs(self)
    cdef int _agree(self, int64_t at, str offerer, list offer, list answer) except -1
    cdef int _set_hold(self, str side, bint held, int64_t at) except -1
    cdef int64_t held_for(self, int64_t begin, int64_t end) except -1


cdef str other_side(str side)
cdef Session read_session(Outcome outcome, list described)
