from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from otus_core.inline.writer cimport Writer, raw_bytes, room

cdef enum:
    BATCH_HEADER = 61
    RECORD_HEAD = 16            # at most: length, attributes, time and offset of one record
    VARINT_MAX = 10             # bytes of 64 bits, seven a byte
    LENGTH_GUESS = 2            # bytes of most lengths: of 64 to 8191


cdef int fit(Writer *out, Py_ssize_t n) except -1
cdef void give_back(Writer *out) noexcept
cdef bytes encode_name(str name)
cdef int open_field(Writer *out) except -1
cdef int close_field(Writer *out, Py_ssize_t at) except -1


cdef inline int put_varint(Writer *out, int64_t value) except -1:
    """Write a number zigzag, seven bits a byte, the lowest first."""
    cdef uint8_t *target = <uint8_t *>room(out, VARINT_MAX)
    cdef uint64_t rest = (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)
    while rest > 127:
        target[0] = <uint8_t>(rest & 127 | 128)
        target += 1
        rest >>= 7
    target[0] = <uint8_t>rest
    out.at = <char *>target + 1
    return 0


cdef inline int put_field(Writer *out, bytes data) except -1:
    """Write bytes with their length before them, or ``None`` as Kafka's null."""
    if data is None:
        return put_varint(out, -1)
    put_varint(out, PyBytes_GET_SIZE(data))
    return raw_bytes(out, data)


cdef class BatchWriter:
    cdef Writer out             # the records that are not compressed, one behind the other
    cdef Writer packed          # room for the batch's header, and the records that are
    cdef Writer placed          # of each record its place among its owner's messages, 32 bits
    cdef readonly Py_ssize_t count
    cdef readonly int64_t made_ms
    cdef readonly object owner
    cdef readonly list shares
    cdef object pack
    cdef object fault           # what the compressor raised
    cdef Py_ssize_t packed_size # bytes of the records in ``packed``, before compression
    cdef Py_ssize_t shared
    cdef Py_ssize_t views
    cdef bint finished

    cdef int add(self, const char *body, Py_ssize_t n, int32_t place) except -1
    cdef Py_ssize_t begin(self, Py_ssize_t expected) except -1
    cdef void undo(self, Py_ssize_t begun) noexcept
    cdef int commit(self, Py_ssize_t begun, int32_t place) except -1
    cdef int compress(self, Py_ssize_t least) except -1
    cdef int compress_block(self, char *block, Py_ssize_t n) except -1
    cdef Py_ssize_t bytes_taken(self) noexcept
