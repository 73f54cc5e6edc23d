"""Text of messages in which lines may be folded: each fold is one blank of the value (RFC 3261 §7.3.1)."""

from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr

from otus_core.inline.json cimport write_escaped, write_str


cdef int write_folded(Writer *out, const uint8_t *text, Py_ssize_t n) except -1:
    """Write bytes that are not all plain: what is neither ASCII nor UTF-8 becomes U+FFFD."""
    cdef str value
    if memchr(text, c"\n", n) == NULL and write_escaped(out, text, n):
        return 0
    value = PyUnicode_DecodeUTF8(<const char *>text, n, b"replace")
    return write_str(out, unfold(value) if "\n" in value else value)


cdef str unfold(str value):
    """Join lines with one blank, as one value."""
    return " ".join([part for part in [line.strip(" \t\r") for line in value.split("\n")] if part])
