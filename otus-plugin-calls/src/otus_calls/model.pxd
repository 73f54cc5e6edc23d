from libc.stdint cimport int64_t


# What the three kinds of payload have in common.
cdef class Payload:
    cdef object told            # all that is known, a dict, or what gives it when it is called

    cdef dict all(self)


cdef class Call(Payload):
    cdef bytes messages         # as JSON, or None: then they are among the facts

    cdef dict few(self)


cpdef str moment(int64_t at)
