"""The records of one batch, as Kafka's message format 2 has them behind the batch's header (section "Record" of its
documentation).

In: the bodies of records, put together with the functions of the ``.pxd``. Out: one buffer that holds all of them, or,
where a codec takes blocks that do not depend on each other (snappy), all of them compressed: each block is while it is
still in the processor's cache. Lengths are zigzag varints.
"""

cimport cython
from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE, PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memcpy, memmove, memset

from otus_core.inline.writer cimport raw, release, written

cdef enum:
    FIRST_ROOM = 4096
    # From here on memory grows fourfold (what is not touched takes none), and is kept for the next batch
    LARGE = 1 << 16
    SPARES = 32
    SPARE_BYTES_MAX = 1 << 24
    # What snappy itself divides its input into; smaller blocks compress worse
    BLOCK = 1 << 16
    BLOCK_HEAD = 4

HEADER_BYTES = BATCH_HEADER

cdef extern from "Python.h":
    bytes PyUnicode_AsEncodedString(object, const char *, const char *)
    object PyMemoryView_FromMemory(char *, Py_ssize_t, int)

cdef Writer _spares[SPARES]
cdef Py_ssize_t _spare_bytes = 0


cdef int fit(Writer *out, Py_ssize_t n) except -1:
    """Make room for n more bytes in a large buffer; memory fresh from the system costs a fault a page, so that large
    memory is used again.
    """
    cdef Py_ssize_t size = out.end - out.start
    cdef Py_ssize_t used = written(out)
    cdef void *grown
    cdef int i
    global _spare_bytes
    if size - used > n:
        return 0
    size = max(size * (2 if size < LARGE else 4), used + n + 1, <Py_ssize_t>FIRST_ROOM)
    if size > LARGE:
        for i in range(SPARES):
            if _spares[i].end - _spares[i].start > used + n:
                if used:        # else there may be no memory yet, and memcpy takes no NULL
                    memcpy(_spares[i].start, out.start, used)
                PyMem_Free(out.start)
                out[0] = _spares[i]
                out.at = out.start + used
                _spare_bytes -= out.end - out.start
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
    global _spare_bytes
    cdef Py_ssize_t size = out.end - out.start
    cdef int i
    if LARGE < size <= SPARE_BYTES_MAX - _spare_bytes:
        for i in range(SPARES):
            if _spares[i].start == NULL:
                _spares[i] = out[0]
                _spare_bytes += size
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


cdef int open_field(Writer *out) except -1:
    """Leave room for the length of what follows; most are of two bytes."""
    room(out, LENGTH_GUESS)
    out.at += LENGTH_GUESS
    return 0


cdef int close_field(Writer *out, Py_ssize_t at) except -1:
    """Write the length of what was written since ``open_field`` at ``at``."""
    cdef char head[VARINT_MAX + 1]
    cdef Writer length
    cdef Py_ssize_t n = written(out) - at - LENGTH_GUESS
    cdef Py_ssize_t size
    length.start = length.at = head
    length.end = head + sizeof(head)
    put_varint(&length, n)
    size = written(&length)
    if size != LENGTH_GUESS:
        room(out, size)
        memmove(out.start + at + size, out.start + at + LENGTH_GUESS, n)
        out.at += size - LENGTH_GUESS
    memcpy(out.start + at, head, size)
    return 0


@cython.final
cdef class BatchWriter:
    """Takes the bodies of records until somebody thinks that they are enough.

    ``shares`` says how many in a row belong to which owner, and ``places`` which of that owner's messages they are.
    ``pack(block, into) -> int`` compresses a block of records and gives the size; with ``None`` they stay as they are.

    Records bear the time of the batch, which is at most a flush interval off.
    """

    def __init__(self, int64_t now_ms, pack=None, bytes magic=b""):
        self.made_ms = now_ms
        self.shares = []
        self.pack = pack
        if pack is not None:
            fit(&self.packed, BATCH_HEADER + PyBytes_GET_SIZE(magic))
            memset(self.packed.at, 0, BATCH_HEADER)
            self.packed.at += BATCH_HEADER
            raw_bytes(&self.packed, magic)

    def __dealloc__(self):
        give_back(&self.out)
        give_back(&self.packed)
        release(&self.placed)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if not self.finished:
            raise BufferError("records are still added")
        if self.pack is not None:
            PyBuffer_FillInfo(buffer, self, self.packed.start, written(&self.packed), 0, flags)
        else:
            PyBuffer_FillInfo(buffer, self, self.out.start, written(&self.out), 1, flags)
        self.views += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.views -= 1

    @property
    def size(self):
        """Bytes of the records, before compression."""
        return self.bytes_taken()

    cdef Py_ssize_t bytes_taken(self) noexcept:
        return self.packed_size + written(&self.out)

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
        cdef Py_ssize_t begun = self.begin(n)
        raw(&self.out, body, n)
        return self.commit(begun, place)

    cdef Py_ssize_t begin(self, Py_ssize_t expected) except -1:
        """Write a record's head; its body, for which ``expected`` bytes are made room for, is to follow in ``out``.
        Gives what ``commit`` or ``undo`` is to be called with.
        """
        cdef Py_ssize_t begun = written(&self.out)
        if self.finished:
            raise ValueError("the batch is finished")
        fit(&self.out, expected + RECORD_HEAD + VARINT_MAX)
        open_field(&self.out)
        self.out.at[0] = self.out.at[1] = 0     # no attributes; the time of the batch
        self.out.at += 2
        put_varint(&self.out, self.count)       # its place in the batch
        return begun

    cdef void undo(self, Py_ssize_t begun) noexcept:
        self.out.at = self.out.start + begun

    cdef int commit(self, Py_ssize_t begun, int32_t place) except -1:
        close_field(&self.out, begun)
        raw(&self.placed, <const char *>&place, sizeof(place))
        self.count += 1
        if self.pack is not None and written(&self.out) >= BLOCK:
            self.compress(BLOCK)
        return 0

    cdef int compress(self, Py_ssize_t least) except -1:
        """Compress what is there in blocks, down to a rest of less than ``least``. What the compressor raises shows
        when the batch is sealed, and costs that batch alone.
        """
        cdef Py_ssize_t n = written(&self.out)
        cdef Py_ssize_t done = 0
        cdef Py_ssize_t block
        try:
            while n - done >= least and self.fault is None:
                block = min(<Py_ssize_t>BLOCK, n - done)
                self.compress_block(self.out.start + done, block)
                done += block
        except Exception as error:
            self.fault = error
        self.packed_size += done
        if done and n > done:
            memmove(self.out.start, self.out.start + done, n - done)
        self.out.at -= done
        return 0

    cdef int compress_block(self, char *block, Py_ssize_t n) except -1:
        cdef Py_ssize_t most = 32 + n + n // 6      # snappy's MaxCompressedLength
        cdef Py_ssize_t size
        cdef int i
        fit(&self.packed, BLOCK_HEAD + most)
        size = self.pack(
            PyMemoryView_FromMemory(block, n, PyBUF_READ),
            PyMemoryView_FromMemory(self.packed.at + BLOCK_HEAD, most, PyBUF_WRITE),
        )
        if not 0 <= size <= most:
            raise ValueError("a compressor wrote more than there was room for")
        for i in range(BLOCK_HEAD):
            self.packed.at[i] = <char>(size >> 8 * (BLOCK_HEAD - 1 - i) & 255)
        self.packed.at += BLOCK_HEAD + size
        return 0

    def records(self):
        """Give all records of a finished batch, one after the other; they are there until the view is released."""
        if self.pack is not None:
            raise BufferError("the records are compressed")
        return memoryview(self)

    def blocks(self):
        """Give the records of a finished batch as they were compressed, behind room for the batch's header, to be
        written to; raises what the compressor raised.
        """
        if not self.finished or self.pack is None:
            raise BufferError("the records are not compressed")
        if self.fault is not None:
            raise self.fault
        return memoryview(self)

    def give_to(self, owner):
        """Say whose the records are that follow."""
        if self.count > self.shared:
            self.shares.append((self.owner, self.count - self.shared))
            self.shared = self.count
        self.owner = owner

    def finish(self):
        """Take no more, and hold no more than twice the memory that it takes."""
        if self.finished:
            return
        self.give_to(None)
        self.finished = True
        if self.pack is None:
            shrink(&self.out)
            return
        self.compress(1)
        give_back(&self.out)

    def let_go(self):
        """Forget the records; whose they are stays, and what is compressed for as long as somebody has it."""
        if self.views and self.pack is None:
            raise BufferError("the records are being read")
        self.finish()
        give_back(&self.out)
        if not self.views:
            give_back(&self.packed)
        self.packed_size = 0


cdef int shrink(Writer *out) except -1:
    """Give back memory of which less than half is used."""
    cdef Py_ssize_t used = written(out)
    cdef void *fitting
    if used < (out.end - out.start) // 2:
        fitting = PyMem_Realloc(out.start, used)
        if fitting != NULL:
            out.start = <char *>fitting
            out.at = out.end = out.start + used
    return 0
