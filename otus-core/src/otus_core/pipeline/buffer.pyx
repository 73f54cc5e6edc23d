"""The send buffer between the pipeline and one reporter: bounded in packets and bytes.

When it is full the oldest packet goes (drop-head): to the fallback's buffer where there is one, else it is dropped;
either is counted. A source that can wait is held up before that instead.
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.list cimport PyList_New
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_DECREF, Py_INCREF
from otus_core.model.counter_names import name_of, of_reporter

cdef extern from "Python.h":
    void put_item "PyList_SET_ITEM" (object items, Py_ssize_t at, PyObject *item)

cdef enum:
    # What an output takes beside its raw payload: the object, labels and the parsed payload, as measured for SIP.
    OVERHEAD = 1400


cdef inline int64_t _cost(PyObject *output) noexcept:
    return OVERHEAD + PyBytes_GET_SIZE((<OutputPacket>output).raw_payload) + (<OutputPacket>output).extra


@cython.final
cdef class SendBuffer:
    """First in, first out.

    ``waits``: the source waits when ``full``, so that nothing is dropped here. ``spooled``: what is there when it is
    ``full`` is taken to disk soon.
    """

    def __cinit__(self, Accounts accounts not None, str reporter not None, Py_ssize_t capacity, int64_t max_bytes,
                  bint waits, bint spooled=False):
        # A source that waits is stopped at ``capacity``, but the packet under way may still add its messages; a spool
        # takes them after the slice of packets.
        self.spooled = spooled
        self.capacity = capacity
        self.max_bytes = max_bytes
        self.waits = waits
        self.accounts = accounts
        self.offered = accounts.slot(of_reporter(reporter, "offered"))
        self.queued = accounts.slot(of_reporter(reporter, "queued"))
        self.overflow = accounts.slot(of_reporter(reporter, name_of("dropped", "buffer_overflow")))
        self.moved = accounts.slot(of_reporter(reporter, "moved_to_fallback"))
        self.ring = <PyObject **>PyMem_Malloc(self._places() * sizeof(PyObject *))
        if self.ring == NULL:
            raise MemoryError

    def __dealloc__(self):
        while self.count:
            self._drop_oldest()
        PyMem_Free(self.ring)

    cdef Py_ssize_t _places(self) noexcept:
        return 2 * self.capacity + 4096 if self.waits or self.spooled else self.capacity

    def __len__(self):
        return self.count

    @property
    def full(self):
        """Whether a source that can wait should."""
        return self.count >= self.capacity or self.bytes_held >= self.max_bytes

    cdef int put(self, OutputPacket output) except -1:
        """Offer one output."""
        cdef Py_ssize_t places = self._places()
        cdef Py_ssize_t at
        self.accounts.at[self.offered] += 1
        self.accounts.at[self.queued] += 1
        if self.count == places:
            self._overflow_oldest()
        at = self.head + self.count
        if at >= places:
            at -= places
        Py_INCREF(output)
        self.ring[at] = <PyObject *>output
        self.count += 1
        self.bytes_held += _cost(<PyObject *>output)
        if not self.waits and not self.patient:
            while self.bytes_held > (2 * self.max_bytes if self.spooled else self.max_bytes) and self.count > 1:
                self._overflow_oldest()
        return 0

    def offer(self, OutputPacket output not None):
        """Offer one output; for what a reporter moves to its fallback."""
        self.put(output)

    def overflow_to(self, SendBuffer other):
        """Hand what there is no room for to another buffer, instead of dropping it.

        Following these never leads back here.
        """
        self.beyond = other

    def take(self, Py_ssize_t most):
        """Give up to ``most`` outputs, the oldest first.

        They are no longer queued: the caller counts them from here.
        """
        cdef Py_ssize_t n = min(most, self.count)
        cdef Py_ssize_t places = self._places()
        cdef list batch = PyList_New(n)
        cdef Py_ssize_t i
        cdef PyObject *output
        for i in range(n):
            output = self.ring[self.head]
            self.head += 1
            if self.head == places:
                self.head = 0
            self.bytes_held -= _cost(output)
            put_item(batch, i, output)      # the reference goes over to the list
        self.count -= n
        self.accounts.at[self.queued] -= n
        return batch

    def peek(self, Py_ssize_t most):
        """Show up to ``most`` outputs, the oldest first; they stay."""
        cdef Py_ssize_t places = self._places()
        return [<object>self.ring[(self.head + i) % places] for i in range(min(most, self.count))]

    cdef void _drop_oldest(self) noexcept:
        cdef PyObject *output = self.ring[self.head]
        self.head += 1
        if self.head == self._places():
            self.head = 0
        self.count -= 1
        self.bytes_held -= _cost(output)
        Py_DECREF(<object>output)

    cdef int _overflow_oldest(self) except -1:
        cdef OutputPacket output = None
        if self.beyond is not None:
            output = <OutputPacket>self.ring[self.head]
        self._drop_oldest()
        self.accounts.at[self.queued] -= 1
        if output is None:
            self.accounts.at[self.overflow] += 1
            return 0
        self.accounts.at[self.moved] += 1
        return self.beyond.put(output)
