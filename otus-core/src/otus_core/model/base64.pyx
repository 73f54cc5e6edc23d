"""Base64 (RFC 4648 §4): 24 bytes a step where the processor has vectors of 32 (AVX2), six a step by a table elsewhere.

The vector form is Muła's and Lemire's (Faster Base64 Encoding and Decoding Using AVX2 Instructions, 2018): a shuffle
and two multiplications put six bits into each byte, a second shuffle finds what to add to make it a character.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from otus_core.inline.writer cimport room

cdef extern from *:
    """
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <immintrin.h>

    static int has_vectors(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2");
    }

    /* Encodes 24 bytes a step as long as 28 can be read; gives how many it took. */
    __attribute__((target("avx2")))
    static Py_ssize_t encode_vectors(char *target, const unsigned char *source, Py_ssize_t n) {
        const __m256i order =
            _mm256_broadcastsi128_si256(_mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10));
        /* What to add to six bits: 0 for 26 to 51, 1 to 10 for digits, 11 and 12 for + and /, 13 for 0 to 25. */
        const __m256i shifts = _mm256_broadcastsi128_si256(
            _mm_setr_epi8(71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 65, 0, 0));
        Py_ssize_t i;
        for (i = 0; n - i >= 28; i += 24, target += 32) {
            __m128i first = _mm_loadu_si128((const __m128i *)(source + i));
            __m128i second = _mm_loadu_si128((const __m128i *)(source + i + 12));
            __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
            __m256i in = _mm256_shuffle_epi8(both, order);
            __m256i high = _mm256_mulhi_epu16(
                _mm256_and_si256(in, _mm256_set1_epi32(0x0fc0fc00)), _mm256_set1_epi32(0x04000040));
            __m256i low = _mm256_mullo_epi16(
                _mm256_and_si256(in, _mm256_set1_epi32(0x003f03f0)), _mm256_set1_epi32(0x01000010));
            __m256i bits = _mm256_or_si256(high, low);
            __m256i kind = _mm256_or_si256(
                _mm256_subs_epu8(bits, _mm256_set1_epi8(51)),
                _mm256_and_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8(26), bits), _mm256_set1_epi8(13))
            );
            _mm256_storeu_si256((__m256i *)target, _mm256_add_epi8(bits, _mm256_shuffle_epi8(shifts, kind)));
        }
        return i;
    }
    #else
    static int has_vectors(void) { return 0; }
    static Py_ssize_t encode_vectors(char *target, const unsigned char *source, Py_ssize_t n) { return 0; }
    #endif
    """
    bint has_vectors() noexcept nogil
    Py_ssize_t encode_vectors(char *target, const uint8_t *source, Py_ssize_t n) noexcept nogil

# Two characters for each 12 bits.
cdef uint8_t _pairs[8192]
cdef bytes _ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
cdef bint _vectors = has_vectors()


cdef void _fill_table() noexcept:
    cdef const uint8_t *alphabet = <const uint8_t *>PyBytes_AS_STRING(_ALPHABET)
    cdef int i
    for i in range(4096):
        _pairs[2 * i] = alphabet[i >> 6]
        _pairs[2 * i + 1] = alphabet[i & 63]


_fill_table()


cdef inline void _two(char *target, unsigned int bits) noexcept nogil:
    memcpy(target, &_pairs[2 * (bits & 4095)], 2)


cdef inline uint64_t _big_endian(const uint8_t *source) noexcept nogil:
    """Read eight bytes, the first as the highest; compilers know this as one load."""
    return (
        <uint64_t>source[0] << 56 | <uint64_t>source[1] << 48 | <uint64_t>source[2] << 40 | <uint64_t>source[3] << 32
        | <uint64_t>source[4] << 24 | <uint64_t>source[5] << 16 | <uint64_t>source[6] << 8 | source[7]
    )


cdef char *_encode(char *target, const uint8_t *source, Py_ssize_t n, bint vectors) noexcept nogil:
    """Encode n bytes; gives where the text ends."""
    cdef uint64_t word
    cdef Py_ssize_t taken
    if vectors:
        taken = encode_vectors(target, source, n)
        source += taken
        target += taken // 3 * 4
        n -= taken
    while n >= 8:
        word = _big_endian(source)
        _two(target, <unsigned int>(word >> 52))
        _two(target + 2, <unsigned int>(word >> 40))
        _two(target + 4, <unsigned int>(word >> 28))
        _two(target + 6, <unsigned int>(word >> 16))
        source += 6
        target += 8
        n -= 6
    while n >= 3:
        word = (source[0] << 16) | (source[1] << 8) | source[2]
        _two(target, <unsigned int>(word >> 12))
        _two(target + 2, <unsigned int>word)
        source += 3
        target += 4
        n -= 3
    if n:
        word = (source[0] << 16) | (source[1] << 8 if n == 2 else 0)
        _two(target, <unsigned int>(word >> 12))
        _two(target + 2, <unsigned int>word)
        target[3] = c"="
        if n == 1:
            target[2] = c"="
        target += 4
    return target


cdef int write_base64(Writer *out, bytes data) except -1:
    """Write bytes as a base64 string with its quotes."""
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef char *target = room(out, 4 * (n // 3 + 1) + 2)
    target[0] = c'"'
    target = _encode(target + 1, <const uint8_t *>PyBytes_AS_STRING(data), n, _vectors)
    target[0] = c'"'
    out.at = target + 1
    return 0


def encode(bytes data not None, bint vectors=True):
    """Give bytes as base64; ``vectors`` False takes the way of processors without AVX2, which tests compare."""
    cdef bytes text = bytes(4 * ((len(data) + 2) // 3))
    _encode(PyBytes_AS_STRING(text), <const uint8_t *>PyBytes_AS_STRING(data), len(data), vectors and _vectors)
    return text
