"""The window on a stream of bytes through which records are taken: one buffer, filled again and again.

``room`` gives the memory to read into, ``filled`` says how much came. What a batch points into stays as it is until the
next ``room``.
"""

cimport cython

from libc.string cimport memcpy, memmove


@cython.final
cdef class Chunk:
    """A buffer of ``size`` bytes that grows only for a record that does not fit; ``start`` to ``end`` is what has been
    read and not taken.
    """

    def __init__(self, Py_ssize_t size):
        self.fill = size
        self._renew(size)
        self.reset()

    cdef int _renew(self, Py_ssize_t size) except -1:
        cdef bytearray buffer = bytearray(size)
        if self.end > self.start:
            memcpy(<uint8_t *>buffer, self.at + self.start, self.end - self.start)
        self.buffer = buffer
        self.at = <uint8_t *>buffer
        self.size = size
        return 0

    def reset(self):
        """Begin a new stream."""
        self.start = self.end = 0
        self.base = 0
        self.needed = 0

    @property
    def left(self):
        """Bytes read and not taken."""
        return self.end - self.start

    @property
    def offset(self):
        """Offset in the stream of the first byte that is not taken."""
        return self.base + <uint64_t>self.start

    def head(self, Py_ssize_t count):
        """Give up to ``count`` bytes from the first that is not taken."""
        return bytes(self.buffer[self.start:min(self.end, self.start + count)])

    def room(self):
        """Make room after what is left and give it, at least one byte; batches made before are then void."""
        cdef Py_ssize_t left = self.end - self.start
        cdef Py_ssize_t limit = max(self.fill, self.needed)
        if self.needed > self.size:
            self._renew(self.needed)
        elif self.start and left:
            memmove(self.at, self.at + self.start, left)
        self.base += <uint64_t>self.start
        self.start = 0
        self.end = left
        return memoryview(self.buffer)[left:limit]

    def filled(self, Py_ssize_t count):
        """Say how many bytes were read into the room."""
        if not 0 <= count <= self.size - self.end:
            raise ValueError(f"{count} bytes do not fit the room of {self.size - self.end}")
        self.end += count

    cdef Py_ssize_t there(self) noexcept:
        return self.end - self.start

    cdef uint16_t u16(self, Py_ssize_t at, bint swapped) except? 0:
        cdef uint16_t value
        if at < self.start or at > self.end - 2:
            raise IndexError("read outside the chunk")
        memcpy(&value, self.at + at, 2)
        return swap16(value) if swapped else value

    cdef uint32_t u32(self, Py_ssize_t at, bint swapped) except? 0:
        cdef uint32_t value
        if at < self.start or at > self.end - 4:
            raise IndexError("read outside the chunk")
        memcpy(&value, self.at + at, 4)
        return swap32(value) if swapped else value

    cdef uint64_t u64(self, Py_ssize_t at, bint swapped) except? 0:
        cdef uint64_t first = self.u32(at, swapped)
        cdef uint64_t second = self.u32(at + 4, swapped)
        return (first << 32) | second if swapped else (second << 32) | first
