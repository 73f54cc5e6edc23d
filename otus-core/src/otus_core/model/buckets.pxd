"""The buckets of a hash table whose entries lie in one array: each holds the place of its first entry."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memset


cdef inline int renew_buckets(int32_t **buckets, uint32_t *mask, uint32_t room) except -1:
    """Put empty buckets, each -1, in the place of those there are: as many as ``room`` entries, rounded up to a power
    of two; ``mask`` takes the bits of a hash that tell them apart. Raises MemoryError, and all is as before.
    """
    cdef uint32_t count = 1
    cdef int32_t *empty
    while count < room:
        count *= 2
    empty = <int32_t *>PyMem_Malloc(count * sizeof(int32_t))
    if empty == NULL:
        raise MemoryError
    memset(empty, 0xFF, count * sizeof(int32_t))
    PyMem_Free(buckets[0])
    buckets[0] = empty
    mask[0] = count - 1
    return 0
