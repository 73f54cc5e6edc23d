cdef class Framer:
    cdef readonly str name
    cdef object _frame
    cdef object _resync
    cdef bytes ports            # one byte a port: whether messages are searched for there; None: nowhere
    cdef readonly frozenset protocols   # of WebSocket
    cdef int mark
    cdef bint off               # its parser is cut off at the moment
    cdef object error           # what it raised last, until somebody asks

    cdef Py_ssize_t frame(self, bytes data, Py_ssize_t at) except -2
    cdef Py_ssize_t resync(self, bytes data, Py_ssize_t at) except -2
    cdef bint searches(self, int src_port, int dst_port) noexcept
