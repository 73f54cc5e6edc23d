from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    BATCH_HEADER = 61
    RECORD_HEAD = 16            # at most: length, attributes, time and offset of one record


# Memory that grows. Functions here are small and are compiled into their callers.
cdef struct Memory:
    char *at
    Py_ssize_t size
    Py_ssize_t used


cdef int grow(Memory *memory, Py_ssize_t n) except -1
cdef void give_back(Memory *memory) noexcept
cdef bytes encode_name(str name)


cdef inline char *room(Memory *memory, Py_ssize_t n) except NULL:
    """Give room for n more bytes."""
    if memory.size - memory.used < n:
        grow(memory, n)
    return memory.at + memory.used


cdef inline int put_varint(Memory *memory, int64_t value) except -1:
    """Write a number zigzag, seven bits a byte, the lowest first."""
    cdef uint8_t *target = <uint8_t *>room(memory, 10)
    cdef uint8_t *start = target
    cdef uint64_t rest = (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)
    while rest > 127:
        target[0] = <uint8_t>(rest & 127 | 128)
        target += 1
        rest >>= 7
    target[0] = <uint8_t>rest
    memory.used += target + 1 - start
    return 0


cdef inline int put(Memory *memory, const char *data, Py_ssize_t n) except -1:
    memcpy(room(memory, n), data, n)
    memory.used += n
    return 0


cdef inline int put_bytes(Memory *memory, bytes data) except -1:
    return put(memory, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


cdef inline int put_field(Memory *memory, bytes data) except -1:
    """Write bytes with their length before them, or ``None`` as Kafka's null."""
    if data is None:
        return put_varint(memory, -1)
    put_varint(memory, PyBytes_GET_SIZE(data))
    return put_bytes(memory, data)


cdef class BatchWriter:
    cdef Memory memory
    cdef Memory placed          # of each record its place among its owner's messages, 32 bits
    cdef readonly Py_ssize_t count
    cdef readonly int64_t made_ms
    cdef readonly object owner
    cdef readonly list shares
    cdef Py_ssize_t shared
    cdef Py_ssize_t views
    cdef bint finished

    cdef int add(self, const char *body, Py_ssize_t n, int32_t place) except -1
