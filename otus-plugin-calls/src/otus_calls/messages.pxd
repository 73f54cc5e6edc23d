from otus_calls.replay cimport Outcome


cdef bytes write_messages(Outcome outcome, list described)
