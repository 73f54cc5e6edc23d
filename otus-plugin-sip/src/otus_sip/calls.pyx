"""The calls under way, by Call-ID: a hash table that also knows which call was touched longest ago.

A call is one object with its offers and dialogs in it, so that few cache lines are fetched for it. The table owns its calls.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.string cimport memcmp, memcpy

cdef extern from *:
    """
    static inline uint64_t otus_fold(uint64_t a, uint64_t b) {
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    """
    uint64_t otus_fold(uint64_t a, uint64_t b) nogil
    void prefetch "__builtin_prefetch" (const void *address) nogil

cdef enum:
    BUCKETS_FIRST = 256
    CACHE_LINE = 64

# Call-IDs come from packets, so the hash is keyed: nobody outside can aim for one bucket.
cdef uint64_t _secret[2]
memcpy(_secret, <const char *>PyBytes_AS_STRING(os.urandom(16)), 16)


cdef uint64_t _hash(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    cdef uint64_t h = _secret[0] ^ <uint64_t>size
    cdef uint64_t word
    while size > 0:
        word = 0
        memcpy(&word, text, min(size, 8))
        h = otus_fold(h ^ _secret[1], word ^ _secret[0])
        text += 8
        size -= 8
    return otus_fold(h, _secret[1])


cdef int _at(const Item *items, int count, uint64_t number) noexcept:
    cdef int i
    for i in range(count):
        if items[i].number == number:
            return i
    return -1


cdef bytes _data(const Item *items, int count, uint64_t number):
    cdef int i = _at(items, count, number)
    return None if i < 0 else <bytes>items[i].data


cdef int _put(Item *items, int count, uint64_t number, bytes data) noexcept:
    """Put an item in the place of one of its number, or at the end; gives the new count."""
    cdef int i = _at(items, count, number)
    cdef PyObject *before = NULL
    Py_INCREF(data)
    if i < 0:
        i = count
        count += 1
    else:
        before = items[i].data
    items[i].number = number
    items[i].data = <PyObject *>data
    Py_XDECREF(before)
    return count


cdef int _drop(Item *items, int count, uint64_t number) noexcept:
    cdef int i = _at(items, count, number)
    cdef PyObject *gone
    if i < 0:
        return count
    gone = items[i].data
    items[i] = items[count - 1]
    Py_XDECREF(gone)
    return count - 1


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Call:
    """What is known of one Call-ID."""

    def __dealloc__(self):
        while self.offer_count:
            self.offer_count -= 1
            Py_XDECREF(self.offers[self.offer_count].data)
        while self.dialog_count:
            self.dialog_count -= 1
            Py_XDECREF(self.dialogs[self.dialog_count].data)

    cdef bytes offer(self, uint64_t transaction):
        return _data(self.offers, self.offer_count, transaction)

    cdef void put_offer(self, uint64_t transaction, bytes media) noexcept:
        if self.offer_count == OFFERS_MAX and _at(self.offers, self.offer_count, transaction) < 0:
            self.drop_offer(self.offers[0].number)
        self.offer_count = _put(self.offers, self.offer_count, transaction, media)

    cdef void drop_offer(self, uint64_t transaction) noexcept:
        self.offer_count = _drop(self.offers, self.offer_count, transaction)

    cdef bytes dialog(self, uint64_t number):
        return _data(self.dialogs, self.dialog_count, number)

    cdef void put_dialog(self, uint64_t number, bytes keys) noexcept:
        if self.dialog_count < DIALOGS_MAX or _at(self.dialogs, self.dialog_count, number) >= 0:
            self.dialog_count = _put(self.dialogs, self.dialog_count, number, keys)

    cdef void drop_dialog(self, uint64_t number) noexcept:
        self.dialog_count = _drop(self.dialogs, self.dialog_count, number)


@cython.final
cdef class Calls:
    """Call-ID → Call."""

    def __cinit__(self):
        self.buckets = <PyObject **>PyMem_Calloc(BUCKETS_FIRST, sizeof(PyObject *))
        if self.buckets == NULL:
            raise MemoryError
        self.mask = BUCKETS_FIRST - 1

    def __dealloc__(self):
        while self.oldest != NULL:
            self.remove(<Call>self.oldest)
        PyMem_Free(self.buckets)

    def __len__(self):
        return self.count

    cdef uint64_t expect(self, const uint8_t *call_id, Py_ssize_t size) noexcept:
        """Give the hash of a Call-ID that will be looked for, and have its bucket come into the cache meanwhile."""
        cdef uint64_t hashed = _hash(call_id, size)
        prefetch(&self.buckets[hashed & self.mask])
        return hashed

    cdef void fetch(self, uint64_t hashed) noexcept:
        """Have the first call of a bucket come into the cache too."""
        cdef const char *call = <const char *>self.buckets[hashed & self.mask]
        if call != NULL:
            prefetch(call)
            prefetch(call + CACHE_LINE)

    cdef Call find(self, uint64_t hashed, const uint8_t *call_id, Py_ssize_t size):
        cdef PyObject *at = self.buckets[hashed & self.mask]
        cdef Call call
        while at != NULL:
            call = <Call>at
            if call.hashed == hashed and call.id_len == size and memcmp(call.id_start, call_id, min(size, ID_INSIDE)) == 0:
                if size <= ID_INSIDE or memcmp(PyBytes_AS_STRING(call.call_id), call_id, size) == 0:
                    return call
            at = call.chain
        return None

    cdef Call add(self, uint64_t hashed, const uint8_t *call_id, Py_ssize_t size):
        """Make a call that is not there; it is the most recent."""
        cdef Call call = Call.__new__(Call)
        cdef PyObject **bucket
        if self.count > <Py_ssize_t>self.mask:
            self._grow()
        call.call_id = PyBytes_FromStringAndSize(<const char *>call_id, size)
        call.id_len = size
        memcpy(call.id_start, call_id, min(size, ID_INSIDE))
        call.hashed = hashed
        bucket = &self.buckets[call.hashed & self.mask]
        call.chain = bucket[0]
        bucket[0] = <PyObject *>call
        Py_INCREF(call)
        self.count += 1
        self._link(call)
        return call

    cdef Call eldest(self):
        """Give the call that was touched longest ago, ``None`` when there is none."""
        return None if self.oldest == NULL else <Call>self.oldest

    cdef void touch(self, Call call) noexcept:
        """Make a call the most recent."""
        if self.newest != <PyObject *>call:
            self._unlink(call)
            self._link(call)

    cdef void remove(self, Call call) noexcept:
        cdef PyObject **link = &self.buckets[call.hashed & self.mask]
        while link[0] != <PyObject *>call:
            link = &(<Call>link[0]).chain
        link[0] = call.chain
        self._unlink(call)
        self.count -= 1
        Py_DECREF(call)

    cdef int _grow(self) except -1:
        cdef uint64_t mask = 2 * self.mask + 1
        cdef PyObject **buckets = <PyObject **>PyMem_Calloc(mask + 1, sizeof(PyObject *))
        cdef PyObject *at = self.newest
        cdef Call call
        if buckets == NULL:
            raise MemoryError
        while at != NULL:
            call = <Call>at
            call.chain = buckets[call.hashed & mask]
            buckets[call.hashed & mask] = at
            at = call.older
        PyMem_Free(self.buckets)
        self.buckets = buckets
        self.mask = mask
        return 0

    cdef void _link(self, Call call) noexcept:
        call.newer = NULL
        call.older = self.newest
        if self.newest != NULL:
            (<Call>self.newest).newer = <PyObject *>call
        self.newest = <PyObject *>call
        if self.oldest == NULL:
            self.oldest = <PyObject *>call

    cdef void _unlink(self, Call call) noexcept:
        if call.newer != NULL:
            (<Call>call.newer).older = call.older
        else:
            self.newest = call.older
        if call.older != NULL:
            (<Call>call.older).newer = call.newer
        else:
            self.oldest = call.newer
