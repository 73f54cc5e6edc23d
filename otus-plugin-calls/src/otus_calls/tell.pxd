from otus_calls.replay cimport Outcome
from otus_calls.table cimport Call


cdef tuple tell_call(Call call, Outcome outcome, object ended, object config, bint media)
