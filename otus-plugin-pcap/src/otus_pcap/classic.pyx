"""Walks the records of a pcap file: one header, then frames, each after 16 bytes of time and lengths.

The format is draft-ietf-opsawg-pcap. In: a chunk. Out: frames in the selection, or a fault with its place.
"""

from otus_core import BpfInvalid

cimport cython

from otus_pcap.chunk cimport Chunk, swap32
from otus_pcap.limits cimport FRAME_MAX, SECOND_NS
from otus_pcap.select cimport Selection

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

cdef enum:
    HEADER_SIZE = 24
    RECORD_SIZE = 16
    # Kuznetzov's patched libpcap, in Red Hat Linux 6: interface, protocol and packet type follow
    MODIFIED_RECORD_SIZE = 24

cdef uint32_t MAGIC_MICRO = 0xA1B2C3D4
cdef uint32_t MAGIC_NANO = 0xA1B23C4D
cdef uint32_t MAGIC_MODIFIED = 0xA1B2CD34
MAGICS = {MAGIC_MICRO, MAGIC_NANO, MAGIC_MODIFIED}

# Lengths came in the other order before version 2.3, in 2.3 sometimes, and in 543.0, which DG/UX wrote (libpcap,
# sf-pcap.c).
cdef enum:
    IN_ORDER = 0
    PERHAPS_SWAPPED = 1
    SWAPPED = 2


@cython.final
cdef class PcapWalker:
    """Frames of one pcap file. ``fault`` is set, ``(reason, offset)``, when it cannot go on."""

    cdef Chunk _chunk
    cdef Selection _selection
    cdef readonly object fault
    cdef readonly bint begun
    cdef readonly int link_type
    cdef bint _foreign              # the other byte order
    cdef int _lengths
    cdef uint32_t _fraction_ns
    cdef Py_ssize_t _record_size

    def __init__(self, Chunk chunk not None, Selection selection not None):
        self._chunk = chunk
        self._selection = selection

    def walk(self):
        """Take what whole records there are, as far as the selection has room."""
        if self.fault is None and (self.begun or self._begin()):
            self._records()

    def end(self):
        """Say that no more bytes come; a record that was begun is a fault."""
        cdef Py_ssize_t left = self._chunk.there()
        if self.fault is not None:
            return
        if not self.begun:
            self.fault = ("the file ends inside its header", self._chunk.base + self._chunk.end)
        elif left:
            self.fault = (f"the file ends inside a packet record: {left} bytes of it are there", self._chunk.offset)

    cdef bint _begin(self) except -1:
        """Read the file's header when it is there."""
        cdef Chunk chunk = self._chunk
        cdef Py_ssize_t at = chunk.start
        cdef uint32_t magic
        cdef uint32_t major
        cdef uint32_t minor
        chunk.needed = HEADER_SIZE
        if chunk.there() < HEADER_SIZE:
            return False
        magic = chunk.u32(at, False)
        self._foreign = magic not in MAGICS
        magic = chunk.u32(at, self._foreign)
        major = chunk.u16(at + 4, self._foreign)
        minor = chunk.u16(at + 6, self._foreign)
        if magic not in MAGICS:
            self.fault = (f"not a pcap file (magic {magic:#010x})", chunk.offset)
            return False
        if major < 2:
            self.fault = (f"pcap version {major}.{minor} is not supported", chunk.offset + 4)
            return False
        self._lengths = IN_ORDER
        if major == 543 or (major == 2 and minor < 3):
            self._lengths = SWAPPED
        elif major == 2 and minor == 3:
            self._lengths = PERHAPS_SWAPPED
        self._fraction_ns = 1 if magic == MAGIC_NANO else 1000
        self._record_size = MODIFIED_RECORD_SIZE if magic == MAGIC_MODIFIED else RECORD_SIZE
        # The upper half tells of a frame check sequence and is reserved (draft-ietf-opsawg-pcap §4); the decoder cuts
        # frames by the IP length.
        self.link_type = chunk.u32(at + 20, self._foreign) & 0xFFFF
        try:
            self._selection.check(<uint16_t>self.link_type)
        except BpfInvalid as error:
            self.fault = (str(error), chunk.offset + 20)
            return False
        chunk.start += HEADER_SIZE
        self.begun = True
        return True

    cdef int _records(self) except -1:
        cdef Chunk chunk = self._chunk
        cdef Selection selection = self._selection
        cdef const uint8_t *memory = chunk.at
        cdef Py_ssize_t at = chunk.start
        cdef Py_ssize_t end = chunk.end
        cdef Py_ssize_t header = self._record_size
        cdef uint32_t words[4]
        cdef uint32_t size
        cdef uint32_t wire_size
        cdef int i
        chunk.needed = header
        while not selection.full() and end - at >= header:
            memcpy(words, memory + at, 16)
            if self._foreign:
                for i in range(4):
                    words[i] = swap32(words[i])
            size = words[2]
            wire_size = words[3]
            if self._lengths and (self._lengths == SWAPPED or size > wire_size):
                size, wire_size = wire_size, size
            if size > FRAME_MAX:
                self.fault = (f"a packet record claims {size} bytes, more than {FRAME_MAX}", chunk.base + at)
                break
            if end - at - header < <Py_ssize_t>size:
                chunk.needed = header + size
                break
            selection.add(at + header, size, wire_size,
                          <int64_t>words[0] * SECOND_NS + <int64_t>words[1] * self._fraction_ns,
                          0, <uint16_t>self.link_type)
            at += header + size
        chunk.start = at
        return 0
