from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef inline uint16_t swap16(uint16_t value) noexcept nogil:
    return <uint16_t>((value << 8) | (value >> 8))


cdef inline uint32_t swap32(uint32_t value) noexcept nogil:
    return (value << 24) | ((value & 0xFF00) << 8) | ((value >> 8) & 0xFF00) | (value >> 24)


cdef inline uint32_t load32(const uint8_t *at, bint swapped) noexcept nogil:
    """Read four bytes that are known to be there."""
    cdef uint32_t value
    memcpy(&value, at, 4)
    return swap32(value) if swapped else value


cdef class Chunk:
    cdef readonly bytearray buffer
    cdef uint8_t *at            # the buffer's memory
    cdef Py_ssize_t size        # of the buffer
    cdef Py_ssize_t fill        # how much of the buffer one read may fill, unless more is needed
    cdef Py_ssize_t start       # first byte not yet taken
    cdef Py_ssize_t end         # one past the last byte read
    cdef uint64_t base          # offset in the stream of the buffer's first byte
    cdef Py_ssize_t needed      # bytes that must be there, from start, before anything can be taken

    cdef int _renew(self, Py_ssize_t size) except -1
    cdef Py_ssize_t there(self) noexcept
    cdef uint16_t u16(self, Py_ssize_t at, bint swapped) except? 0
    cdef uint32_t u32(self, Py_ssize_t at, bint swapped) except? 0
    cdef uint64_t u64(self, Py_ssize_t at, bint swapped) except? 0
