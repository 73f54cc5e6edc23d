from libc.stdint cimport uint8_t

cdef enum:
    MEDIA_MAX = 64          # m= lines of one description; conferences have a dozen
    FORMATS_MAX = 64        # formats of one m= line, and its rtpmap lines


# A piece of a description; no start means that there is none.
cdef struct Text:
    const uint8_t *start
    Py_ssize_t size


# One m= line with what belongs to it. An unreadable line keeps its place: line i of an answer belongs to line i of the
# offer (RFC 3264 §6).
cdef struct Medium:
    Text kind
    Text protocol
    Text formats                # all of them
    Text address                # of its c= line, or the session's
    Text rtcp_address
    Text direction
    Text attributes             # the lines behind the m= line
    int port                    # -1 where the line cannot be read
    int rtcp_port               # 0 where there is no a=rtcp
    bint rtcp_mux


cdef struct Description:
    Text origin
    Text name
    Text address
    Text direction
    int count
    Medium media[MEDIA_MAX]


cdef inline bint blank(uint8_t c) noexcept nogil:
    return c == 32 or c == 9


cdef inline Text next_word(Text *rest) noexcept nogil:
    """Take the next word; its size is 0 when there is none."""
    cdef Text word
    cdef const uint8_t *at = rest.start
    cdef const uint8_t *end = at + rest.size
    while at < end and blank(at[0]):
        at += 1
    word.start = at
    while at < end and not blank(at[0]):
        at += 1
    word.size = at - word.start
    rest.start = at
    rest.size = end - at
    return word


cdef void read_description(const uint8_t *data, Py_ssize_t size, Description *found) noexcept nogil
cdef bint next_attribute(Text *rest, Text *value) noexcept nogil
cdef bint next_rtpmap(Text *attributes, Text *value) noexcept nogil
