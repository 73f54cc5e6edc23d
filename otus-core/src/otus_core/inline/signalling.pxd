"""What a SIP message says of its call, as a parser of SIP gives it to whoever follows calls.

``packed_signalling()`` of a message gives a ``Signalling`` and then its texts, in the order of their sizes, as bytes.
Its ``packed_fields(names)`` gives header fields, one behind the other: a ``FieldHead``, the name in lower case, the
value. A compiled parser may offer the same without an object for each answer: the class of its messages then has a
capsule (https://docs.python.org/3/c-api/capsule.html) ``SIGNALLING``, which holds a ``SignallingEntry``.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int32_t, uint8_t, uint16_t
from libc.string cimport memcpy

from otus_core.inline.writer cimport Writer


cdef enum:
    SIGNALLING_TEXT_MAX = 256   # bytes of each text but the last
    SIGNALLING_LINE_MAX = 512
    FIELD_VALUE_MAX = 8192      # bytes of a header field's value
    SIGNALLING_TEXTS = 6
    SIGNALLING_VERSION = 1


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


# What messages of one class answer; ``message`` is one of exactly that class.
cdef struct SignallingEntry:
    int version
    # Fills in the head, and where the texts begin in the message: good for as long as the message is held
    void (*look)(object message, Signalling *head, const char **texts) noexcept
    # Gives what ``fields`` takes for a frozenset of names in lower case
    object (*choose)(object names)
    # Writes the header fields that were chosen, as ``packed_fields`` gives them
    int (*fields)(object message, object chosen, Writer *out) except -1
    # Finds the session description, content coding undone; gives what has to be held while it is read, or None
    object (*description)(object message, const char **text, Py_ssize_t *size)


cdef inline const SignallingEntry *signalling_entry(object kind) except? NULL:
    """Give what messages of a class answer, NULL where they have no capsule. Raises ImportError for another version."""
    cdef const SignallingEntry *entry
    capsule = getattr(kind, "SIGNALLING", None)
    if capsule is None:
        return NULL
    entry = <const SignallingEntry *>PyCapsule_GetPointer(capsule, b"SIGNALLING")
    if entry.version != SIGNALLING_VERSION:
        raise ImportError(f"compiled for version {<int>SIGNALLING_VERSION} of signalling, not {entry.version}")
    return entry


cdef inline bytes pack_signalling(const Signalling *head, const char **texts):
    """Give a head and its texts as ``packed_signalling`` does."""
    cdef const uint16_t *sizes = &head.call_id
    cdef Py_ssize_t total = sizeof(Signalling)
    cdef bytes packed
    cdef char *at
    cdef int i
    for i in range(SIGNALLING_TEXTS):
        total += sizes[i]
    packed = PyBytes_FromStringAndSize(NULL, total)
    at = PyBytes_AS_STRING(packed)
    memcpy(at, head, sizeof(Signalling))
    at += sizeof(Signalling)
    for i in range(SIGNALLING_TEXTS):
        memcpy(at, texts[i], sizes[i])
        at += sizes[i]
    return packed


cdef inline const Signalling *unpack_signalling(bytes packed, const char **texts) noexcept:
    """Give the head of what ``packed_signalling`` gave, and where its texts begin."""
    cdef const Signalling *head = <const Signalling *>PyBytes_AS_STRING(packed)
    cdef const uint16_t *sizes = &head.call_id
    cdef const char *at = <const char *>head + sizeof(Signalling)
    cdef int i
    for i in range(SIGNALLING_TEXTS):
        texts[i] = at
        at += sizes[i]
    return head


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
