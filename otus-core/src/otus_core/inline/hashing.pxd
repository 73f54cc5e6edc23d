"""Hashes of what packets hold, with a secret key: nobody outside can aim for one bucket of a table (CWE-407).

The key is 16 random bytes, drawn once in a process: ``memcpy(key, <const char *>os.urandom(16), 16)``.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy


cdef extern from *:
    """
    #ifndef OTUS_HASHING
    #define OTUS_HASHING
    #include <stdint.h>
    /* Every bit of both words moves half of the result's: the halves of the 128-bit product, folded. */
    static inline uint64_t otus_fold(uint64_t a, uint64_t b) {
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    #endif
    """
    uint64_t fold "otus_fold" (uint64_t a, uint64_t b) noexcept nogil


cdef inline uint64_t keyed_hash(const uint64_t *key, const void *data, Py_ssize_t size) noexcept nogil:
    """Hash ``size`` bytes with the two words of ``key``, eight bytes a step."""
    cdef const uint8_t *at = <const uint8_t *>data
    cdef uint64_t h = key[0] ^ <uint64_t>size
    cdef uint64_t word = 0
    while size >= 8:
        memcpy(&word, at, 8)
        h = fold(h ^ key[1], word ^ key[0])
        at += 8
        size -= 8
    if size > 0:
        word = 0
        memcpy(&word, at, size)
        h = fold(h ^ key[1], word ^ key[0])
    return fold(h, key[1])
