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


# Methods that change a call, as their index in METHODS.
cdef enum:  # MethodId
    INVITE_ID = 1
    ACK_ID = 2
    BYE_ID = 3
    CANCEL_ID = 4
    PRACK_ID = 7
    UPDATE_ID = 14


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
    uint8_t known               # of a request: its index in METHODS, 0 for others


cdef extern from *:
    """
    /* RFC 3261 section 25.1 token: letters, digits and -.!%*_+`'~ */
    __attribute__((unused)) static const unsigned char otus_token[256] = {
        ['!'] = 1, ['%'] = 1, [39] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1, ['_'] = 1, ['`'] = 1, ['~'] = 1,
        ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1,
        ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1, ['F'] = 1, ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1, ['L'] = 1, ['M'] = 1,
        ['N'] = 1, ['O'] = 1, ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1, ['V'] = 1, ['W'] = 1, ['X'] = 1, ['Y'] = 1, ['Z'] = 1,
        ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1,
        ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1, ['t'] = 1, ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1,
    };
    """
    const unsigned char otus_token[256]


cdef inline bint _is(const uint8_t *name, const char *lower, int size) noexcept nogil:
    """Compare a token with a name in lower case that is made of letters and hyphens: bit 5 is the case of a letter, and set in a hyphen."""
    cdef int i
    cdef uint8_t differs = 0
    for i in range(size):
        differs |= (name[i] | 32) ^ <uint8_t>lower[i]
    return differs == 0


cdef inline int header_id(const uint8_t *name, Py_ssize_t size) noexcept nogil:
    """Give the ``HeaderId`` of a field name, a token; compact forms included (RFC 3261 §7.3.3, §20)."""
    cdef uint8_t first = name[0] | 32
    if size == 1:
        if first == c"v":
            return VIA
        elif first == c"f":
            return FROM
        elif first == c"t":
            return TO
        elif first == c"i":
            return CALL_ID
        elif first == c"m":
            return CONTACT
        elif first == c"l":
            return CONTENT_LENGTH
        return CONTENT_TYPE if first == c"c" else OTHER
    elif size == 2:
        return TO if _is(name, b"to", 2) else OTHER
    elif size == 3:
        return VIA if _is(name, b"via", 3) else OTHER
    elif size == 4:
        if first == c"f":
            return FROM if _is(name, b"from", 4) else OTHER
        elif first == c"c":
            return CSEQ if _is(name, b"cseq", 4) else OTHER
        return DATE if _is(name, b"date", 4) else OTHER
    elif size == 7:
        if first != c"c":
            return OTHER
        return CALL_ID if _is(name, b"call-id", 7) else CONTACT if _is(name, b"contact", 7) else OTHER
    elif size == 12:
        if first == c"c":
            return CONTENT_TYPE if _is(name, b"content-type", 12) else OTHER
        return MAX_FORWARDS if _is(name, b"max-forwards", 12) else OTHER
    elif size == 14:
        return CONTENT_LENGTH if _is(name, b"content-length", 14) else OTHER
    return OTHER


cdef Py_ssize_t skip_crlf(const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef int classify(const uint8_t *data, Py_ssize_t size, Line *line) noexcept nogil
cdef int method_id(const uint8_t *name, Py_ssize_t size) noexcept nogil
cdef bint has_sip_field(const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef bint same_text(const uint8_t *a, const char *lower, Py_ssize_t size) noexcept nogil
cdef bint is_token(const uint8_t *text, Py_ssize_t size) noexcept nogil
cdef Py_ssize_t number(const uint8_t *text, Py_ssize_t size) noexcept nogil
