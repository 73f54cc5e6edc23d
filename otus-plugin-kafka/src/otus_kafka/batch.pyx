"""The records of one batch, as Kafka's message format 2 has them behind the batch's header (section "Record" of its
documentation).

In: the bodies of records, put together with the functions of the ``.pxd``. Out: one buffer that holds all of them.
Lengths are zigzag varints.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memcpy, memset

from otus_core.inline.writer cimport raw, release, written

cdef enum:
    FIRST_ROOM = 4096
    # From here on memory grows fourfold (what is not touched takes none), and is kept for the next batch
    LARGE = 1 << 16
    SPARES = 4
    SPARE_MAX = 1 << 22

HEADER_BYTES = BATCH_HEADER

cdef extern from "Python.h":
    bytes PyUnicode_AsEncodedString(object, const char *, const char *)

cdef Writer _spares[SPARES]


cdef int fit(Writer *out, Py_ssize_t n) except -1:
    """Make room for n more bytes in a large buffer; memory fresh from the system costs a fault a page, so that large
    memory is used again.
    """
    cdef Py_ssize_t size = out.end - out.start
    cdef Py_ssize_t used = written(out)
    cdef void *grown
    cdef int i
    if size - used > n:
        return 0
    size = max(size * (2 if size < LARGE else 4), used + n + 1, <Py_ssize_t>FIRST_ROOM)
    if size > LARGE:
        for i in range(SPARES):
            if _spares[i].end - _spares[i].start > used + n:
                memcpy(_spares[i].start, out.start, used)
                PyMem_Free(out.start)
                out[0] = _spares[i]
                out.at = out.start + used
                memset(&_spares[i], 0, sizeof(Writer))
                return 0
    grown = PyMem_Realloc(out.start, size)
    if grown == NULL:
        raise MemoryError
    out.start = <char *>grown
    out.at = out.start + used
    out.end = out.start + size
    return 0


cdef void give_back(Writer *out) noexcept:
    """Keep the memory for somebody else, or free it."""
    cdef int i
    if LARGE < out.end - out.start <= SPARE_MAX:
        for i in range(SPARES):
            if _spares[i].start == NULL:
                _spares[i] = out[0]
                memset(out, 0, sizeof(Writer))
                return
    release(out)


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
    cdef Writer out
    memset(&out, 0, sizeof(Writer))
    try:
        put_field(&out, key)
        put_field(&out, value)
        put_varint(&out, len(headers))
        for name, content in headers:
            put_field(&out, encode_name(name))
            put_field(&out, content)
        return PyBytes_FromStringAndSize(out.start, written(&out))
    finally:
        release(&out)


@cython.final
cdef class BatchWriter:
    """Takes the bodies of records until somebody thinks that they are enough.

    ``shares`` says how many in a row belong to which owner, and ``places`` which of that owner's messages they are.

    Records bear the time of the batch, which is at most a flush interval off.
    """

    def __init__(self, int64_t now_ms):
        self.made_ms = now_ms
        self.shares = []

    def __dealloc__(self):
        give_back(&self.out)
        release(&self.placed)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if not self.finished:
            raise BufferError("records are still added")
        PyBuffer_FillInfo(buffer, self, self.out.start, written(&self.out), 1, flags)
        self.views += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.views -= 1

    @property
    def size(self):
        """Bytes of the records."""
        return written(&self.out)

    def append(self, bytes body not None, int32_t place=0):
        """Add one record, which is its owner's message number ``place``."""
        self.add(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), place)

    def places(self, Py_ssize_t start, Py_ssize_t count):
        """Give the places of ``count`` records from number ``start`` on."""
        cdef const int32_t *at = <const int32_t *>self.placed.start
        if start < 0 or count < 0 or start + count > self.count:
            raise IndexError("there are not so many records")
        return [at[start + i] for i in range(count)]

    cdef int add(self, const char *body, Py_ssize_t n, int32_t place) except -1:
        cdef char head[2 + VARINT_MAX + 1]
        cdef Writer first
        if self.finished:
            raise ValueError("the batch is finished")
        fit(&self.out, n + RECORD_HEAD + VARINT_MAX)
        first.start, first.at, first.end = head, head + 2, head + sizeof(head)
        head[0] = head[1] = 0               # no attributes; the time of the batch
        put_varint(&first, self.count)      # its place in the batch
        put_varint(&self.out, written(&first) + n)
        raw(&self.out, head, written(&first))
        raw(&self.out, body, n)
        raw(&self.placed, <const char *>&place, sizeof(place))
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
        cdef Py_ssize_t used = written(&self.out)
        cdef void *fitting
        self.give_to(None)
        self.finished = True
        if used < (self.out.end - self.out.start) // 2 and not self.views:
            fitting = PyMem_Realloc(self.out.start, used)
            if fitting != NULL:
                self.out.start = <char *>fitting
                self.out.at = self.out.end = self.out.start + used

    def let_go(self):
        """Forget the records; whose they are stays."""
        if self.views:
            raise BufferError("the records are being read")
        self.finish()
        give_back(&self.out)
