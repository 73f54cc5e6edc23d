cdef class Operand:
    cdef object of(self, object output)
