from libc.stdint cimport uint8_t, uint32_t


# A name-addr or addr-spec inside a From, To or Contact value; pointers into the message, NULL where there is none.
cdef struct Address:
    const uint8_t *display
    const uint8_t *uri
    const uint8_t *parameters       # what follows, from the first ';' on
    const char *error               # what is wrong with it, or NULL
    uint32_t display_len
    uint32_t uri_len
    uint32_t parameters_len
    uint8_t quoted                  # whether the display name stood in quotes, which are left out


cdef inline bint is_white(uint8_t c) noexcept nogil:
    """Whether it is linear white space, of which line ends within a field are a part (RFC 3261 §25.1 LWS)."""
    return c <= 32 and ((c == 32) | (c == 9) | (c == 13) | (c == 10))


cdef void read_address(const uint8_t *text, Py_ssize_t size, Address *found) noexcept nogil
cdef bint find_parameter(const uint8_t *text, Py_ssize_t size, const char *name, Py_ssize_t name_len,
                         const uint8_t **value, Py_ssize_t *value_len) noexcept nogil
cdef Py_ssize_t value_end(const uint8_t *text, Py_ssize_t size) noexcept nogil
cdef Py_ssize_t parameter_end(const uint8_t *text, Py_ssize_t at, Py_ssize_t size) noexcept nogil
