"""When a parser or processor is left alone: after many failures in a row, for a while."""

cimport cython

cdef int64_t SECOND = 1_000_000_000
# Long enough that a component which fails at every packet costs next to nothing, and short enough that one which met a
# run of odd packets misses little.
cdef int64_t BREAK_FOR = 10 * SECOND


@cython.final
cdef class Breaker:
    """The circuit breaker of one component: closed, open for a while after many failures in a row, then tried again.

    ``errors`` is the counter of its failures.
    """

    def __init__(self, str kind not None, str name not None, int errors):
        self.kind = kind
        self.name = name
        self.errors = errors

    @property
    def state(self):
        """``closed``, ``open``, or ``half_open`` while it is being tried again."""
        if self.failures < BREAK_AFTER:
            return "closed"
        return "open" if monotonic() < self.open_until else "half_open"

    def open_for(self, double seconds):
        """Open the circuit for a while, for a component that took its worker down."""
        self.failures = BREAK_AFTER
        self.open_until = monotonic() + <int64_t>(seconds * SECOND)

    cdef int note_failure(self, int64_t now) except -1:
        if self.failures < BREAK_AFTER:
            self.failures += 1
        if self.failures >= BREAK_AFTER:
            self.open_until = now + BREAK_FOR
        return 0
