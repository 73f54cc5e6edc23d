from libc.stdint cimport uint8_t


# A name-addr or addr-spec inside a From, To or Contact value; pointers into the message, NULL where there is none.
cdef struct Address:
    const uint8_t *display
    Py_ssize_t display_len
    const uint8_t *uri
    Py_ssize_t uri_len
    const uint8_t *parameters       # what follows, from the first ';' on
    Py_ssize_t parameters_len
    const char *error               # what is wrong with it, or NULL


cdef void read_address(const uint8_t *text, Py_ssize_t size, Address *found) noexcept nogil
cdef bint find_parameter(const uint8_t *text, Py_ssize_t size, const char *name, Py_ssize_t name_len,
                         const uint8_t **value, Py_ssize_t *value_len) noexcept nogil
cdef Py_ssize_t value_end(const uint8_t *text, Py_ssize_t size) noexcept nogil
