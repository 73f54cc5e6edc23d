"""What hash tables whose keys come from packets have in common: buckets, and orders by age.

An entry stands in the bucket that the hash of its key (``keyed_hash``) names, in a chain; how keys are compared is each
table's own. What may have to go for something newer stands in an order as well, whose oldest entry is at hand. No step
costs more when there are more entries.

Entries that have memory of their own refer to each other by pointers: ``Buckets``, ``Order``, ``Links``. Entries of one
array, which may move when it grows, do so by their numbers in it: ``renew_buckets``, ``NumberOrder``, ``NumberLinks``.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memset


# Each holds the first entry of its chain, or NULL.
cdef struct Buckets:
    void **at
    uint32_t mask           # the bits of a hash that tell buckets apart


# What an entry holds for each order that it stands in.
cdef struct Links:
    void *older
    void *newer


cdef struct Order:
    void *oldest
    void *newest


cdef inline uint32_t buckets_for(uint32_t room) noexcept nogil:
    """Give as many as ``room`` entries, rounded up to a power of two, at least 64."""
    cdef uint32_t count = 64
    while count < room:
        count *= 2
    return count


cdef inline int open_buckets(Buckets *buckets, uint32_t room) except -1:
    """Make empty buckets for up to ``room`` entries, for ``close_buckets``. Raises MemoryError, and nothing changes."""
    cdef uint32_t count = buckets_for(room)
    cdef void **empty = <void **>PyMem_Calloc(count, sizeof(void *))
    if empty == NULL:
        raise MemoryError
    buckets.at, buckets.mask = empty, count - 1
    return 0


cdef inline void close_buckets(Buckets *buckets) noexcept:
    PyMem_Free(buckets.at)
    buckets.at = NULL


cdef inline void chain(void **bucket, void *entry, void **link) noexcept nogil:
    """Put an entry, whose ``link`` lies in it, before all others of a bucket."""
    link[0] = bucket[0]
    bucket[0] = entry


cdef inline void unchain(void **bucket, void *entry, void **link) noexcept nogil:
    """Take an entry that is there out of a bucket."""
    cdef Py_ssize_t at = <char *>link - <char *>entry
    while bucket[0] != entry:
        bucket = <void **>(<char *>bucket[0] + at)
    bucket[0] = link[0]


cdef inline void append(Order *order, void *entry, Links *links) noexcept nogil:
    """Make an entry, whose ``links`` lie in it, the newest of an order that it is not in."""
    cdef Py_ssize_t at = <char *>links - <char *>entry
    links.older, links.newer = order.newest, NULL
    if order.newest != NULL:
        (<Links *>(<char *>order.newest + at)).newer = entry
    else:
        order.oldest = entry
    order.newest = entry


cdef inline void leave(Order *order, void *entry, Links *links) noexcept nogil:
    """Take an entry out of its order."""
    cdef Py_ssize_t at = <char *>links - <char *>entry
    if links.older != NULL:
        (<Links *>(<char *>links.older + at)).newer = links.newer
    else:
        order.oldest = links.newer
    if links.newer != NULL:
        (<Links *>(<char *>links.newer + at)).older = links.older
    else:
        order.newest = links.older


cdef enum:
    NONE = -1             # the number of no entry


cdef struct NumberLinks:
    int32_t older
    int32_t newer


cdef struct NumberOrder:
    int32_t oldest
    int32_t newest


cdef inline int renew_buckets(int32_t **buckets, uint32_t *mask, uint32_t room) except -1:
    """Put empty buckets, each ``NONE``, in the place of those there are, if any, for up to ``room`` entries; ``mask``
    takes the bits of a hash that tell them apart. ``PyMem_Free`` frees them. Raises MemoryError, and nothing changes.
    """
    cdef uint32_t count = buckets_for(room)
    cdef int32_t *empty = <int32_t *>PyMem_Malloc(count * sizeof(int32_t))
    if empty == NULL:
        raise MemoryError
    memset(empty, 0xFF, count * sizeof(int32_t))
    PyMem_Free(buckets[0])
    buckets[0], mask[0] = empty, count - 1
    return 0


cdef inline int32_t *link_to(int32_t *bucket, int32_t i, int32_t *chained, size_t size) noexcept nogil:
    """Give what refers to entry ``i`` of a bucket: the bucket, or the entry before it. ``chained`` is the link of the
    array's first entry, ``size`` that of an entry.
    """
    while bucket[0] != i:
        bucket = <int32_t *>(<char *>chained + bucket[0] * size)
    return bucket


cdef inline NumberLinks *links_of(NumberLinks *first, size_t size, int32_t i) noexcept nogil:
    return <NumberLinks *>(<char *>first + i * size)


cdef inline void append_number(NumberOrder *order, int32_t i, NumberLinks *first, size_t size) noexcept nogil:
    """Make entry ``i`` the newest of an order that it is not in. ``first`` are the links of the array's first entry,
    ``size`` is that of an entry.
    """
    cdef NumberLinks *links = links_of(first, size, i)
    links.older, links.newer = order.newest, NONE
    if order.newest != NONE:
        links_of(first, size, order.newest).newer = i
    else:
        order.oldest = i
    order.newest = i


cdef inline void leave_number(NumberOrder *order, int32_t i, NumberLinks *first, size_t size) noexcept nogil:
    """Take entry ``i`` out of its order."""
    cdef NumberLinks *links = links_of(first, size, i)
    if links.older != NONE:
        links_of(first, size, links.older).newer = links.newer
    else:
        order.oldest = links.newer
    if links.newer != NONE:
        links_of(first, size, links.newer).older = links.older
    else:
        order.newest = links.older
