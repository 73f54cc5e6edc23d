from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy


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
    CONTENT_ENCODING = 11
    CONTENT_DISPOSITION = 12
    AUTHORIZATION = 13  # Proxy-Authorization and Authentication-Info too: what holds proofs of a password
    HEADER_IDS = 14


# Methods that change a call or report of one, as their index in METHODS.
cdef enum:  # MethodId
    INVITE_ID = 1
    ACK_ID = 2
    BYE_ID = 3
    CANCEL_ID = 4
    PRACK_ID = 7
    NOTIFY_ID = 9
    PUBLISH_ID = 10
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
        ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1, ['F'] = 1, ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1,
        ['K'] = 1, ['L'] = 1, ['M'] = 1,
        ['N'] = 1, ['O'] = 1, ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1, ['V'] = 1, ['W'] = 1,
        ['X'] = 1, ['Y'] = 1, ['Z'] = 1,
        ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1,
        ['k'] = 1, ['l'] = 1, ['m'] = 1,
        ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1, ['t'] = 1, ['u'] = 1, ['v'] = 1, ['w'] = 1,
        ['x'] = 1, ['y'] = 1, ['z'] = 1,
    };
    """
    const unsigned char otus_token[256]


cdef extern from *:
    """
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "names are compared eight bytes at a time, the first in the lowest bits"
    #endif
    #define OTUS_NAME(a, b, c, d, e, f, g, h) ( \\
        (uint64_t)(a) | (uint64_t)(b) << 8 | (uint64_t)(c) << 16 | (uint64_t)(d) << 24 \\
        | (uint64_t)(e) << 32 | (uint64_t)(f) << 40 | (uint64_t)(g) << 48 | (uint64_t)(h) << 56)
    #define OTUS_VIA OTUS_NAME('v', 'i', 'a', 0, 0, 0, 0, 0)
    #define OTUS_FROM OTUS_NAME('f', 'r', 'o', 'm', 0, 0, 0, 0)
    #define OTUS_TO OTUS_NAME('t', 'o', 0, 0, 0, 0, 0, 0)
    #define OTUS_CSEQ OTUS_NAME('c', 's', 'e', 'q', 0, 0, 0, 0)
    #define OTUS_DATE OTUS_NAME('d', 'a', 't', 'e', 0, 0, 0, 0)
    #define OTUS_CALL_ID OTUS_NAME('c', 'a', 'l', 'l', '-', 'i', 'd', 0)
    #define OTUS_CONTACT OTUS_NAME('c', 'o', 'n', 't', 'a', 'c', 't', 0)
    #define OTUS_CONTENT OTUS_NAME('c', 'o', 'n', 't', 'e', 'n', 't', '-')
    #define OTUS_TYPE OTUS_NAME('t', 'y', 'p', 'e', 0, 0, 0, 0)
    #define OTUS_LENGTH OTUS_NAME('l', 'e', 'n', 'g', 't', 'h', 0, 0)
    #define OTUS_MAX_FORW OTUS_NAME('m', 'a', 'x', '-', 'f', 'o', 'r', 'w')
    #define OTUS_ARDS OTUS_NAME('a', 'r', 'd', 's', 0, 0, 0, 0)
    #define OTUS_ENCODING OTUS_NAME('e', 'n', 'c', 'o', 'd', 'i', 'n', 'g')
    #define OTUS_DISPOSIT OTUS_NAME('d', 'i', 's', 'p', 'o', 's', 'i', 't')
    #define OTUS_ION OTUS_NAME('i', 'o', 'n', 0, 0, 0, 0, 0)
    #define OTUS_AUTHORIZ OTUS_NAME('a', 'u', 't', 'h', 'o', 'r', 'i', 'z')
    #define OTUS_ATION OTUS_NAME('a', 't', 'i', 'o', 'n', 0, 0, 0)
    #define OTUS_PROXY_AU OTUS_NAME('p', 'r', 'o', 'x', 'y', '-', 'a', 'u')
    #define OTUS_THORIZAT OTUS_NAME('t', 'h', 'o', 'r', 'i', 'z', 'a', 't')
    #define OTUS_AUTHENTI OTUS_NAME('a', 'u', 't', 'h', 'e', 'n', 't', 'i')
    #define OTUS_CATION_I OTUS_NAME('c', 'a', 't', 'i', 'o', 'n', '-', 'i')
    #define OTUS_APPLICAT OTUS_NAME('a', 'p', 'p', 'l', 'i', 'c', 'a', 't')
    #define OTUS_ION_SDP OTUS_NAME('i', 'o', 'n', '/', 's', 'd', 'p', 0)
    #define OTUS_NFO OTUS_NAME('n', 'f', 'o', 0, 0, 0, 0, 0)
    """
    const uint64_t OTUS_VIA, OTUS_FROM, OTUS_TO, OTUS_CSEQ, OTUS_DATE, OTUS_CALL_ID, OTUS_CONTACT, OTUS_CONTENT
    const uint64_t OTUS_TYPE, OTUS_LENGTH
    const uint64_t OTUS_MAX_FORW, OTUS_ARDS, OTUS_ENCODING, OTUS_DISPOSIT, OTUS_ION
    const uint64_t OTUS_AUTHORIZ, OTUS_ATION, OTUS_PROXY_AU, OTUS_THORIZAT, OTUS_AUTHENTI, OTUS_CATION_I, OTUS_NFO
    const uint64_t OTUS_APPLICAT, OTUS_ION_SDP


cdef inline uint64_t lower8(const uint8_t *name, Py_ssize_t size) noexcept nogil:
    """Give up to eight bytes of a name as a number, the first in the lowest bits, letters in lower case.

    Bit 5 is the case of a letter; other marks change too.
    """
    cdef uint64_t word = 0
    if size >= 8:
        memcpy(&word, name, 8)
        return word | <uint64_t>0x2020202020202020
    memcpy(&word, name, size)     # sizes are known where it is called, so that this is no call
    return word | (<uint64_t>0x2020202020202020 & ((<uint64_t>1 << 8 * size) - 1))


cdef inline int header_id(const uint8_t *name, Py_ssize_t size) noexcept nogil:
    """Give the ``HeaderId`` of a field name, compact forms included (RFC 3261 §7.3.3, §20)."""
    cdef uint64_t word
    if size == 1:
        return compact_id(name[0] | 32)
    elif size == 2:
        return TO if lower8(name, 2) == OTUS_TO else OTHER
    elif size == 3:
        return VIA if lower8(name, 3) == OTUS_VIA else OTHER
    elif size == 4:
        word = lower8(name, 4)
        return FROM if word == OTUS_FROM else CSEQ if word == OTUS_CSEQ else DATE if word == OTUS_DATE else OTHER
    elif size == 7:
        word = lower8(name, 7)
        return CONTACT if word == OTUS_CONTACT else CALL_ID if word == OTUS_CALL_ID and name[4] == c"-" else OTHER
    elif size == 12:
        word = lower8(name, 8)
        if word == OTUS_CONTENT and name[7] == c"-":
            return CONTENT_TYPE if lower8(name + 8, 4) == OTUS_TYPE else OTHER
        return MAX_FORWARDS if word == OTUS_MAX_FORW and name[3] == c"-" and lower8(name + 8, 4) == OTUS_ARDS else OTHER
    elif size == 14:
        if lower8(name, 8) == OTUS_CONTENT and name[7] == c"-" and lower8(name + 8, 6) == OTUS_LENGTH:
            return CONTENT_LENGTH
        return OTHER
    elif size == 13:
        return AUTHORIZATION if lower8(name, 8) == OTUS_AUTHORIZ and lower8(name + 8, 5) == OTUS_ATION else OTHER
    elif size == 16:
        if lower8(name, 8) == OTUS_CONTENT and name[7] == c"-" and lower8(name + 8, 8) == OTUS_ENCODING:
            return CONTENT_ENCODING
        return OTHER
    elif size == 19:
        return _id_of_19(name)
    return OTHER


cdef inline int _id_of_19(const uint8_t *name) noexcept nogil:
    cdef uint64_t first = lower8(name, 8)
    if first == OTUS_CONTENT and name[7] == c"-":
        if lower8(name + 8, 8) == OTUS_DISPOSIT and lower8(name + 16, 3) == OTUS_ION:
            return CONTENT_DISPOSITION
        return OTHER
    elif first == OTUS_PROXY_AU and name[5] == c"-":
        return AUTHORIZATION if lower8(name + 8, 8) == OTUS_THORIZAT and lower8(name + 16, 3) == OTUS_ION else OTHER
    elif first == OTUS_AUTHENTI and name[14] == c"-":
        return AUTHORIZATION if lower8(name + 8, 8) == OTUS_CATION_I and lower8(name + 16, 3) == OTUS_NFO else OTHER
    return OTHER


cdef inline bint is_sdp(const uint8_t *kind, Py_ssize_t length) noexcept nogil:
    """Whether a Content-Type is application/sdp, with parameters or without."""
    if length < 15 or lower8(kind, 8) != OTUS_APPLICAT or lower8(kind + 8, 7) != OTUS_ION_SDP or kind[11] != c"/":
        return False
    return length == 15 or kind[15] == c";" or kind[15] == 32 or kind[15] == 9 or kind[15] == 13 or kind[15] == 10


cdef inline int compact_id(uint8_t letter) noexcept nogil:
    if letter == c"v":
        return VIA
    elif letter == c"f":
        return FROM
    elif letter == c"t":
        return TO
    elif letter == c"i":
        return CALL_ID
    elif letter == c"m":
        return CONTACT
    elif letter == c"l":
        return CONTENT_LENGTH
    elif letter == c"e":
        return CONTENT_ENCODING
    return CONTENT_TYPE if letter == c"c" else OTHER


cdef Py_ssize_t skip_crlf(const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef int classify(const uint8_t *data, Py_ssize_t size, Line *line) noexcept nogil
cdef int method_id(const uint8_t *name, Py_ssize_t size) noexcept nogil
cdef bint has_sip_field(const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef bint same_text(const uint8_t *a, const char *lower, Py_ssize_t size) noexcept nogil
cdef bint is_token(const uint8_t *text, Py_ssize_t size) noexcept nogil
cdef Py_ssize_t number(const uint8_t *text, Py_ssize_t size) noexcept nogil
