"""Walks the blocks of a pcapng file: sections with their interfaces, and frames that name the interface that saw them.

The format is draft-ietf-opsawg-pcapng. In: a chunk. Out: frames in the selection, or a fault with its place. Blocks of
other types are skipped.
"""

from otus_core import BpfInvalid

cimport cython

from otus_pcap.chunk cimport Chunk, load32, swap32
from otus_pcap.limits cimport BLOCK_MAX, FRAME_MAX, INTERFACES_MAX, SECOND_NS
from otus_pcap.select cimport Selection

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    ctypedef unsigned long long wide_t "unsigned __int128"

cdef uint32_t SECTION_HEADER = 0x0A0D0D0A       # the same in both byte orders
cdef uint32_t BYTE_ORDER_MAGIC = 0x1A2B3C4D
cdef int64_t TIMESTAMP_MAX = <int64_t>1 << 62   # ns: the year 2116, further than pcap's 32 bits of seconds reach

cdef enum Block:
    INTERFACE = 1
    PACKET = 2              # obsolete
    SIMPLE_PACKET = 3
    ENHANCED_PACKET = 6

cdef enum:
    OPTION_END = 0
    OPTION_TSRESOL = 9
    OPTION_TSOFFSET = 14
    BLOCK_MIN = 12


@cython.final
cdef class Interface:
    """What an interface description says of the frames that name it."""

    cdef uint16_t link_type
    cdef uint32_t snaplen
    cdef uint64_t units         # of its clock in a second
    cdef uint64_t factor        # ns in a unit, for times below `plain`: what can be converted by this alone
    cdef uint64_t plain
    cdef int64_t offset         # seconds

    cdef int64_t ns(self, uint64_t ticks) noexcept:
        """Convert a time to ns since 1970, clamped to what can be a time."""
        cdef uint64_t seconds
        cdef uint64_t rest
        if ticks < self.plain:
            return <int64_t>(ticks * self.factor)
        seconds = ticks // self.units
        rest = ticks % self.units
        if self.offset < 0:
            if seconds < <uint64_t>0 - <uint64_t>self.offset:
                return 0
            seconds -= <uint64_t>0 - <uint64_t>self.offset
        else:
            if seconds > <uint64_t>TIMESTAMP_MAX or <uint64_t>self.offset > <uint64_t>TIMESTAMP_MAX:
                return TIMESTAMP_MAX
            seconds += <uint64_t>self.offset
        if seconds >= <uint64_t>TIMESTAMP_MAX // SECOND_NS:
            return TIMESTAMP_MAX
        return <int64_t>(seconds * SECOND_NS + <uint64_t>(<wide_t>rest * SECOND_NS // self.units))


@cython.final
cdef class PcapngWalker:
    """Frames of one pcapng file. ``fault`` is set, ``(reason, offset)``, when it cannot go on."""

    cdef Chunk _chunk
    cdef Selection _selection
    cdef readonly object fault
    cdef readonly bint begun
    cdef bint _foreign              # this section is in the other byte order
    cdef list _interfaces           # of this section
    cdef Interface _interface       # the last one used, and its number
    cdef uint32_t _number

    def __init__(self, Chunk chunk not None, Selection selection not None):
        self._chunk = chunk
        self._selection = selection
        self._interfaces = []

    def walk(self):
        """Take what whole blocks there are, as far as the selection has room."""
        if self.fault is None:
            while not self._selection.full() and self._block():
                pass

    def end(self):
        """Say that no more bytes come; a block that was begun is a fault."""
        cdef Py_ssize_t left = self._chunk.there()
        if self.fault is not None:
            return
        if not self.begun:
            self.fault = ("the file ends inside its first section header", self._chunk.base + self._chunk.end)
        elif left:
            self.fault = (f"the file ends inside a block: {left} bytes of it are there", self._chunk.offset)

    cdef bint _block(self) except -1:
        """Take one block; false when it is not there yet, or damaged."""
        cdef Chunk chunk = self._chunk
        cdef Py_ssize_t at = chunk.start
        cdef Py_ssize_t left = chunk.end - at
        cdef const uint8_t *block = chunk.at + at
        cdef uint32_t kind
        cdef uint32_t size
        cdef uint32_t trailer
        chunk.needed = BLOCK_MIN
        if left < BLOCK_MIN:
            return False
        kind = load32(block, self._foreign)
        if kind == SECTION_HEADER and not self._section():
            return False
        if not self.begun:
            return self._note_damage("the file does not begin with a section header", 0)
        size = load32(block + 4, self._foreign)
        if size < BLOCK_MIN or size > BLOCK_MAX or size & 3:
            return self._note_damage(
                f"a block claims a length of {size}, which is not a multiple of 4 from {BLOCK_MIN} to {BLOCK_MAX}", 4)
        if left < <Py_ssize_t>size:
            chunk.needed = size
            return False
        # From here on the whole block, `size` bytes from `block`, is there.
        trailer = load32(block + size - 4, self._foreign)
        if trailer != size:
            return self._note_damage(f"a block's two lengths differ: {size} and {trailer}", size - 4)
        if not self._content(kind, at, size):
            return False
        chunk.start = at + size
        return True

    cdef bint _content(self, uint32_t kind, Py_ssize_t at, uint32_t size) except -1:
        """Take what a whole block holds; false when it is damaged."""
        if kind == ENHANCED_PACKET:
            return self._read_enhanced(at, size)
        elif kind == SIMPLE_PACKET:
            return self._simple(at, size)
        elif kind == PACKET:
            return self._obsolete(at, size)
        elif kind == INTERFACE:
            return self._describe(at, size)
        elif kind == SECTION_HEADER:
            return self._open_section(at, size)
        return True

    cdef bint _note_damage(self, str reason, Py_ssize_t place) except -1:
        """Set the fault, ``place`` bytes into the block; gives false."""
        self.fault = (reason, self._chunk.offset + <uint64_t>place)
        return False

    cdef bint _section(self) except -1:
        """Find out a new section's byte order, which its length is already in."""
        cdef uint32_t magic = self._chunk.u32(self._chunk.start + 8, False)
        if magic != BYTE_ORDER_MAGIC and swap32(magic) != BYTE_ORDER_MAGIC:
            return self._note_damage(f"a section header's byte-order magic is {magic:#010x}", 8)
        self._foreign = magic != BYTE_ORDER_MAGIC
        self.begun = True
        return True

    cdef bint _open_section(self, Py_ssize_t at, uint32_t size) except -1:
        cdef uint32_t major
        cdef uint32_t minor
        if size < 28:
            return self._note_damage(f"a section header of {size} bytes is too short", 4)
        major = self._chunk.u16(at + 12, self._foreign)
        minor = self._chunk.u16(at + 14, self._foreign)
        if major != 1 or minor not in (0, 2):       # 1.2 was written by mistake and reads like 1.0 (draft §4.1)
            return self._note_damage(f"pcapng version {major}.{minor} is not supported", 12)
        self._interfaces = []
        self._interface = None
        return True

    cdef bint _describe(self, Py_ssize_t at, uint32_t size) except -1:
        """Read an interface description."""
        cdef Interface interface = Interface()
        if size < 20:
            return self._note_damage(f"an interface description of {size} bytes is too short", 4)
        if len(self._interfaces) >= INTERFACES_MAX:
            return self._note_damage(f"a section describes more than {INTERFACES_MAX} interfaces", 0)
        interface.link_type = self._chunk.u16(at + 8, self._foreign)
        interface.snaplen = self._chunk.u32(at + 12, self._foreign)
        interface.units = 1_000_000
        if not self._options(interface, at, 16, size - 4):
            return False
        if SECOND_NS % interface.units == 0 and interface.offset == 0:
            interface.factor = SECOND_NS // interface.units
            interface.plain = <uint64_t>TIMESTAMP_MAX // interface.factor
        try:
            self._selection.check(interface.link_type)
        except BpfInvalid as error:
            return self._note_damage(str(error), 8)
        self._interfaces.append(interface)
        return True

    cdef bint _options(self, Interface interface, Py_ssize_t at, Py_ssize_t place, Py_ssize_t end) except -1:
        """Read the options of an interface description, from ``place`` to ``end`` in the block at ``at``."""
        cdef Chunk chunk = self._chunk
        cdef uint16_t code
        cdef uint16_t length
        while end - place >= 4:
            code = chunk.u16(at + place, self._foreign)
            length = chunk.u16(at + place + 2, self._foreign)
            if code == OPTION_END:
                break
            if length > end - place - 4:
                return self._note_damage(f"an option claims {length} bytes, more than its block has", place)
            if code == OPTION_TSRESOL and length >= 1:
                interface.units = _units(chunk.at[at + place + 4])
            elif code == OPTION_TSOFFSET and length == 8:
                interface.offset = <int64_t>chunk.u64(at + place + 4, self._foreign)
            place += 4 + ((length + 3) & ~3)
        return True

    cdef Interface _by_number(self, uint32_t number):
        """Give an interface of this section, or set the fault."""
        if self._interface is None or number != self._number:
            if number >= <uint32_t>len(self._interfaces):
                described = len(self._interfaces)
                self._note_damage(f"a packet names interface {number}, and the section describes {described}", 8)
                return None
            self._interface = self._interfaces[number]
            self._number = number
        return self._interface

    cdef bint _frame(self, Py_ssize_t at, uint32_t size, uint32_t header, uint32_t number, uint32_t high, uint32_t low,
                     uint32_t capture_len, uint32_t orig_len) except -1:
        """Take a frame that begins ``header`` bytes into the block."""
        cdef Interface interface = self._by_number(number)
        if interface is None:
            return False
        if capture_len > FRAME_MAX:
            return self._note_damage(f"a packet block claims {capture_len} bytes, more than {FRAME_MAX}", header - 8)
        if capture_len > size - header - 4:
            return self._note_damage(f"a packet block of {size} bytes claims a packet of {capture_len}", header - 8)
        self._selection.add(at + header, capture_len, orig_len, interface.ns((<uint64_t>high << 32) | low),
                            <int32_t>number,
                            interface.link_type)
        return True

    cdef bint _read_enhanced(self, Py_ssize_t at, uint32_t size) except -1:
        cdef const uint8_t *block = self._chunk.at + at
        cdef bint foreign = self._foreign
        if size < 32:
            return self._note_damage(f"a packet block of {size} bytes is too short", 4)
        return self._frame(at, size, 28, load32(block + 8, foreign), load32(block + 12, foreign),
                           load32(block + 16, foreign),
                           load32(block + 20, foreign), load32(block + 24, foreign))

    cdef bint _obsolete(self, Py_ssize_t at, uint32_t size) except -1:
        """Read the packet block of old drafts: a 16-bit interface, a count of drops, then as today."""
        cdef Chunk chunk = self._chunk
        if size < 32:
            return self._note_damage(f"a packet block of {size} bytes is too short", 4)
        return self._frame(at, size, 28, chunk.u16(at + 8, self._foreign), chunk.u32(at + 12, self._foreign),
                           chunk.u32(at + 16, self._foreign), chunk.u32(at + 20, self._foreign),
                           chunk.u32(at + 24, self._foreign))

    cdef bint _simple(self, Py_ssize_t at, uint32_t size) except -1:
        """Read a packet block without time or interface: it is of the first one, cut to its snap length
        (draft §4.4).
        """
        cdef uint32_t orig_len
        cdef uint32_t capture_len
        cdef Interface interface
        if size < 16:
            return self._note_damage(f"a packet block of {size} bytes is too short", 4)
        interface = self._by_number(0)
        if interface is None:
            return False
        orig_len = self._chunk.u32(at + 8, self._foreign)
        capture_len = orig_len
        if interface.snaplen and capture_len > interface.snaplen:
            capture_len = interface.snaplen
        if capture_len > size - 16:
            capture_len = size - 16
        return self._frame(at, size, 12, 0, 0, 0, capture_len, orig_len)


cdef uint64_t _units(uint8_t resolution) noexcept:
    """Give the units in a second of an if_tsresol: a power of 10, or with the top bit of 2.

    Beyond 64 bits it is the largest there is.
    """
    cdef uint64_t units = 1
    cdef int exponent = resolution & 0x7F
    if resolution & 0x80:
        return <uint64_t>1 << exponent if exponent < 64 else <uint64_t>0 - 1
    if exponent > 19:
        return <uint64_t>0 - 1
    while exponent:
        units *= 10
        exponent -= 1
    return units
