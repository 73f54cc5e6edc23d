"""What a SIP message says of its call, as bytes that a parser of SIP gives to whoever follows calls.

``packed_signalling()`` of a message gives a ``Signalling`` and then its texts, in the order of their sizes. Its
``packed_fields(names)`` gives header fields, one behind the other: a ``FieldHead``, the name in lower case, the value.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t
from libc.string cimport memcpy


cdef enum:
    SIGNALLING_TEXT_MAX = 256   # bytes of each text but the last
    SIGNALLING_LINE_MAX = 512
    FIELD_VALUE_MAX = 8192      # bytes of a header field's value


cdef enum:  # Method
    OTHER_METHOD = 0
    INVITE = 1
    ACK = 2
    BYE = 3
    CANCEL = 4
    OPTIONS = 5
    REGISTER = 6
    PRACK = 7
    SUBSCRIBE = 8
    NOTIFY = 9
    PUBLISH = 10
    INFO = 11
    REFER = 12
    MESSAGE = 13
    UPDATE = 14


cdef struct Signalling:
    int32_t cseq            # modulo 2 ** 31, -1 where there is none
    uint16_t status         # 0 for a request
    uint16_t method         # a Method; of a response, that of its CSeq
    uint16_t call_id        # this and the following are sizes of texts
    uint16_t from_tag
    uint16_t to_tag
    uint16_t branch         # of the newest Via
    uint16_t method_name
    uint16_t line           # of a response the reason phrase, of a request its Request-URI


cdef struct FieldHead:
    uint16_t name
    uint16_t value


cdef inline const char *next_field(const char *at, const char *end, FieldHead *head) noexcept nogil:
    """Read the head of a field; gives where its name begins, behind which its value stands, or NULL at the end."""
    if end - at < <Py_ssize_t>sizeof(FieldHead):
        return NULL
    memcpy(head, at, sizeof(FieldHead))
    at += sizeof(FieldHead)
    return at if end - at >= head.name + head.value else NULL


cdef inline Py_ssize_t whole_letters(const char *text, Py_ssize_t size, Py_ssize_t most) noexcept nogil:
    """Give how many bytes of UTF-8, at most so many, hold no part of a letter alone."""
    if size <= most:
        return size
    size = most
    while size > 0 and (<uint8_t>text[size] & 0xC0) == 0x80:
        size -= 1
    return size
