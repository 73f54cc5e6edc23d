from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from otus_core.pipeline.breaker cimport Breaker
from otus_core.stream.framer cimport Framer


cdef class Outbox:
    cdef readonly str name
    cdef frozenset payload_types
    cdef list waiting
    cdef Py_ssize_t most
    cdef public bint closed     # nothing is carried on any more

    cpdef int check(self, object record) except -1


cdef class Slot:
    cdef readonly Breaker breaker
    cdef readonly object component
    cdef readonly Outbox outbox
    cdef object tick
    cdef object finish
    cdef object on_route
    cdef readonly int64_t interval     # ns; 0 for a component without a tick
    cdef int64_t due                   # packet time of the next tick
    cdef int mark
    cdef int records
    cdef int consumed


cdef class ParserSlot(Slot):
    cdef object take
    cdef object can_handle
    cdef object handle
    cdef object announce
    cdef object flow_end
    cdef readonly Framer framer         # None without streams
    cdef tuple asked                    # about a message from a stream: this slot, and if it does not take it others
    cdef object payload_type
    cdef object payload_types
    cdef int transports
    cdef int ignored
    cdef int parse_error
    cdef dict reasons           # text of a ParseError to its counter
    cdef object other           # the counter of all other texts
    cdef int fault


cdef class ProcessorSlot(Slot):
    cdef object process
    cdef readonly object before_finish  # or None
    cdef object accepts         # a set of payload types, or None for all
    cdef bint passes
    cdef bint rewrites
    cdef int filtered
    cdef int error
    cdef int circuit_open


# Calls whose errors are looked at by hand: a ``try`` around each call of a component would save and restore the
# thread's exception for every packet. ``call`` gives a new reference, or NULL where the method raised; then
# ``take_error`` gives what it raised, and is to be called before anything else.
cdef extern from *:
    """
    /* A compiled component's method of one argument is a C function: it is called as such, without what Python does
       around it (Objects/methodobject.c, cfunction_vectorcall_O). */
    static inline PyObject *otus_call(PyObject *method, PyObject *argument) {
        if (PyCFunction_CheckExact(method) && PyCFunction_GET_FLAGS(method) == METH_O) {
            PyObject *answer = PyCFunction_GET_FUNCTION(method)(PyCFunction_GET_SELF(method), argument);
            if (answer == NULL && !PyErr_Occurred()) {
                PyErr_SetString(PyExc_SystemError, "a compiled method gave NULL and raised nothing");
            }
            return answer;
        }
        return PyObject_CallOneArg(method, argument);
    }
    """
    PyObject *call "otus_call" (object method, object argument)

cdef object take_error()
cdef PyObject *call_in_two(ParserSlot slot, object packet, bint *asks, bint *passes) noexcept
cdef int truth_of(PyObject *answer) noexcept


cdef enum:
    TRANSPORT_UDP = 1
    TRANSPORT_TCP = 2
    TRANSPORT_ICMP = 4
    TRANSPORT_OTHER = 8
    TRANSPORT_STREAM = 16               # messages from streams of TCP
