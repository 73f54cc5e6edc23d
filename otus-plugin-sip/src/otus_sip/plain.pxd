"""Copying text that JSON takes as it is, by vectors of sixteen bytes (GCC's and Clang's vector extensions: SSE2 on x86-64, NEON on aarch64)."""

from libc.stdint cimport uint8_t


cdef extern from *:
    """
    #ifndef OTUS_PLAIN
    #define OTUS_PLAIN
    #include <stdint.h>
    #include <string.h>

    typedef signed char otus_bytes __attribute__((vector_size(16)));
    typedef uint64_t otus_halves __attribute__((vector_size(16)));

    /* All bits of a byte are set where it is no ASCII, a control character, a quote or a backslash. */
    static inline otus_bytes otus_odd(otus_bytes text) {
        return (text < 32) | (text == 34) | (text == 92) | (text == 127);
    }

    static inline int copy_plain(char *target, const uint8_t *text, Py_ssize_t n) {
        otus_bytes part, odd = {0};
        otus_halves halves;
        Py_ssize_t i;
        if (n >= 16) {
            for (i = 0; i < n - 16; i += 16) {
                memcpy(&part, text + i, 16);
                memcpy(target + i, &part, 16);
                odd |= otus_odd(part);
            }
            memcpy(&part, text + n - 16, 16);
            memcpy(target + n - 16, &part, 16);
        } else {
            uint64_t low = 0x2020202020202020ULL, high = low;
            if (n >= 8) {
                memcpy(&low, text, 8);
                memcpy(&high, text + n - 8, 8);
                memcpy(target, &low, 8);
                memcpy(target + n - 8, &high, 8);
            } else if (n >= 4) {
                uint32_t first, last;
                memcpy(&first, text, 4);
                memcpy(&last, text + n - 4, 4);
                memcpy(target, &first, 4);
                memcpy(target + n - 4, &last, 4);
                low = first | (uint64_t)last << 32;
            } else {
                for (i = 0; i < n; i++) {
                    target[i] = (char)text[i];
                    low = low << 8 | text[i];
                }
            }
            halves = (otus_halves){low, high};
            part = (otus_bytes)halves;
        }
        odd |= otus_odd(part);
        halves = (otus_halves)odd;
        return (halves[0] | halves[1]) == 0;
    }
    #endif
    """
    # Copies n bytes, and tells whether all are what JSON takes as it is; the last ones are taken from the end, over those before.
    bint copy_plain(char *target, const uint8_t *text, Py_ssize_t n) noexcept nogil
