"""The records of one batch, as Kafka's message format 2 has them behind the batch's header (section "Record" of its documentation).

In: the bodies of records, put together with the functions of the ``.pxd``. Out: one buffer that holds all of them. Lengths are zigzag varints.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc

cdef enum:
    FIRST_ROOM = 4096
    LARGE = 1 << 16             # from here on memory grows fourfold (what is not touched takes none), and is kept for the next batch
    SPARES = 4
    SPARE_MAX = 1 << 22

HEADER_BYTES = BATCH_HEADER

cdef extern from "Python.h":
    bytes PyUnicode_AsEncodedString(object, const char *, const char *)

cdef Memory _spares[SPARES]


cdef int grow(Memory *memory, Py_ssize_t n) except -1:
    """Make room for n more bytes; memory fresh from the system costs a fault a page, so that large memory is used again."""
    cdef Py_ssize_t size = max(memory.size * (2 if memory.size < LARGE else 4), memory.used + n, <Py_ssize_t>FIRST_ROOM)
    cdef Memory old
    cdef void *grown
    cdef int i
    if size > LARGE:
        for i in range(SPARES):
            if _spares[i].size >= memory.used + n:
                old, memory[0] = memory[0], _spares[i]
                memory.used = old.used
                memcpy(memory.at, old.at, old.used)
                _spares[i].at, _spares[i].size = NULL, 0
                PyMem_Free(old.at)
                return 0
    grown = PyMem_Realloc(memory.at, size)
    if grown == NULL:
        raise MemoryError
    memory.at = <char *>grown
    memory.size = size
    return 0


cdef void give_back(Memory *memory) noexcept:
    """Keep the memory for somebody else, or free it."""
    cdef int i
    if LARGE < memory.size <= SPARE_MAX:
        for i in range(SPARES):
            if _spares[i].at == NULL:
                _spares[i] = memory[0]
                memory.at = NULL
                break
    PyMem_Free(memory.at)
    memory.at = NULL
    memory.size = memory.used = 0


def encode_text(str text not None):
    """Give text as UTF-8; bytes that were not UTF-8 in the packet become themselves again."""
    try:
        return PyUnicode_AsEncodedString(text, b"utf-8", b"strict")
    except UnicodeEncodeError:
        pass
    try:
        return PyUnicode_AsEncodedString(text, b"utf-8", b"surrogateescape")
    except UnicodeEncodeError:  # halves of surrogate pairs that no byte was
        return PyUnicode_AsEncodedString(text, b"utf-8", b"replace")


cdef bytes encode_name(str name):
    """Give the name of a header, always UTF-8: readers decode it."""
    return PyUnicode_AsEncodedString(name, b"utf-8", b"replace")


def record_body(bytes key, bytes value, headers):
    """Give what follows a record's head: key, value, and headers as pairs of str and bytes."""
    cdef Memory memory
    memory.at, memory.size, memory.used = NULL, 0, 0
    try:
        put_field(&memory, key)
        put_field(&memory, value)
        put_varint(&memory, len(headers))
        for name, content in headers:
            put_field(&memory, encode_name(name))
            put_field(&memory, content)
        return PyBytes_FromStringAndSize(memory.at, memory.used)
    finally:
        PyMem_Free(memory.at)


@cython.final
cdef class BatchWriter:
    """Takes the bodies of records until somebody thinks that they are enough. ``shares`` says how many in a row belong to which owner, and
    ``places`` which of that owner's messages they are.

    Records bear the time of the batch, which is at most a flush interval off.
    """

    def __init__(self, int64_t now_ms):
        self.made_ms = now_ms
        self.shares = []

    def __dealloc__(self):
        give_back(&self.memory)
        give_back(&self.placed)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if not self.finished:
            raise BufferError("records are still added")
        PyBuffer_FillInfo(buffer, self, self.memory.at, self.memory.used, 1, flags)
        self.views += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.views -= 1

    @property
    def size(self):
        """Bytes of the records."""
        return self.memory.used

    def append(self, bytes body not None, int32_t place=0):
        """Add one record, which is its owner's message number ``place``."""
        self.add(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), place)

    def places(self, Py_ssize_t start, Py_ssize_t count):
        """Give the places of ``count`` records from number ``start`` on."""
        cdef const int32_t *at = <const int32_t *>self.placed.at
        if start < 0 or count < 0 or start + count > self.count:
            raise IndexError("there are not so many records")
        return [at[start + i] for i in range(count)]

    cdef int add(self, const char *body, Py_ssize_t n, int32_t place) except -1:
        cdef char head[24]
        cdef Memory memory
        if self.finished:
            raise ValueError("the batch is finished")
        room(&self.memory, n + RECORD_HEAD)
        memory.at, memory.size, memory.used = head, sizeof(head), 0
        memory.at[0] = memory.at[1] = 0     # no attributes; the time of the batch
        memory.used = 2
        put_varint(&memory, self.count)     # its place in the batch
        put_varint(&self.memory, memory.used + n)
        put(&self.memory, head, memory.used)
        put(&self.memory, body, n)
        put(&self.placed, <const char *>&place, sizeof(place))
        self.count += 1
        return 0

    def records(self):
        """Give all records of a finished batch, one after the other; they are there until the view is released."""
        return memoryview(self)

    def give_to(self, owner):
        """Say whose the records are that follow."""
        if self.count > self.shared:
            self.shares.append((self.owner, self.count - self.shared))
            self.shared = self.count
        self.owner = owner

    def finish(self):
        """Take no more, and hold no more than twice the memory that it takes."""
        cdef void *fitting
        self.give_to(None)
        self.finished = True
        if self.memory.used < self.memory.size // 2 and not self.views:
            fitting = PyMem_Realloc(self.memory.at, self.memory.used)
            if fitting != NULL:
                self.memory.at = <char *>fitting
                self.memory.size = self.memory.used

    def let_go(self):
        """Forget the records; whose they are stays."""
        if self.views:
            raise BufferError("the records are being read")
        self.finish()
        give_back(&self.memory)
