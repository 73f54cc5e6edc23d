from libc.stdint cimport int64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef enum:
    BREAK_AFTER = 100           # failures in a row that open a component's circuit


cdef class Breaker:
    cdef readonly str kind
    cdef readonly str name
    cdef int failures
    cdef int64_t open_until
    cdef int errors

    cdef int note_failure(self, int64_t now) except -1


cdef inline bint is_open(Breaker breaker, int64_t now) noexcept:
    """Whether the component is left alone: asked for each packet."""
    return breaker.failures >= BREAK_AFTER and now < breaker.open_until


cdef inline int64_t monotonic() noexcept nogil:
    """Give CLOCK_MONOTONIC in ns."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec
