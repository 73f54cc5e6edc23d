from libc.stdint cimport uint8_t, uint16_t, uint32_t


# linux/filter.h, struct sock_filter
cdef struct Instruction:
    uint16_t code
    uint8_t jt
    uint8_t jf
    uint32_t k


cdef class Program:
    cdef bytes _packed
    cdef const Instruction *_instructions
    cdef Py_ssize_t _count

    cdef int _check(self) except -1
    cdef uint32_t run(self, const uint8_t *frame, uint32_t size, uint32_t wire_size) noexcept nogil
