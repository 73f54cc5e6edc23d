"""What is kept of a session description: the lines that ``sdp.read_sdp`` reads, because two of each call are kept."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

def brief(bytes body not None):
    """Give a description without the lines that nothing here is told of: ``read_sdp`` reads the same in both."""
    cdef char kept[BRIEF_ROOM]
    return PyBytes_FromStringAndSize(kept, make_brief(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), kept))


cdef Py_ssize_t make_brief(const char *at, Py_ssize_t size, char *kept) noexcept:
    """Write what is kept of a description where there are ``BRIEF_ROOM`` bytes; gives how many they are."""
    cdef const char *end = at + min(size, BRIEF_MAX)
    cdef const char *line_end
    cdef const char *after
    cdef Py_ssize_t used = 0
    if _is_odd(at, end - at):
        memcpy(kept, at, end - at)
        return end - at
    while at < end:
        line_end = <const char *>memchr(at, c"\n", end - at)
        if line_end == NULL:
            line_end = end
        after = line_end + 1
        if line_end > at and (line_end - 1)[0] == c"\r":
            line_end -= 1
        size = line_end - at
        if size == 1 or (size >= 2 and at[1] == c"="):      # ``m`` alone is a line of that kind, without a value
            size = _worth(at, size)
            if size:
                memcpy(kept + used, at, size)
                used += size
                kept[used] = c"\n"
                used += 1
        at = after
    return used


cdef Py_ssize_t _worth(const char *line, Py_ssize_t size) noexcept:
    """Give how many bytes of a line are worth keeping."""
    cdef const char *space
    cdef const char *slash
    if line[0] == c"m" or line[0] == c"c":
        return size
    if line[0] != c"a":
        return 0
    if size >= 8 and memcmp(line + 2, b"rtpmap", 6) == 0:       # RFC 8866 §6.6: the clock rate is not told
        space = <const char *>memchr(line, c" ", size)
        slash = NULL if space == NULL else <const char *>memchr(space, c"/", size - (space - line))
        return size if slash == NULL else slash - line
    if size >= 10 and (line[2] == c"s" or line[2] == c"r" or line[2] == c"i"):      # of the directions, §6.7
        return size
    return 0


cdef bint _is_odd(const char *text, Py_ssize_t size) noexcept:
    """Whether a line ends with CR alone: ``read_sdp`` takes that as well.

    Without branches, so that the compiler looks at many bytes at a time.
    """
    cdef Py_ssize_t i
    cdef char odd = 0
    if size == 0:
        return False
    for i in range(size - 1):
        odd |= (text[i] == 13) & (text[i + 1] != 10)
    return odd or text[size - 1] == 13
