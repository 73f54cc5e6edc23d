from libc.stdint cimport uint8_t, uint16_t, uint32_t


# Header fields that are looked at; OTHER for all else.
cdef enum:  # HeaderId
    OTHER = 0
    VIA = 1
    FROM = 2
    TO = 3
    CALL_ID = 4
    CSEQ = 5
    CONTACT = 6
    CONTENT_LENGTH = 7
    CONTENT_TYPE = 8
    MAX_FORWARDS = 9
    DATE = 10
    HEADER_IDS = 11


# What the first line says of a payload.
cdef enum:  # StartLine
    NOT_SIP = 0         # somebody else's
    REQUEST = 1
    RESPONSE = 2
    MALFORMED = 3       # holds "SIP/", but is no start line


# One header field, folded lines included; offsets from the start of the message.
cdef struct Field:
    uint32_t name
    uint32_t value
    uint32_t value_len
    uint16_t name_len
    uint8_t id
    uint8_t folded


cdef struct Line:
    uint32_t method_len         # of a request
    uint32_t uri
    uint32_t uri_len
    uint32_t status             # of a response
    uint32_t reason
    uint32_t reason_len
    uint32_t end                # where the header fields begin
    uint8_t kind                # a StartLine


cdef Py_ssize_t skip_crlf(const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef int classify(const uint8_t *data, Py_ssize_t size, bint on_port, Line *line) noexcept nogil
cdef int method_id(const uint8_t *name, Py_ssize_t size) noexcept nogil
cdef int header_id(const uint8_t *name, Py_ssize_t size) noexcept nogil
cdef bint has_sip_field(const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef bint same_text(const uint8_t *a, const char *lower, Py_ssize_t size) noexcept nogil
cdef bint is_token(const uint8_t *text, Py_ssize_t size) noexcept nogil
cdef Py_ssize_t number(const uint8_t *text, Py_ssize_t size) noexcept nogil
