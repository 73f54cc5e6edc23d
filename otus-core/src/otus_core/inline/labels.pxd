"""Packed labels, as ``otus_core.packed_labels`` gives them: for each the length of its name and that of its text, 32
bits each, the lowest byte first; name and text in UTF-8.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from otus_core.inline.writer cimport Writer, room


cdef enum:
    LABEL_HEAD = 8              # bytes before a label's name


# One label; name and text lie inside what was read.
cdef struct Label:
    const uint8_t *name
    const uint8_t *text
    uint32_t name_len
    uint32_t text_len


cdef inline uint32_t load_little(const uint8_t *at) noexcept nogil:
    """Read 32 bits, the lowest byte first."""
    return at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24


cdef inline void store_little(char *at, uint32_t value) noexcept nogil:
    """Write 32 bits, the lowest byte first."""
    at[0] = <char>(value & 255)
    at[1] = <char>(value >> 8 & 255)
    at[2] = <char>(value >> 16 & 255)
    at[3] = <char>(value >> 24)


cdef inline const uint8_t *next_label(const uint8_t *at, const uint8_t *end, Label *found) except NULL:
    """Read one label of those between ``at`` and ``end``; gives where the next one begins.

    Raises ValueError when lengths do not fit.
    """
    if end - at < LABEL_HEAD:
        raise ValueError("packed labels are cut short")
    found.name_len = load_little(at)
    found.text_len = load_little(at + 4)
    found.name = at + LABEL_HEAD
    if <uint64_t>found.name_len + found.text_len > <uint64_t>(end - found.name):
        raise ValueError("packed labels are cut short")
    found.text = found.name + found.name_len
    return found.text + found.text_len


cdef inline int put_label(
    Writer *out, const char *name, uint32_t name_len, const uint8_t *text, uint32_t text_len
) except -1:
    """Write one label."""
    cdef char *target = room(out, LABEL_HEAD + <Py_ssize_t>name_len + text_len)
    store_little(target, name_len)
    store_little(target + 4, text_len)
    memcpy(target + LABEL_HEAD, name, name_len)
    memcpy(target + LABEL_HEAD + name_len, text, text_len)
    out.at = target + LABEL_HEAD + name_len + text_len
    return 0
