"""The counters of one worker: 64-bit numbers in one buffer, which may be shared memory and then outlives the worker.

Names are fixed when a task is assembled, ``dropped{decode:truncated}``; a packet cannot add one.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer


@cython.final
cdef class Accounts:
    """Named counters in ``buffer`` (writable, 8 bytes a name), or in memory of their own."""

    def __init__(self, names, buffer=None):
        cdef Py_buffer view
        cdef Py_ssize_t size
        self.names = tuple(names)
        self._slots = {name: i for i, name in enumerate(self.names)}
        if len(self._slots) != len(self.names):
            raise ValueError("a counter is named twice")
        # The memory is held by its owner alone, which is never resized: a view of our own could not be let go of in any
        # order at exit.
        self._owner = bytearray(8 * len(self.names)) if buffer is None else buffer
        PyObject_GetBuffer(self._owner, &view, PyBUF_WRITABLE)
        self.at = <int64_t *>view.buf
        size = view.len
        PyBuffer_Release(&view)
        if size < 8 * <Py_ssize_t>len(self.names):
            raise ValueError(f"{len(self.names)} counters need {8 * len(self.names)} bytes, not {size}")

    cdef int slot(self, str name) except -1:
        """Give a counter's place in the array. Raises KeyError."""
        return self._slots[name]

    def __getitem__(self, str name not None):
        return self.at[self.slot(name)]

    def __contains__(self, name):
        return name in self._slots

    def add(self, str name not None, int64_t n=1):
        """Add to a counter."""
        self.at[self.slot(name)] += n

    def set(self, str name not None, int64_t value):
        """Set a gauge."""
        self.at[self.slot(name)] = value

    def snapshot(self):
        """Give all counters by name."""
        cdef Py_ssize_t i
        return {name: self.at[i] for i, name in enumerate(self.names)}


@cython.final
cdef class Counter:
    """One counter as a component has it: calling it adds 1, or ``n``. Raises ValueError for a negative number."""

    def __init__(self, Accounts accounts not None, str name not None):
        self.accounts = accounts
        self.at = accounts.slot(name)

    def __call__(self, int64_t n=1):
        if n < 0:
            raise ValueError("a counter only grows")
        self.accounts.at[self.at] += n
