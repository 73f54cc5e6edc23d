"""What JSON is made of (RFC 8259): strings and numbers, written into a ``Writer``, all of it in ASCII.

Text that JSON takes as it is goes by vectors of sixteen bytes (GCC's and Clang's vector extensions: SSE2 on x86-64,
NEON on aarch64).
"""

from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint8_t, uint64_t

from otus_core.inline.text cimport DECIMAL_MAX, print_decimal
from otus_core.inline.writer cimport Writer, room


cdef extern from *:
    """
    #ifndef OTUS_JSON
    #define OTUS_JSON
    #include <stdint.h>
    #include <string.h>

    typedef signed char otus_bytes __attribute__((vector_size(16)));
    typedef uint64_t otus_halves __attribute__((vector_size(16)));

    /* All bits of a byte are set where it is no ASCII, a control character, a quote or a backslash. */
    static inline otus_bytes otus_odd(otus_bytes text) {
        return (text < 32) | (text == 34) | (text == 92) | (text == 127);
    }

    static inline int otus_copy_plain(char *target, const uint8_t *text, Py_ssize_t n) {
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

    static inline char *otus_escape(char *target, unsigned int unit) {
        static const char digits[] = "0123456789abcdef";
        target[0] = '\\\\';
        target[1] = 'u';
        target[2] = digits[unit >> 12 & 15];
        target[3] = digits[unit >> 8 & 15];
        target[4] = digits[unit >> 4 & 15];
        target[5] = digits[unit & 15];
        return target + 6;
    }

    /* Never inlined: few texts have anything to escape. */
    static __attribute__((noinline, unused))
    Py_ssize_t otus_copy_escaped(char *target, const uint8_t *text, Py_ssize_t n) {
        char *at = target;
        const uint8_t *end = text + n;
        while (text < end) {
            if (end - text >= 8 && otus_copy_plain(at, text, 8)) {
                at += 8;
                text += 8;
                continue;
            }
            if (*text > 127)
                return -1;
            if (*text == '"' || *text == '\\\\') {
                *at++ = '\\\\';
                *at++ = (char)*text;
            } else if (*text < 32 || *text == 127) {
                at = otus_escape(at, *text);
            } else {
                *at++ = (char)*text;
            }
            text++;
        }
        return at - target;
    }
    #endif
    """
    # Copies n bytes, and tells whether all are what JSON takes as it is; the last ones are taken from the end, over
    # those before.
    bint copy_plain "otus_copy_plain" (char *target, const uint8_t *text, Py_ssize_t n) noexcept nogil
    # Writes a UTF-16 unit as six bytes, \uXXXX; gives where they end.
    char *escape "otus_escape" (char *target, unsigned int unit) noexcept nogil
    # Copies ASCII text, what JSON does not take as it is escaped, into 6 n bytes; gives how many were written, -1 where
    # a byte is not ASCII.
    Py_ssize_t copy_escaped "otus_copy_escaped" (char *target, const uint8_t *text, Py_ssize_t n) noexcept nogil


cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object)
    void *PyUnicode_DATA(object)


cdef inline bint write_escaped(Writer *out, const uint8_t *text, Py_ssize_t n) except -1:
    """Write ASCII with its quotes, when it is known that something in it is to be escaped.

    False, and nothing is written, where a byte is not ASCII.
    """
    cdef char *target = room(out, 6 * n + 2)
    cdef Py_ssize_t size = copy_escaped(target + 1, text, n)
    if size < 0:
        return False
    target[0] = c'"'
    target[size + 1] = c'"'
    out.at = target + size + 2
    return True


cdef inline bint write_plain(Writer *out, const uint8_t *text, Py_ssize_t n) except -1:
    """Write ASCII that needs no escape as a string with its quotes. False, and nothing is written, for any other."""
    cdef char *target = room(out, n + 2)
    if not copy_plain(target + 1, text, n):
        return False
    target[0] = c'"'
    target[n + 1] = c'"'
    out.at = target + n + 2
    return True


cdef inline bint write_ascii(Writer *out, const uint8_t *text, Py_ssize_t n) except -1:
    """Write ASCII as a string with its quotes. False, and nothing is written, where a byte is not ASCII."""
    return write_plain(out, text, n) or write_escaped(out, text, n)


cdef inline int write_utf8(Writer *out, const uint8_t *text, Py_ssize_t n) except -1:
    """Write UTF-8 as a string with its quotes; what is not UTF-8 becomes U+FFFD."""
    if not write_ascii(out, text, n):
        write_unicode(out, text[:n].decode("utf-8", "replace"))
    return 0


cdef inline int write_str(Writer *out, str text) except -1:
    """Write a str, which is not ``None``, as a string with its quotes."""
    if PyUnicode_IS_COMPACT_ASCII(text):
        write_ascii(out, <const uint8_t *>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))
        return 0
    return write_unicode(out, text)


cdef inline int write_unicode(Writer *out, str text) except -1:
    """Write a str that is not all ASCII: \\uXXXX outside of it, beyond U+FFFF as a surrogate pair (RFC 8259 §7)."""
    cdef char *target = room(out, 12 * PyUnicode_GET_LENGTH(text) + 2)
    cdef Py_UCS4 character
    cdef unsigned int c
    target[0] = c'"'
    target += 1
    for character in text:
        c = character
        if c > 0xFFFF:
            target = escape(target, 0xD7C0 + (c >> 10))
            target = escape(target, 0xDC00 + (c & 0x3FF))
        elif c < 32 or c > 126:
            target = escape(target, c)
        else:
            if c == 34 or c == 92:
                target[0] = 92
                target += 1
            target[0] = <char>c
            target += 1
    target[0] = c'"'
    out.at = target + 1
    return 0


cdef inline int write_number(Writer *out, int64_t value) except -1:
    """Write a whole number."""
    cdef char *target = room(out, DECIMAL_MAX + 1)
    if value < 0:
        target[0] = c"-"
        out.at = print_decimal(target + 1, 0 - <uint64_t>value)
    else:
        out.at = print_decimal(target, <uint64_t>value)
    return 0
