from otus_calls.replay cimport Outcome
from otus_calls.session cimport Session


cdef list find_flags(dict facts, Outcome outcome, Session session, object config, bint media)
